"""How records show themselves: one bounded line in a console, a table in a notebook.

Text may come from a model or a stranger: it is cut, its control characters are blanked, and HTML is escaped.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Protocol


class Identified(Protocol):
    """A record with an id, which may not be computable: then it raises ValueError."""

    @property
    def id(self) -> str: ...


LINE, PART, CELL, ROWS = 240, 100, 300, 30
"""The most characters of a line, of one of its parts and of a cell, and the most rows of a table."""


class Shown:
    """Base of records with a line of their own: `print` shows it too, instead of every field."""

    def __str__(self) -> str:
        return repr(self)


def short(value: object, limit: int) -> str:
    """The text of a value on one line, at most `limit` characters long."""
    text = value if isinstance(value, str) else str(value)
    # What is cut anyway is not looked at; every printable character is kept.
    words = "".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split()
    line = " ".join(words)
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 2]} …"


def one_line(kind: str, *parts: object) -> str:
    """`Task(library, 3 calls, Renew my loan …)`: the kind, and each part that is not empty."""
    inner = ", ".join(short(part, PART) for part in parts if part != "")
    return f"{kind}({short(inner, LINE - len(kind) - 2)})"


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table, every value escaped; after the first rows it counts those that are left out."""
    lines = [_row("th", header), *(_row("td", row) for row in islice(rows, ROWS))]
    if len(rows) > ROWS:
        lines.append(f'<tr><td colspan="{len(header)}">… and {len(rows) - ROWS} more</td></tr>')
    return f"<table><caption>{escape(short(caption, CELL))}</caption>{''.join(lines)}</table>"


def short_id(record: Identified) -> str:
    """The first eight digits of a record's id; of a record that canonical JSON cannot carry, `no id`."""
    try:
        return record.id[:8]
    except ValueError:
        return "no id"


def count(number: int, noun: str) -> str:
    """`1 turn`, `3 turns`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _row(tag: str, cells: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(short(cell, CELL))}</{tag}>' for cell in cells)}</tr>"
