"""What an episode changed: every row change as SQLite makes it, netted when asked for.

SQLite's own session extension gives the same (a test compares the two), but prepares statements anew for every episode
and every table, which costs more than the calls of a short episode themselves.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import apsw

Row: TypeAlias = tuple[Any, ...]
"""All columns of a row, `id` first."""
_Rows: TypeAlias = dict[tuple[str, str], tuple[Row | None, Row | None]]
"""(table, id) → the row before, the row after."""


class ChangeLog:
    """The row changes of one connection since `clear`, in order."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._entries: list[tuple[str, Row | None, Row | None]] = []
        connection.preupdate_hook(self._note, id="changes")

    def clear(self) -> None:
        """Begin anew."""
        self._entries.clear()

    def mark(self) -> int:
        """Where the log stands: what `forget` goes back to."""
        return len(self._entries)

    def forget(self, mark: int) -> None:
        """Drop what came after a mark, because it was rolled back: SQLite reports changes, not their undoing."""
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
        self._entries.append((update.table_name, update.old, update.new))


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
