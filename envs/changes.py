"""What an episode changed: every row change as SQLite makes it, netted when asked for.

SQLite's own session extension gives the same (a test compares the two), but prepares statements anew for every episode
and every table, which costs more than the calls of a short episode themselves.
"""

from collections.abc import Iterable, Iterator, Mapping
from sys import getsizeof
from typing import Any, Literal, TypeAlias

import apsw
from pydantic import JsonValue

from envs.task import Change

MAX_LOG_BYTES = 64 << 20
"""Memory that the rows before and after all changes of an episode may take."""
_CHANGES_KEPT = 1_000
_KEPT_BYTES = 8_192
"""Memory of the rows of a change that is kept for other episodes."""
_UNMEASURED = 32
"""Changes whose size is not looked at: more than most episodes make, and at most 0.4 of the bound."""
Row: TypeAlias = tuple[Any, ...]
"""All columns of a row, `id` first."""
_Rows: TypeAlias = dict[tuple[str, str], tuple[Row | None, Row | None]]
"""(table, id) → the row before, the row after."""


class ChangeLog:
    """The row changes of one connection since `clear`, in order."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._entries: list[tuple[str, Row | None, Row | None]] = []
        self._bytes = 0
        self.full = False
        """Whether changes were too large to be noted: the statement that made them must be undone."""
        connection.preupdate_hook(self._note, id="changes")

    def clear(self) -> None:
        """Begin anew."""
        self._entries.clear()
        self._bytes, self.full = 0, False

    def mark(self) -> int:
        """Where the log stands: what `forget` goes back to."""
        return len(self._entries)

    def forget(self, mark: int) -> None:
        """Drop what came after a mark, because it was rolled back: SQLite reports changes, not their undoing."""
        self._bytes -= sum(_size(old) + _size(new) for _, old, new in self._entries[max(mark, _UNMEASURED) :])
        self.full = False
        del self._entries[mark:]

    def net(self) -> Iterator[tuple[str, Row | None, Row | None]]:
        """(table, row before, row after) of every row that differs in the end; None where there is no row."""
        rows: _Rows = {}
        for table, old, new in self._entries:
            if old is not None and new is not None and old[0] != new[0]:  # a changed id is another row
                _follow(rows, table, old, None)
                _follow(rows, table, None, new)
            else:
                _follow(rows, table, old, new)
        for (table, _), (old, new) in rows.items():
            if old != new:
                yield table, old, new

    def _note(self, update: apsw.PreUpdate) -> None:
        if self.full:
            return
        old, new = update.old, update.new
        self._entries.append((update.table_name, old, new))
        if len(self._entries) > _UNMEASURED:
            self._bytes += _size(old) + _size(new)
            self.full = self._bytes > MAX_LOG_BYTES


def _size(row: Row | None) -> int:
    """Bytes of memory."""
    return 0 if row is None else getsizeof(row) + sum(map(getsizeof, row))


def _follow(
    rows: dict[tuple[str, str], tuple[Row | None, Row | None]], table: str, old: Row | None, new: Row | None
) -> None:
    row = new if old is None else old
    assert row is not None
    place = (table, row[0])
    rows[place] = (rows[place][0] if place in rows else old, new)


def operation(old: Row | None, new: Row | None) -> Literal["insert", "update", "delete"]:
    """What happened to a row that was `old` and is `new`."""
    if old is None:
        return "insert"
    return "delete" if new is None else "update"


class ChangeNaming:
    """Says changed rows by the names of their columns."""

    def __init__(self, columns: Mapping[str, tuple[str, ...]], booleans: frozenset[tuple[str, str]]) -> None:
        """Per table its columns, `id` first; (table, column) of those whose 0 and 1 are false and true."""
        self._columns = columns
        self._booleans = booleans
        self._known: dict[tuple[str, Row | None, Row | None], Change] = {}

    def change(self, table: str, old: Row | None, new: Row | None) -> Change:
        """The change; remembered, because the episodes of one task make the same ones again and again."""
        place = (table, old, new)
        known = self._known.get(place)
        if known is None:
            known = self._change(table, old, new)
            if len(self._known) >= _CHANGES_KEPT:
                self._known.clear()
            if _size(old) + _size(new) <= _KEPT_BYTES:
                self._known[place] = known
        return known

    def _change(self, table: str, old: Row | None, new: Row | None) -> Change:
        key = str((old or new or ("",))[0])
        places: Iterable[int] = range(1, len(self._columns[table]))
        if old is not None and new is not None:
            places = [place for place in places if old[place] != new[place]]
        before, after = self._named(table, old, places), self._named(table, new, places)
        # These values come from STRICT tables: validating them again would take a tenth of an episode.
        return Change.model_construct(table=table, operation=operation(old, new), key=key, old=before, new=after)

    def _named(self, table: str, row: Row | None, places: Iterable[int]) -> dict[str, JsonValue]:
        if row is None:
            return {}
        columns = self._columns[table]
        named: dict[str, JsonValue] = {columns[place]: row[place] for place in places}
        for name, value in named.items():
            if value is not None and (table, name) in self._booleans:
                named[name] = bool(value)
        return named
