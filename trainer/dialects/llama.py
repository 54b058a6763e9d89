"""The dialect of Llama 3.1 and later: a call is a turn of JSON, results are heard from `ipython`."""

import json
from collections.abc import Sequence

from trainer.dialect import Unreadable
from trainer.dialects.native import NativeDialect

_TAG = "<|python_tag|>"
"""These models may write it before a call. Most tokenizers know it as a special token and never show it."""
_DECODER = json.JSONDecoder()


class Llama(NativeDialect):
    """Several calls of one turn stand beside each other with semicolons, as engines take them from these models."""

    results_role = "ipython"
    markers = (_TAG,)
    arguments = "parameters"
    form = '{"name": ..., "parameters": {...}} and nothing else'
    optional = {"type": "function"}  # noqa: RUF012  (they copy it from the tools they are shown)

    def payloads(self, said: str) -> list[str] | None:
        tagged, said = said.startswith(_TAG), said.removeprefix(_TAG).strip()
        if not tagged and not said.startswith("{"):
            return None
        found = []
        while said:
            try:
                _, end = _DECODER.raw_decode(said)
            except (ValueError, RecursionError):
                raise Unreadable(f"a call that is not JSON; write {self.form}") from None
            found.append(said[:end])
            said = said[end:].strip()
            if said and not said.startswith((";", "{")):
                raise Unreadable("words after a call: end the turn there, and wait for its result")
            said = said.removeprefix(";").strip()
        if not found:
            raise Unreadable("empty turn")
        return found

    def written(self, payloads: Sequence[str]) -> str:
        return "; ".join(payloads)


LLAMA = Llama()
