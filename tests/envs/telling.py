"""Whether an answer tells a number, for the tests of notations."""

from envs.facts import tells
from envs.task import Fact, FactKind

CLOCK = "2026-03-02T09:00:00"


def tells_number(answer: str, kind: FactKind, value: float, unit: str = "") -> bool:
    """Whether the answer tells this number and no other in its place."""
    return tells(answer, Fact(label="x", kind=kind, value=value, unit=unit), CLOCK)


def row_id(value: object) -> str:
    """A test's name for a value of any script."""
    return ascii(value).strip("'\"")
