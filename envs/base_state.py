"""What every episode of an environment begins with: its tables and rows as bytes, built once under a frozen clock.

What an episode does to a copy of them is `envs.state`'s.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import apsw

from envs.cells import MAX_VALUE_BYTES, is_datetime
from envs.errors import SpecError
from envs.schema import create_table, highest_number, insert_rows
from envs.search import MAX_REPEATS, create_index, index_name, most_repeated
from envs.spec import EnvironmentSpec

_FIRST_YEAR, _LAST_YEAR = 1000, 9000
"""Of a clock: the calendar of Python and SQLite ends with the year 9999."""
_UNIX_EPOCH_JULIAN_MS = 210_866_760_000_000


class _FrozenClock(apsw.VFS):
    """SQLite's file layer with one instant for a clock, so that date('now') is part of the specification."""

    def __init__(self, name: str, clock: str) -> None:
        instant = datetime.fromisoformat(clock).replace(tzinfo=UTC)
        self._julian_ms = round(instant.timestamp() * 1000) + _UNIX_EPOCH_JULIAN_MS
        super().__init__(name, "")

    def xCurrentTimeInt64(self) -> int:
        return self._julian_ms


@cache
def _frozen_clock(clock: str) -> tuple[str, _FrozenClock]:
    """The name of the registered VFS for this instant. It is kept for good: connections hold it by name only."""
    name = f"envloom-{clock}"
    return name, _FrozenClock(name, clock)


def connect(clock: str) -> apsw.Connection:
    """An empty database in memory whose clock stands at this instant, ISO without zone."""
    return apsw.Connection(":memory:", vfs=_frozen_clock(clock)[0], statementcachesize=1024)


def _check_clock(clock: str) -> None:
    if not is_datetime(clock):
        raise SpecError("clock", f"{clock!r} is no instant", "Write 2026-03-02T09:00:00")
    if not _FIRST_YEAR <= int(clock[:4]) <= _LAST_YEAR:
        fault = f"{clock} leaves no room for the days before and after it"
        raise SpecError("clock", fault, f"Choose a year from {_FIRST_YEAR} to {_LAST_YEAR}")


def _check_repeats(connection: apsw.Connection, table: str) -> None:
    repeated = most_repeated(connection, table)
    if repeated is not None:
        row, word = repeated
        fault = f"the word {word!r} stands there more than {MAX_REPEATS} times"
        raise SpecError(f"rows.{table}[{row}]", fault, "Split the text into several rows")


@dataclass(frozen=True)
class BaseState:
    """The seeded database as bytes, with what a connection to it needs to know."""

    content: bytes
    sha256: str
    tables: tuple[str, ...]
    clock: str
    columns: Mapping[str, tuple[str, ...]]
    """Per table its column names, `id` first."""
    booleans: frozenset[tuple[str, str]]
    """(table, column) pairs whose 0 and 1 are false and true."""
    prefixes: Mapping[str, str]
    """Per table the prefix of its ids."""
    highest: Mapping[str, int]
    """Per table the highest number among its seeded ids; the first minted id follows it."""
    searched: tuple[str, ...] = ()
    """The tables with a full-text index."""

    @property
    def indexes(self) -> tuple[str, ...]:
        """The full-text indexes, as SQL calls them."""
        return tuple(map(index_name, self.searched))

    @classmethod
    def build(cls, spec: EnvironmentSpec) -> "BaseState":
        """Create the tables and seed the rows under the frozen clock. Raises SpecError naming the table or row."""
        _check_clock(spec.clock)
        connection = connect(spec.clock)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        try:
            for table in spec.tables:
                create_table(connection, table)
            insert_rows(connection, spec)
            for table in spec.tables:
                if table.full_text:
                    create_index(connection, table)
                    _check_repeats(connection, table.name)
            content = connection.serialize("main")
        finally:
            connection.close()
        return cls(
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
            tables=tuple(table.name for table in spec.tables),
            clock=spec.clock,
            columns={table.name: ("id", *(column.name for column in table.columns)) for table in spec.tables},
            booleans=frozenset(
                (table.name, column.name)
                for table in spec.tables
                for column in table.columns
                if column.type == "boolean"
            ),
            prefixes={table.name: table.id_prefix for table in spec.tables},
            highest={table.name: highest_number(table, spec.rows.get(table.name, ())) for table in spec.tables},
            searched=tuple(table.name for table in spec.tables if table.full_text),
        )
