"""The dialect of Llama 3.1 and later: a call is a turn of JSON, results are heard from `ipython`."""

import re
from collections.abc import Sequence

from trainer.dialect import Unreadable
from trainer.dialects.native import NativeDialect, json_end

_TAG = "<|python_tag|>"
"""These models may write it before a call. Most tokenizers know it as a special token and never show it."""


class Llama(NativeDialect):
    """Several calls of one turn stand beside each other with semicolons, as engines take them from these models."""

    results_role = "ipython"
    markers = (_TAG,)
    arguments = "parameters"
    # Also after words or a fence, where it is no call: a mark inside its texts is a text all the same.
    opening = re.compile(rf"(?:\A(?:{re.escape(_TAG)})?|;)\s*(?=\{{)|(?=\{{\s*\"(?:name|type)\"\s*:)")
    form = '{"name": ..., "parameters": {...}} and nothing else'
    optional = {"type": "function"}  # noqa: RUF012  (they copy it from the tools they are shown)

    def payloads(self, spoken: str) -> list[str] | None:
        tagged, rest = spoken.startswith(_TAG), spoken.removeprefix(_TAG).strip()
        if not tagged and not rest.startswith("{"):
            return None
        payloads = []
        while rest:
            end, whole = json_end(rest, 0)
            if not whole:
                raise Unreadable(f"a call that is not JSON; write {self.form}")
            payloads.append(rest[:end])
            rest = rest[end:].strip()
            if rest and not rest.startswith((";", "{")):
                raise Unreadable("words after a call: end the turn there, and wait for its result")
            rest = rest.removeprefix(";").strip()
        if not payloads:
            raise Unreadable("empty turn")
        return payloads

    def written(self, payloads: Sequence[str]) -> str:
        return "; ".join(payloads)


LLAMA = Llama()
