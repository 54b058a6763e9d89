"""The dialect of Hermes, Qwen2.5 and Qwen3: calls as JSON between tags, several a turn, results between tags too."""

import re
from collections.abc import Sequence

from trainer.dialect import Unreadable
from trainer.dialects.native import NativeDialect, json_end

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class Hermes(NativeDialect):
    """Words may stand before the first call, as these models like to think aloud; nobody hears them."""

    results_role = "tool"
    markers = (_OPEN, _CLOSE, "<tool_response>", "</tool_response>")
    arguments = "arguments"
    opening = re.compile(rf"{_OPEN}\s*(?=\{{)")
    form = f'{_OPEN}{{"name": ..., "arguments": {{...}}}}{_CLOSE}'

    def payloads(self, spoken: str) -> list[str] | None:
        before, opened, _ = spoken.partition(_OPEN)
        if _CLOSE in before:
            raise Unreadable(f"{_CLOSE} without {_OPEN}; write {self.form}")
        if not opened:
            return None
        payloads = []
        start = len(before)
        while start < len(spoken):
            if not spoken.startswith(_OPEN, start):
                raise Unreadable("words after a call: end the turn there, and wait for its result")
            payload, start = self._payload(spoken, start + len(_OPEN))
            payloads.append(payload)
            start += len(spoken[start:]) - len(spoken[start:].lstrip())
        return payloads

    def _payload(self, spoken: str, start: int) -> tuple[str, int]:
        """The text of a call from `start` up to its closing tag, and where that tag ends."""
        # A tag inside a string of the call is text. What is not JSON ends at the first tag, and is refused as that.
        end, whole = json_end(spoken, start)
        end = spoken.find(_CLOSE, end if whole else start)
        if end < 0:
            raise Unreadable(f"{_OPEN} without {_CLOSE}; write {self.form}")
        return spoken[start:end], end + len(_CLOSE)

    def written(self, payloads: Sequence[str]) -> str:
        return "\n".join(f"{_OPEN}\n{payload}\n{_CLOSE}" for payload in payloads)


HERMES = Hermes()
