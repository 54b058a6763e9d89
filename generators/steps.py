"""A step of a golden program: the calls that it makes, and what its words need to know of them."""

from dataclasses import dataclass

from envs.spec import Tool
from envs.task import Fact, ToolCall


@dataclass(frozen=True)
class Clause:
    """A sentence that an evolution adds to a step: what for, and the values of its placeholders."""

    purpose: str
    slots: dict[str, str]


@dataclass(frozen=True)
class Step:
    """One request inside a program: its calls, the values of its wording, and the facts it asks for."""

    kind: str
    """`field`, `count`, `total`, `compare`, `own_answer`, `write`, `lookup_write`, `extreme_write` or `refusal`."""
    tool: Tool
    """The tool whose phrase patterns word this step."""
    calls: tuple[ToolCall, ...]
    slots: dict[str, str]
    """Placeholder → what the user says there."""
    facts: tuple[Fact, ...] = ()
    answer: str = ""
    asked: str = ""
    """The word for what the fact tells: `price`, `number`, `status`; empty without a fact."""
    clauses: tuple[Clause, ...] = ()
    row_slots: frozenset[str] = frozenset()
    """Placeholders whose value brings its noun: `the only order for customer C-7`."""
    phrase_slots: frozenset[str] = frozenset()
    """Placeholders whose value is a whole phrase, which fits only after `to`: `a dozen`."""
    cents_slots: frozenset[str] = frozenset()
    """Placeholders of amounts of money, which are said with their unit."""
