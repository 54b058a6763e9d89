"""The dialect of Hermes, Qwen2.5 and Qwen3: calls as JSON between tags, several a turn, results between tags too."""

from collections.abc import Sequence

from trainer.dialect import Unreadable
from trainer.dialects.native import NativeDialect

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class Hermes(NativeDialect):
    """Words may stand before the first call, as these models like to think aloud; nobody hears them."""

    results_role = "tool"
    markers = (_OPEN, _CLOSE, "<tool_response>", "</tool_response>")
    arguments = "arguments"
    form = f'{_OPEN}{{"name": ..., "arguments": {{...}}}}{_CLOSE}'

    def payloads(self, said: str) -> list[str] | None:
        before, opened, rest = said.partition(_OPEN)
        if _CLOSE in before:
            raise Unreadable(f"{_CLOSE} without {_OPEN}; write {self.form}")
        found = []
        while opened:
            payload, closed, rest = rest.partition(_CLOSE)
            if not closed:
                raise Unreadable(f"{_OPEN} without {_CLOSE}; write {self.form}")
            found.append(payload)
            between, opened, rest = rest.partition(_OPEN)
            if between.strip():
                raise Unreadable("words after a call: end the turn there, and wait for its result")
        return found or None

    def written(self, payloads: Sequence[str]) -> str:
        return "\n".join(f"{_OPEN}\n{payload}\n{_CLOSE}" for payload in payloads)


HERMES = Hermes()
