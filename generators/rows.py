"""Stage `values` and the filling of tables: names from the model, people and places from Faker, numbers from a seed.

Rows obey the schema by construction: references exist, catalogues are as long as they have names, dates stand around
the clock. Popularity is skewed, so that some customers have many orders and some none; some dates have passed, and some
articles are sold out.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from faker import Faker
from pydantic import BaseModel, Field, JsonValue

from envs.record import derive_seed
from envs.spec import Column, Table
from envs.task import Rejection
from generators.brief import Brief
from generators.coherence import EVENT, coherent
from generators.plain import is_plain, normal, orders_its_reader
from generators.quantities import limits, stock_of
from generators.stage import Corrected, Correction, Llm, Refused, Stage, run_stage
from generators.tables import Schema

Rows: TypeAlias = tuple[tuple[JsonValue, ...], ...]
OwnRows: TypeAlias = Callable[[Table, Rows, Mapping[str, Rows]], Rows]
"""A table, the rows it was given and the tables filled before it → the rows it shall have."""
ASKED = 16
SOLD_OUT = 0.1
EXPIRED = 0.2
"""Shares of a catalogue that nothing is left of, and of the dates to come that have passed."""


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
    result = run_stage(stage, items, llm, domain, brief.answers_seed)
    return result.accepted, result.rejections, list(result.made_from.values())


def labels(schema: Schema) -> dict[str, Labelled]:
    """The columns whose values the model names, by `table.column`."""
    return {
        f"{table.name}.{column.name}": Labelled(table, column)
        for table in schema.tables
        for column in table.columns
        if schema.kinds[table.name, column.name] == "label"
    }


def _accept_values(answer: Values) -> Corrected[tuple[str, ...]]:
    values = dict.fromkeys(normal(value).strip(" .,:'\"") for value in answer.values)
    usable = tuple(value for value in values if 2 <= len(value) <= 40 and is_plain(value))
    kept = tuple(value for value in usable if not orders_its_reader(value))
    if len(kept) < 8:
        raise Refused("too_few_values", f"list {ASKED} different realistic values, 2 to 40 letters each.")
    left_out = {
        "repeated_value": len(answer.values) - len(values),
        "not_plain": len(values) - len(usable),
        "orders_its_reader": len(usable) - len(kept),
    }
    corrections = (
        Correction(why, f"{count} of {len(answer.values)} values") for why, count in left_out.items() if count
    )
    return Corrected(kept, tuple(corrections))


def fill_rows(
    brief: Brief, schema: Schema, values: dict[str, tuple[str, ...]], domain: str, own: OwnRows | None = None
) -> dict[str, tuple[tuple[JsonValue, ...], ...]]:
    """Rows per table: `id`, then the columns in order. Depends on the arguments only.

    `own` may put others in place of a table's rows, before the tables that refer to it are filled.
    """
    rows: dict[str, tuple[tuple[JsonValue, ...], ...]] = {}
    for table in schema.tables:
        filler = _Filler(brief, schema, values, table, rows, domain)
        filled = coherent(schema, table, filler.rows(), rows, filler.today)
        rows[table.name] = own(table, filled, rows) if own else filled
    return rows


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
        self.stock = stock_of(table, schema.kinds)
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
        cells = [self._cell(column) for _ in range(self.length)]
        if self.kinds[column.name] == "future_date":
            for place in self._some(EXPIRED):
                cells[place] = self._days_away(-self.random.randint(1, 30))
        if column == self.stock:
            for place in self._some(SOLD_OUT):
                cells[place] = 0
        return cells

    def _some(self, share: float) -> list[int]:
        """That share of the rows, and one at least."""
        return self.random.sample(range(self.length), max(1, round(share * self.length)))

    def _distinct(self, column: Column) -> list[str]:
        """Names and e-mail addresses stand for one person each."""
        seen: dict[str, None] = {}
        while len(seen) < self.length:
            seen[fake_text(self.faker, column.name, self.kinds[column.name])] = None
        return list(seen)

    def _cell(self, column: Column) -> JsonValue:
        if column.references:
            ids = self.ids[column.references]
            # Early ones are referred to often, and the last never: somebody has no order at all.
            return ids[int((len(ids) - 1) * self.random.betavariate(1.0, 2.2))]
        if column.type == "enum":
            # Earlier values are commoner: of a status, the ones in which something can still be done.
            weights = [len(column.values) - i for i in range(len(column.values))]
            return self.random.choices(column.values, weights)[0]
        if column.type == "boolean":
            return self.random.random() < 0.7
        if column.type == "date":
            ahead = self.kinds[column.name] == "future_date" or (
                EVENT.search(column.name) and self.random.random() < 0.5
            )
            return self._days_away(self.random.randint(1, 60) * (1 if ahead else -1))
        if column.type in ("integer", "cents"):
            return self._number(column)
        return fake_text(self.faker, column.name, self.kinds[column.name])

    def _days_away(self, days: int) -> str:
        return (self.today + timedelta(days=days)).isoformat()

    def _number(self, column: Column) -> int:
        low, high = limits(self.table, column, self.today.year)
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
