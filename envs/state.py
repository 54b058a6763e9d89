"""The world an episode acts on: one in-memory SQLite database, built once, restored by ROLLBACK after each episode.

Here are the base state, the sealed connection, the frozen clock and the canonical changeset; what tools do is not.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any

import apsw
from pydantic import JsonValue

from envs.changes import ChangeLog, ChangeNaming
from envs.errors import EnvironmentBroken, SpecError
from envs.schema import create_table, highest_number, insert_rows, quoted
from envs.seal import MAX_VALUE_BYTES, Seal
from envs.search import create_index, index_name, open_index
from envs.spec import EnvironmentSpec
from envs.task import Change

EXTRA_PAGES = 4_096
"""Pages of 4 KiB an episode may add to its base state."""
_TEXTS = (str, bytes)
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


def _connect(clock: str) -> apsw.Connection:
    return apsw.Connection(":memory:", vfs=_frozen_clock(clock)[0], statementcachesize=1024)


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
        try:
            datetime.fromisoformat(spec.clock)
        except ValueError as error:
            raise SpecError("clock", f"{spec.clock!r} is no instant", "Write 2026-03-02T09:00:00") from error
        connection = _connect(spec.clock)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        try:
            for table in spec.tables:
                create_table(connection, table)
            insert_rows(connection, spec)
            for table in spec.tables:
                if table.full_text:
                    create_index(connection, table)
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


def open_state(base: BaseState, reverse_unordered_selects: bool = False) -> "State":
    """A sealed connection to a fresh copy of the base state (about 0.1 ms; reuse it, episodes roll back)."""
    return State(base, reverse_unordered_selects)


class State:
    """One live copy of a base state. Not for two episodes at once: `Environment` lends each episode its own."""

    def __init__(self, base: BaseState, reverse_unordered_selects: bool = False) -> None:
        self.base = base
        self._connection = connection = _connect(base.clock)
        connection.deserialize("main", base.content)
        connection.execute("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = MEMORY")
        pages = int(connection.pragma("page_count"))
        connection.execute(f"PRAGMA max_page_count = {pages + EXTRA_PAGES}")
        if reverse_unordered_selects:
            connection.execute("PRAGMA reverse_unordered_selects = ON")
        for table in base.searched:
            open_index(connection, table)
        self.seal = Seal(connection, base.tables, base.searched)
        self._changes = ChangeLog(connection)
        self._naming = ChangeNaming(base.columns, base.booleans)
        self._counters = dict(base.highest)
        self._saved: list[tuple[dict[str, int], int]] = []

    def begin(self) -> None:
        """Open an episode: from here every change is recorded and none is kept."""
        self._connection.execute("BEGIN")
        self._changes.clear()
        self._counters = dict(self.base.highest)

    def rollback(self) -> None:
        """Close the episode: rows and id counters are those of the base state again."""
        # SQLite rolls back by itself on a full disk or an interrupted write.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._counters = dict(self.base.highest)
        self._saved.clear()

    def savepoint(self) -> None:
        """Remember rows and counters before a call."""
        self._connection.execute("SAVEPOINT call")
        self._saved.append((dict(self._counters), self._changes.mark()))

    def release(self) -> None:
        """Keep what happened since the last `savepoint`."""
        self._connection.execute("RELEASE call")
        self._saved.pop()

    def undo(self) -> None:
        """Forget what happened since the last `savepoint`.

        Raises EnvironmentBroken if SQLite already forgot all; what came before the savepoint is made again first.
        """
        self._counters, mark = self._saved.pop()
        self._changes.forget(mark)
        if not self._connection.in_transaction:
            self._make_again()
            raise EnvironmentBroken("the statement rolled the whole episode back; no tool may use OR ROLLBACK")
        self._connection.execute("ROLLBACK TO call")
        self._connection.execute("RELEASE call")

    def mint(self, table: str) -> str:
        """The next id of a table, `<prefix>-<number>`; given back when the call or the episode is undone."""
        self._counters[table] += 1
        return f"{self.base.prefixes[table]}-{self._counters[table]}"

    def run(
        self,
        sql: str,
        bindings: Mapping[str, JsonValue],
        *,
        may_write: bool = False,
        rows: int | None = None,
        characters: int | None = None,
        can_cache: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Run one statement of a specification under the seal; at most `rows` result rows, in all of `characters`.

        Raises apsw.ConstraintError when the declared tables refuse the values, EnvironmentBroken for all else.
        """
        mark = self._changes.mark()
        self.seal.close(may_write)
        try:
            cursor = self._connection.execute(sql, bindings, can_cache=can_cache)
            if rows is None:
                return cursor.fetchall()
            found = list(islice(cursor if characters is None else _within(characters, cursor), rows))
            cursor.close()
            return found
        except apsw.ConstraintError:
            self._changes.forget(mark)  # SQLite undoes a refused statement whole
            raise
        except apsw.InterruptError as error:
            raise EnvironmentBroken(f"stopped after too many steps or for too long: {sql}") from error
        except (apsw.Error, MemoryError, UnicodeDecodeError) as error:
            raise EnvironmentBroken(f"{self.seal.refused or error}: {sql}") from error
        finally:
            self.seal.open()

    def changed_rows(self) -> int:
        """How many rows the last INSERT, UPDATE or DELETE changed."""
        return self._connection.changes()

    def inspect(self, sql: str, may_write: bool) -> "Statement":
        """Prepare SQL under the seal without running it. Raises apsw.Error (refused or wrong SQL)."""
        seen: dict[str, Any] = {}

        def look(cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
            seen.update(text=text, names=cursor.bindings_names, explains=cursor.is_explain != 0)
            seen["columns"] = cursor.description_full
            return False

        cursor = self._connection.cursor()
        cursor.exec_trace = look
        self.seal.close(may_write, running=False)
        try:
            with suppress(apsw.ExecTraceAbort):
                cursor.execute(sql, _AnyBinding(), can_cache=False)
        finally:
            self.seal.open()
        return Statement(
            text=seen.get("text", ""),
            names=tuple(seen.get("names", ())),
            explains=seen.get("explains", False),
            writes=self.seal.wrote,
            columns=tuple((name, table, origin) for name, _, _, table, origin in seen.get("columns", ())),
        )

    def changeset(self) -> tuple[Change, ...]:
        """The net changes of the episode so far, canonical: sorted by table and key, equal states equal tuples."""
        if not self._connection.in_transaction:
            raise RuntimeError("State.changeset: no episode is open. Call begin() first.")
        changes = [self._naming.change(table, old, new) for table, old, new in self._changes.net()]
        return tuple(sorted(changes, key=lambda change: (change.table, change.key)))

    def content_hash(self) -> str:
        """The sha256 of all rows in key order: equal for equal content, unlike the hash of serialised pages."""
        content = {
            table: [
                list(row) for row in self._connection.execute(f"SELECT * FROM {quoted(table)} ORDER BY id").fetchall()
            ]
            for table in sorted(self.base.tables)
        }
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def close(self) -> None:
        """Close the connection; the state is gone."""
        self._connection.close()

    def _make_again(self) -> None:
        """The episode's changes once more, after a statement that took the whole transaction with it."""
        changes = list(self._changes.net())
        self._changes.clear()
        self._connection.execute("BEGIN; PRAGMA defer_foreign_keys = ON")
        for table, old, _ in changes:
            if old is not None:
                self._connection.execute(f"DELETE FROM {quoted(table)} WHERE id = ?", (old[0],))
        for table, _, new in changes:
            if new is not None:
                values = ", ".join("?" * len(new))
                self._connection.execute(f"INSERT INTO {quoted(table)} VALUES ({values})", new)
        self._connection.execute("PRAGMA defer_foreign_keys = OFF")


@dataclass(frozen=True)
class Statement:
    """What preparing a statement tells about it."""

    text: str
    """The first statement of the SQL; shorter than the SQL if more follows."""
    names: tuple[str | None, ...]
    """The bound names."""
    explains: bool
    writes: bool
    columns: tuple[tuple[str, str | None, str | None], ...]
    """Per result column its name, and the table and column it comes from if it is one."""


def _within(characters: int, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows as they come, until their texts are longer than that in all."""
    for row in rows:
        for value in row:
            if isinstance(value, _TEXTS):
                characters -= len(value)
        if characters < 0:
            raise EnvironmentBroken("the rows hold too much text; select fewer rows or columns")
        yield row


class _AnyBinding(dict[str, None]):
    """Binds NULL to every name: for statements that are prepared and not run."""

    def __missing__(self, _name: str) -> None:
        return None
