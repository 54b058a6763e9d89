"""The world an episode acts on: one in-memory SQLite database, copied once, restored by ROLLBACK after each episode.

Here are the sealed connection, its savepoints and the canonical changeset. What it is a copy of is `envs.base_state`'s;
what tools do is not here.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import apsw
from pydantic import JsonValue

from envs.base_state import BaseState, connect
from envs.changes import MAX_LOG_BYTES, ChangeLog, ChangeNaming
from envs.errors import EnvironmentBroken
from envs.schema import quoted
from envs.seal import Seal
from envs.search import open_index
from envs.task import Change

EXTRA_PAGES = 4_096
"""Pages of 4 KiB an episode may add to its base state."""
MAX_CHARACTERS = 16_000_000
"""Characters of all texts that one statement may answer with, where nothing lower is asked for."""
_TEXTS = (str, bytes)


def open_state(base: BaseState, reverse_unordered_selects: bool = False) -> "State":
    """A sealed connection to a fresh copy of the base state (about 0.1 ms; reuse it, episodes roll back)."""
    return State(base, reverse_unordered_selects)


class State:
    """One live copy of a base state. Not for two episodes at once: `Environment` lends each episode its own."""

    def __init__(self, base: BaseState, reverse_unordered_selects: bool = False) -> None:
        self.base = base
        self._connection = connection = connect(base.clock)
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
        self._changes.clear()
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
        self._connection.execute("ROLLBACK TO call; RELEASE call")

    def mint(self, table: str) -> str:
        """The next id of a table, `<prefix>-<number>`; given back when the call or the episode is undone."""
        self._counters[table] += 1
        return f"{self.base.prefixes[table]}-{self._counters[table]}"

    def begin_call(self) -> None:
        """Begin to count the time of one call: its statements share `seal.MAX_CALL_S`."""
        self.seal.begin_call()

    def run(
        self,
        sql: str,
        bindings: Mapping[str, JsonValue],
        *,
        may_write: bool = False,
        rows: int | None = None,
        characters: int = MAX_CHARACTERS,
        can_cache: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Run one statement of a specification under the seal; at most `rows` result rows, in all of `characters`.

        Raises apsw.ConstraintError when the declared tables refuse the values, EnvironmentBroken for all else.
        """
        if (overdue := self.seal.call_overdue()) is not None:
            raise EnvironmentBroken(f"{overdue}: {sql}")
        mark = self._changes.mark()
        self.seal.close(may_write)
        try:
            fetched = self._fetch(self._connection.execute(sql, bindings, can_cache=can_cache), rows, characters)
        except apsw.ConstraintError:
            self._changes.forget(mark)  # SQLite undoes a refused statement whole
            raise
        except apsw.InterruptError as error:
            raise EnvironmentBroken(f"stopped, {self.seal.stopped or error}: {sql}") from error
        except (apsw.Error, MemoryError, UnicodeDecodeError) as error:
            raise EnvironmentBroken(f"{self.seal.refused or self.seal.stopped or error}: {sql}") from error
        finally:
            self.seal.open()
        if self._changes.full:
            limit = f"{MAX_LOG_BYTES >> 20} MiB"
            raise EnvironmentBroken(f"the rows changed by the episode take more than {limit}; change fewer: {sql}")
        return fetched

    def _fetch(self, cursor: apsw.Cursor, rows: int | None, characters: int) -> list[tuple[Any, ...]]:
        fetched: list[tuple[Any, ...]] = []
        for row in cursor:
            for value in row:
                if isinstance(value, _TEXTS):
                    characters -= len(value)
            if characters < 0:
                raise EnvironmentBroken("the rows hold too much text; select fewer rows or columns")
            fetched.append(row)
            if len(fetched) == rows:
                cursor.close()
                break
        return fetched

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
            reads=frozenset(self.seal.read),
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
    reads: frozenset[str]
    """The tables and full-text indexes that it reads."""
    columns: tuple[tuple[str, str | None, str | None], ...]
    """Per result column its name, and the table and column it comes from if it is one."""


class _AnyBinding(dict[str, None]):
    """Binds NULL to every name: for statements that are prepared and not run."""

    def __missing__(self, _name: str) -> None:
        return None
