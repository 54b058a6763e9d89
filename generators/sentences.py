"""Sentences with placeholders, as stages ask for them: the grammar an engine is held to, and which of many are kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Annotated, Any, TypeAlias

from pydantic import WithJsonSchema

from generators.stage import Corrected, Correction, Refused

PLAIN = "[A-Za-z ,':-]*"
"""What stands around what must be said: no full stop, after which a small model loses the thread."""
Fault: TypeAlias = tuple[str, str]
"""A reason for counting, and what to tell the model."""


def placeholder(name: str) -> str:
    """A regular expression for the placeholder."""
    return f"\\{{{name}\\}}"


def sentence(pieces: Iterable[str], *, begins: str = "", ends: str = "[.?]") -> Any:
    """The type of a sentence that has each of these regular expressions exactly once, in any order.

    Its JSON schema holds the engine to that; an endpoint that does not decode under a schema is judged afterwards.
    """
    orders = ("".join(f"{piece}{PLAIN}" for piece in order) for order in permutations(pieces))
    pattern = f"^{begins}{PLAIN}({'|'.join(orders)}){ends}$"
    return Annotated[str, WithJsonSchema({"type": "string", "pattern": pattern})]


def keep(
    given: Sequence[str], fault: Callable[[str, list[str]], Fault | None], enough: int
) -> Corrected[tuple[str, ...]]:
    """Those without a fault, which may look at the ones kept before; every other is a correction.

    Raises Refused with the commonest fault if fewer than `enough` are kept.
    """
    kept: list[str] = []
    faults: list[Correction] = []
    for text in given:
        found = fault(text, kept)
        if found is None:
            kept.append(text)
        else:
            faults.append(Correction(*found))
    if len(kept) < enough:
        if not faults:
            raise Refused("too_few", f"write at least {enough} that differ.")
        [(commonest, _)] = Counter(each.reason for each in faults).most_common(1)
        raise Refused(commonest, next(each.detail for each in faults if each.reason == commonest))
    return Corrected(tuple(kept), tuple(faults))
