"""Stage `values` and the filling of tables: names from the model, people and places from Faker, numbers from a seed.

Rows obey the schema by construction: references exist, catalogues are as long as they have names, dates stand around
the clock. Popularity is skewed, so that some customers have many orders and some none.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from faker import Faker
from pydantic import BaseModel, Field, JsonValue

from envs.record import derive_seed
from envs.spec import Column, Table
from envs.task import Rejection
from generators.brief import Brief
from generators.stage import Llm, Refused, Stage, run_stage
from generators.tables import Schema

ASKED = 16
RANGES = {
    "money": (300, 60_000),
    "count": (1, 40),
    "year": (1950, 2025),
    "age": (18, 80),
    "rating": (1, 5),
    "pages": (60, 900),
}
"""Limits by a word of the column's name, else by its kind; money in cents."""


class Values(BaseModel):
    """Answer of stage `values`."""

    values: list[str] = Field(min_length=8, max_length=ASKED)


@dataclass(frozen=True)
class Labelled:
    """A text column whose values the model must name."""

    table: Table
    column: Column


def propose_values(
    brief: Brief, schema: Schema, domain: str, llm: Llm
) -> tuple[dict[str, tuple[str, ...]], list[Rejection], list[str]]:
    """Realistic values per `table.column` of kind label, what was refused, and the ids of the calls used.

    A label column for which no usable values came is missing from the answer: the caller drops it from the schema.
    """
    items = list(labels(schema).values())
    stage: Stage[Labelled, tuple[str, ...]] = Stage(
        name="values",
        key=lambda item: f"{item.table.name}.{item.column.name}",
        prompt=lambda item: {"brief": brief, "item": item, "asked": ASKED},
        response=lambda _: Values,
        accept=lambda _, answer: _accept_values(answer),
        max_tokens=300,
        list_answer=True,
        temperature=0.8,
    )
    result = run_stage(stage, items, llm, domain, brief.seed)
    return result.accepted, result.rejections, list(result.made_from.values())


def labels(schema: Schema) -> dict[str, Labelled]:
    """The columns whose values the model names, by `table.column`."""
    return {
        f"{table.name}.{column.name}": Labelled(table, column)
        for table in schema.tables
        for column in table.columns
        if schema.kinds[table.name, column.name] == "label"
    }


def _accept_values(answer: Values) -> tuple[str, ...]:
    values = dict.fromkeys(re.sub(r"\s+", " ", value).strip(" .\"'") for value in answer.values)
    usable = [v for v in values if 2 <= len(v) <= 40 and v.isprintable() and not re.search(r"[{}<>;\\\"]", v)]
    if len(usable) < 8:
        raise Refused("too_few_values", f"list {ASKED} different realistic values, 2 to 40 letters each.")
    return tuple(usable)


def fill_rows(
    brief: Brief, schema: Schema, values: dict[str, tuple[str, ...]], domain: str
) -> dict[str, tuple[tuple[JsonValue, ...], ...]]:
    """Rows per table: `id`, then the columns in order. Depends on the arguments only."""
    rows: dict[str, tuple[tuple[JsonValue, ...], ...]] = {}
    for table in schema.tables:
        rows[table.name] = _correlated(schema, table, _Filler(brief, schema, values, table, rows, domain).rows(), rows)
    return rows


def _correlated(
    schema: Schema,
    table: Table,
    filled: tuple[tuple[JsonValue, ...], ...],
    rows: Mapping[str, Sequence[Sequence[JsonValue]]],
) -> tuple[tuple[JsonValue, ...], ...]:
    """The rows made consistent with what they refer to: the customer of a return is the customer of its order, and the
    amount of an order is the price of its product times the quantity."""
    place = {column.name: position for position, column in enumerate(table.columns, start=1)}
    tables = {other.name: other for other in schema.tables}
    changed = []
    for row in (list(row) for row in filled):
        for column in reversed([column for column in table.columns if column.references]):
            target = tables[column.references or ""]
            found = next(other for other in rows[target.name] if other[0] == row[place[column.name]])
            for position, theirs in enumerate(target.columns, start=1):
                if theirs.references and theirs.name in place:
                    row[place[theirs.name]] = found[position]
                elif theirs.type == "cents" and (ours := _amount(table)) and isinstance(price := found[position], int):
                    quantity = row[place["quantity"]] if "quantity" in place else 1
                    row[place[ours]] = price * quantity if isinstance(quantity, int) else price
        changed.append(tuple(row))
    return tuple(changed)


