"""Filled rows made consistent with what they refer to, with each other and with the clock.

The customer of a return is the customer of its order, the amount of an order is the price of its product times the
quantity, nothing is sent back before it is ordered, and an appointment that is over is not ahead.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import product
from typing import TypeAlias

from pydantic import JsonValue

from envs.spec import Table
from generators.quantities import quantity_of
from generators.tables import Schema

Row: TypeAlias = dict[str, JsonValue]
EVENT = re.compile(r"(^|_)(departure|arrival|show|tour|appointment|event|match|game|travel|visit|journey|session)(_|$)")
"""Dates of what takes place: behind once it is over, ahead until then."""


def coherent(
    schema: Schema,
    table: Table,
    filled: Sequence[Sequence[JsonValue]],
    rows: Mapping[str, Sequence[Sequence[JsonValue]]],
    today: date,
) -> tuple[tuple[JsonValue, ...], ...]:
    """The rows of `table` put right. `rows` are those of the tables before it, which it may refer to."""
    others = {other.name: other for other in schema.tables if other.name in rows}
    referred = {name: {row[0]: _named(other, row) for row in rows[name]} for name, other in others.items()}
    changed = []
    for row in (_named(table, cells) for cells in filled):
        # From the last reference to the first: an order says which customer, and what comes first is paid for.
        for column in reversed([column for column in table.columns if column.references]):
            target = others[column.references or ""]
            _follow(row, table, target, referred[target.name][row[column.name]], schema, today)
        _put_dates_in_order(row, table, schema, today)
        changed.append(tuple(row.values()))
    return tuple(changed)


def _named(table: Table, cells: Sequence[JsonValue]) -> Row:
    return dict(zip(["id", *(column.name for column in table.columns)], cells, strict=True))


def _follow(row: Row, table: Table, target: Table, found: Row, schema: Schema, today: date) -> None:
    """Take over from the row referred to what both have, its price, and that it was there first."""
    amount = next((column.name for column in table.columns if column.type == "cents"), None)
    quantity = quantity_of(table)
    is_record = any(column.references for column in target.columns)
    for theirs in target.columns:
        value = found[theirs.name]
        if theirs.references and theirs.name in row:
            row[theirs.name] = value
        elif theirs.type == "cents" and amount and isinstance(value, int):
            times = row[quantity.name] if quantity else 1
            row[amount] = value * times if isinstance(times, int) else value
        elif theirs.type == "date" and is_record and str(value) <= today.isoformat():
            for name in _dates(table, schema, "past_date"):
                row[name] = max(str(row[name]), str(value))


def _put_dates_in_order(row: Row, table: Table, schema: Schema, today: date) -> None:
    began, ends = (_dates(table, schema, kind) for kind in ("past_date", "future_date"))
    for first, last in product(began, ends):
        row[first], row[last] = sorted((str(row[first]), str(row[last])))
    if "status" not in row:
        return
    statuses = table.column("status").values
    ahead = statuses.index(str(row["status"])) < len(statuses) / 2
    for name in filter(EVENT.search, began):
        distance = abs(date.fromisoformat(str(row[name])) - today)
        row[name] = (today + distance if ahead else today - distance).isoformat()


def _dates(table: Table, schema: Schema, kind: str) -> list[str]:
    return [column.name for column in table.columns if schema.kinds[table.name, column.name] == kind]
