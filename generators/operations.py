"""What a tool does, as a record: its kind, its table, its columns, and the statuses and stock that it depends on.

The compiler of a tool keeps its operation beside it. Programs, requests, evolutions and the policy ask the operation,
never the tool's name, description or messages. `recompilation` gives the operations of a stored specification.
"""

from dataclasses import dataclass
from enum import StrEnum

from envs.record import Record
from envs.spec import Tool


class Kind(StrEnum):
    """What is done to a table."""

    READ = "read"
    """One row, by its id."""
    FIND = "find"
    """The rows with these values in the columns `by`."""
    TOTAL = "total"
    """The sum of `column` over the rows of one owner, the value of `by`."""
    COMPARE = "compare"
    """How far two rows are apart in `column`."""
    CREATE = "create"
    """A new row."""
    CHANGE = "change"
    """Another value for `column` of one row."""
    MOVE = "move"
    """Another row for the reference `column` of one row."""
    REMOVE = "remove"
    """One row less."""
    ADVANCE = "advance"
    """A step in the life of one row: `column` goes from one of the `states` to `becomes`."""
    SEARCH = "search"
    """Rows by the words of their texts."""
    OTHER = "other"
    """What a model or the domain's own Python wrote: only its SQL or program says what it does."""


class Stock(Record):
    """What must be left for a new row: at least as much in `table.column` as the argument `parameter` takes."""

    table: str
    column: str
    parameter: str


class Operation(Record):
    """What one tool does."""

    kind: Kind
    table: str = ""
    """The table it reads or writes; empty only where the kind is `other`."""
    column: str = ""
    """The column that is added up, compared or given another value."""
    by: tuple[str, ...] = ()
    """The columns whose values are searched for; of a total, the one that names the owner."""
    states: tuple[str, ...] = ()
    """The statuses of the row in which it is allowed, in the order of its life; empty: in any."""
    becomes: str = ""
    """The status that a step leads to."""
    stock: tuple[Stock, ...] = ()
    """What must be left."""


OTHER = Operation(kind=Kind.OTHER)


@dataclass(frozen=True)
class Compiled:
    """A tool and the operation that it was compiled from."""

    tool: Tool
    operation: Operation
