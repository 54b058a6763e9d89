"""Whether two batches hold the same: row by row and column by column, down to the first value that differs.

What may differ is for the caller to say: wall clock times, places on a disk, numbers that an engine computes almost
alike. Fractions that only rounding tells apart are equal. JSON columns are compared by content, and the place in them
is told.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from serving.amounts import same
from warehouse.tables import RECORD_TABLES, TABLES

ROW = "(row)"
"""The column of a difference that is a whole row."""
ABSENT = "(none)"
_ORDER = ("turns", *(table.name for table in RECORD_TABLES if table.name != "turns"))
"""As tables follow from one another; but what a rollout said before what came of it."""
_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Difference:
    """Where two batches differ first, and both values, shortened."""

    table: str
    row: str
    """The row's key, its columns joined by slashes."""
    column: str
    place: str
    """Where in the value: `[17]` of a list, `.cost` of an object; empty for the whole of it."""
    recorded: str
    found: str

    @property
    def sentence(self) -> str:
        """For people; of a rollout also which turn and token."""
        where = f"{self.table} {self.row}: {self.column}{self.place}"
        if self.table == "turns" and self.column != ROW:
            rollout, _, turn = self.row.rpartition("/")
            token = self.place.strip("[]") if self.column in ("context_ids", "completion_ids", "logprobs") else ""
            where = f"rollout {rollout}, turn {turn}, {f'token {token}, ' if token else ''}{self.column}{self.place}"
        return f"{where}: recorded {self.recorded}, now {self.found}"


@dataclass(frozen=True)
class Leeway:
    """What of a table may differ."""

    columns: Collection[str] = ()
    """Not compared."""
    keys: Collection[str] = ()
    """Of objects in JSON columns: not compared, however deep."""
    near: Mapping[str, float] = field(default_factory=dict)
    """Column → by how much numbers in it may differ."""
    key: tuple[str, ...] = ()
    """What names a row, where the table's own key may differ."""


@dataclass(frozen=True)
class Comparison:
    """The first difference, if there is one, and how far apart numbers were that may differ."""

    difference: Difference | None
    gap: float = 0.0


NONE = Leeway()


def compare(
    recorded: Mapping[str, pl.DataFrame], found: Mapping[str, pl.DataFrame], leeway: Mapping[str, Leeway]
) -> Comparison:
    """Two batches as frames by table. Rows are matched by key; their order counts too."""
    gap = 0.0
    for table in (each for each in _ORDER if each in recorded or each in found):
        then, now = (frames.get(table, pl.DataFrame()).to_dicts() for frames in (recorded, found))
        compared = compare_rows(table, then, now, leeway.get(table, NONE))
        gap = max(gap, compared.gap)
        if compared.difference:
            return Comparison(compared.difference, gap)
    return Comparison(None, gap)


def compare_rows(
    table: str, recorded: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], leeway: Leeway = NONE
) -> Comparison:
    """Rows of one table. A column that either side lacks is not compared."""
    key = leeway.key or TABLES[table].key
    now = {_name(row, key): row for row in found}
    walk = _Walk(leeway)
    for row in recorded:
        name = _name(row, key)
        if name not in now:
            return Comparison(Difference(table, name, ROW, "", "there", "missing"), walk.gap)
        for column in TABLES[table].columns:
            if column in leeway.columns or not (column in row and column in now[name]):
                continue
            if TABLES[table].columns[column].added and row[column] is None:
                continue  # the row is older than the column
            place = walk.first(table, column, row[column], now[name][column])
            if place:
                return Comparison(Difference(table, name, column, *place), walk.gap)
    before = {_name(row, key): None for row in recorded}
    if new := next((name for name in now if name not in before), None):
        return Comparison(Difference(table, new, ROW, "", "missing", "there"), walk.gap)
    swapped = next(((then, here) for then, here in zip(before, now, strict=True) if then != here), None)
    if swapped and not leeway.key:
        told = ("at this place", f"{swapped[1]} at its place")
        return Comparison(Difference(table, swapped[0], ROW, "", *told), walk.gap)
    return Comparison(None, walk.gap)


def _name(row: Mapping[str, Any], key: Sequence[str]) -> str:
    return "/".join(str(row[column]) for column in key)


class _Walk:
    """Goes through two values side by side and remembers the largest gap between numbers that may differ."""

    def __init__(self, leeway: Leeway) -> None:
        self.leeway, self.gap = leeway, 0.0

    def first(self, table: str, column: str, recorded: Any, found: Any) -> tuple[str, str, str] | None:
        """Place and both values of the first difference in a column's value."""
        kind, near = TABLES[table].columns[column].kind, self.leeway.near.get(column, 0.0)
        if recorded == found and not near:
            return None
        if kind == "json" and isinstance(recorded, str) and isinstance(found, str):
            recorded, found = _parsed(recorded), _parsed(found)
        return self._first("", recorded, found, near)

    def _first(self, place: str, recorded: Any, found: Any, near: float) -> tuple[str, str, str] | None:
        if isinstance(recorded, list) and isinstance(found, list):
            pairs = enumerate(zip(recorded, found, strict=False))
            inner = (self._first(f"{place}[{at}]", left, right, near) for at, (left, right) in pairs)
            different = next((each for each in inner if each), None)
            shorter = min(len(recorded), len(found))
            if different or len(recorded) == len(found):
                return different
            ends = [shown(each[shorter]) if len(each) > shorter else ABSENT for each in (recorded, found)]
            return f"{place}[{shorter}]", ends[0], ends[1]
        if isinstance(recorded, dict) and isinstance(found, dict):
            names = [name for name in {**recorded, **found} if name not in self.leeway.keys]
            sides = ((name, recorded.get(name, ABSENT), found.get(name, ABSENT)) for name in names)
            inner = (self._first(f"{place}.{name}", left, right, near) for name, left, right in sides)
            return next((each for each in inner if each), None)
        if recorded == found or (isinstance(recorded, float) and isinstance(found, float) and same(recorded, found)):
            return None
        if near and _number(recorded) and _number(found) and abs(recorded - found) <= near:
            self.gap = max(self.gap, abs(recorded - found))
            return None
        return (place, *_apart(recorded, found))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # altered: compared as the text it is
        return text


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _apart(recorded: Any, found: Any) -> tuple[str, str]:
    """Both values, shortened; long texts from a little before where they part."""
    if isinstance(recorded, str) and isinstance(found, str) and max(len(recorded), len(found)) > _SHOWN:
        pairs = enumerate(zip(recorded, found, strict=False))
        parts = next((at for at, (left, right) in pairs if left != right), min(len(recorded), len(found)))
        start = max(0, parts - _SHOWN // 3)
        cut = "…" if start else ""
        return shown(cut + recorded[start:]), shown(cut + found[start:])
    return shown(recorded), shown(found)


def shown(value: Any) -> str:
    """A value in one short line."""
    text = value if value == ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]} …"
