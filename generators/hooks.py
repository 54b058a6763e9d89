"""What a domain may add to its brief in Python: rows, tools and tasks of its own. Write a class derived from `Hooks`.

It stands in the `hooks.py` of the domain's folder, or is the class that an entry point names. How hooks are called is
in `generators.hooked`. What they make passes the gates that all else passes; their Python itself runs unconfined.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from faker import Faker
from pydantic import Field, JsonValue

from envs.environment import Environment
from envs.record import Record
from envs.spec import Table, Tool
from envs.task import Fact, ToolCall
from generators.tables import Schema

FILE = "hooks.py"
Row: TypeAlias = dict[str, JsonValue]
"""Column → value, with `id` where it is known: text, numbers, booleans; dates as ISO text, money as integer cents."""


@dataclass(frozen=True)
class RowContext:
    """What rows may be made from. Take chance from `rng` and `faker`: the same brief then gives the same rows."""

    generated: tuple[Row, ...]
    """The rows the table has without the hook: replace them, or change a column and give them back."""
    rows: Mapping[str, tuple[Row, ...]]
    """The tables that are filled already: every table that this one may refer to."""
    rng: random.Random
    faker: Faker
    today: date


class TaskDraft(Record):
    """A task as its author knows it. Goal, toolbox and prices are added; then it is proven like any other."""

    instruction: str = Field(min_length=1)
    """What the user says. Every argument of the golden calls is in it, in an earlier answer, or minted on the way."""
    golden: tuple[ToolCall, ...] = Field(min_length=1)
    facts: tuple[Fact, ...] = ()
    """What the answer must tell."""
    answer: str = ""
    """An answer that tells every fact; empty: each as `label: value.`"""


def call(tool: str, /, **arguments: JsonValue) -> ToolCall:
    """A golden call: `call("get_order", order_id="O-12")`."""
    return ToolCall(tool=tool, arguments=arguments)


class Hooks:
    """Rows, tools and tasks that a domain adds in Python: derive a class in the `hooks.py` of the domain's folder.

    Override what you need. Each method depends on its arguments only and may be called more than once.

        class Library(Hooks):
            def tools(self, schema):
                return [Tool(name="renew_all", description="Renew every loan.", …)]
    """

    def rows(self, table: Table, context: RowContext) -> Sequence[Row] | None:  # noqa: ARG002  here to be overridden
        """The rows of a table, any number of them; None keeps those generated. A row without `id` is given one."""
        return None

    def tools(self, schema: Schema) -> Sequence[Tool]:  # noqa: ARG002
        """Tools beside those that follow from the tables, in SQL or with a sandboxed program (docs/environments.md).

        One that writes and whose parameters all name their `source` column is also drawn into sampled programs, and
        worded by the synthesist: its description then begins with a verb, such as `Extend one rental.`
        """
        return ()

    def tasks(self, environment: Environment, rng: random.Random) -> Iterable[TaskDraft]:  # noqa: ARG002
        """Tasks beside those sampled; as many are taken as the brief's `sizes.tasks`."""
        return ()