def _amount(table: Table) -> str | None:
    return next((column.name for column in table.columns if column.type == "cents"), None)


class _Filler:
    """Fills one table from a seed of its own, so that a change in one table leaves the others as they were."""

    def __init__(
        self,
        brief: Brief,
        schema: Schema,
        values: dict[str, tuple[str, ...]],
        table: Table,
        rows: Mapping[str, Sequence[Sequence[JsonValue]]],
        domain: str,
    ) -> None:
        seed = derive_seed(domain, "rows", table.name, brief.seed)
        self.random = random.Random(seed)
        self.faker = Faker("en_US")
        self.faker.seed_instance(seed)
        self.table = table
        self.ids = {name: [str(row[0]) for row in filled] for name, filled in rows.items()}
        self.kinds = {column.name: schema.kinds[table.name, column.name] for column in table.columns}
        self.values = {column.name: values.get(f"{table.name}.{column.name}", ()) for column in table.columns}
        self.today = datetime.fromisoformat(brief.clock).date()
        # A catalogue is as long as its names; people, and tables that refer to others, have the size of the brief.
        names = [len(labels) for labels in self.values.values() if labels]
        refers = any(column.references for column in table.columns)
        self.length = min(names) if names and not refers else brief.sizes.rows

    def rows(self) -> tuple[tuple[JsonValue, ...], ...]:
        columns = [self._cells(column) for column in self.table.columns]
        # Numbers start away from 1 and skip, so that an id cannot be guessed from the size of the table.
        number, rows = self.random.randint(10, 90), []
        for cells in zip(*columns, strict=True):
            rows.append((f"{self.table.id_prefix}-{number}", *cells))
            number += self.random.randint(1, 3)
        return tuple(rows)

    def _cells(self, column: Column) -> list[JsonValue]:
        """One column from top to bottom."""
        if labels := self.values[column.name]:
            cycle = [labels[i % len(labels)] for i in range(self.length)]
            return list(self.random.sample(cycle, self.length))
        if self.kinds[column.name] in ("person_name", "email"):
            return list(self._distinct(column))
        return [self._cell(column) for _ in range(self.length)]

    def _distinct(self, column: Column) -> list[str]:
        """Names and e-mail addresses stand for one person each."""
        seen: dict[str, None] = {}
        while len(seen) < self.length:
            seen[fake_text(self.faker, column.name, self.kinds[column.name])] = None
        return list(seen)

    def _cell(self, column: Column) -> JsonValue:
        if column.references:
            ids = self.ids[column.references]
            return ids[int(len(ids) * self.random.betavariate(1.0, 2.2))]
        if column.type == "enum":
            # Earlier values are commoner: of a status, the ones in which something can still be done.
            weights = [len(column.values) - i for i in range(len(column.values))]
            return self.random.choices(column.values, weights)[0]
        if column.type == "boolean":
            return self.random.random() < 0.7
        if column.type == "date":
            days = self.random.randint(1, 60)
            future = self.kinds[column.name] == "future_date"
            return (self.today + timedelta(days=days if future else -days)).isoformat()
        if column.type in ("integer", "cents"):
            return self._number(column)
        return fake_text(self.faker, column.name, self.kinds[column.name])

    def _number(self, column: Column) -> int:
        low, high = next(
            (limits for word, limits in RANGES.items() if word in column.name), RANGES[self.kinds[column.name]]
        )
        if column.type == "integer":
            return self.random.randint(low, high)
        return int(low * (high / low) ** self.random.random()) // 50 * 50


def fake_text(faker: Faker, column: str, kind: str = "") -> str:
    """One plausible text for a column, by its kind or, without one, by its name."""
    if kind == "email" or "mail" in column:
        return str(faker.unique.email(domain="example.com"))
    if kind == "phone" or "phone" in column:
        return str(faker.numerify("555-0###"))
    if kind == "code":
        return str(faker.bothify("??-####")).upper()
    if kind == "city" or column.endswith("city"):
        return str(faker.city())
    if kind == "address" or "address" in column:
        return str(faker.street_address())
    return str(faker.unique.name() if kind == "person_name" else faker.word())
