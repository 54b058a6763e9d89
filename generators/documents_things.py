"""The truth behind documents: things with names, values and references, filled from the same stages as any tables.

Tables and rows come from `generators.tables` and `generators.rows`; here they are given names that tell each thing from
all others, and years and sizes that suit an archive.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pydantic import JsonValue

from envs.record import derive_seed
from envs.spec import Column, Table
from generators.brief import Brief, DomainError
from generators.documents_wording import Link, speaks_of
from generators.rows import Rows, fill_rows
from generators.tables import Schema

YEAR = 365
AGES = (
    (r"birth|born", 22 * YEAR, 80 * YEAR), (r"found|built|establish|creat", 8 * YEAR, 120 * YEAR),
    (r"join|start|hire|employ|member", 60, 25 * YEAR), (r"", 20, 12 * YEAR),
)  # fmt: skip
"""How many days ago something was, by the words of its column's name."""
NUMBERS = (
    (r"visitor|audience|population|reader|circulation|viewer", 400, 60_000), (r"capacity|seat", 40, 900),
    (r"employee|member|staff|student", 5, 400), (r"page", 60, 900),
)  # fmt: skip
MONEY = ((r"insur|value|budget|prize|salary", 150_000, 90_000_000),)
"""In cents."""
FEWEST = 8
"""Things of one kind."""
NAMING = re.compile(r"(^|_)(title|name)$")


@dataclass(frozen=True)
class Thing:
    """One row: what its document is about."""

    table: str
    id: str
    name: str
    values: Mapping[str, JsonValue]
    """Per column its value; of a reference the id of the other thing."""


@dataclass(frozen=True)
class Truth:
    """All things of an archive. No tool reads it: it is told by the documents alone."""

    schema: Schema
    naming: Mapping[str, str]
    """Per table the column that holds the names of its things."""
    things: Mapping[str, Thing]
    """By id, in the order of tables and rows."""

    def of(self, table: str) -> list[Thing]:
        """The things of one table."""
        return [thing for thing in self.things.values() if thing.table == table]

    def facts(self, table: str) -> list[Column]:
        """The columns that say something of a thing besides its name and what it belongs to."""
        return [c for c in self.schema_table(table).columns if not c.references and c.name != self.naming[table]]

    def links(self) -> list[Link]:
        """The references between things."""
        return [Link(t.name, c.name, c.references) for t in self.schema.tables for c in t.columns if c.references]

    def belonging(self, link: Link, parent: Thing) -> list[Thing]:
        """The things that belong to one by a link."""
        return [thing for thing in self.of(link.child) if thing.values[link.column] == parent.id]

    def schema_table(self, name: str) -> Table:
        """The table of that name. Raises KeyError."""
        return {table.name: table for table in self.schema.tables}[name]


def without_unsaid_references(brief: Brief, schema: Schema) -> Schema:
    """The schema less the references that no hint speaks of: small models let each thing refer to all others."""
    unsaid = {
        f"{table.name}.{column.name}"
        for table in schema.tables
        for column in table.columns
        if column.references and not speaks_of(brief.entities.get(table.name, column.references), column.references)
    }
    return schema.without(unsaid)


def with_names(schema: Schema) -> tuple[Schema, dict[str, str]]:
    """The schema with a naming column in each table and without yes-or-no columns, and the naming columns.

    A document for yes or no questions would be guessed right half the time.
    """
    flags = {f"{table}.{column}" for (table, column), kind in schema.kinds.items() if kind == "flag"}
    tables, kinds, naming = [], dict(schema.kinds), {}
    for table in schema.without(flags).tables:
        texts = [c.name for c in table.columns if kinds[table.name, c.name] in ("label", "person_name")]
        named = next((name for name in texts if NAMING.search(name)), None)
        if named is None:
            named = "title"
            columns = (Column(name=named, type="text"), *(c for c in table.columns if c.name != named))
            table = table.model_copy(update={"columns": columns})
            kinds[table.name, named] = "label"
        naming[table.name] = named
        tables.append(table)
    return Schema(tuple(tables), kinds), naming


def fill_truth(
    brief: Brief,
    schema: Schema,
    naming: Mapping[str, str],
    titles: Mapping[str, tuple[str, ...]],
    values: Mapping[str, tuple[str, ...]],
    domain: str,
) -> Truth:
    """The things of the archive, no two with the same name: `sizes.rows` of each kind that belongs to another, and half
    as many of the others, so that several belong to one.

    titles: per table with a title column its titles; values: per other text column what stands in it.
    """
    rows = brief.sizes.rows
    cycled = {place: tuple(found[i % len(found)] for i in range(rows)) for place, found in values.items()}
    taken: set[str] = set()
    for table in schema.tables:
        if table.name in titles:
            shuffled = random.Random(derive_seed(domain, "titles", table.name, brief.seed)).sample(
                titles[table.name], len(titles[table.name])
            )
            cycled[f"{table.name}.{naming[table.name]}"] = _distinct(shuffled, taken, rows)

    def fewer(table: Table, filled: Rows, _: Mapping[str, Rows]) -> Rows:
        return filled if any(column.references for column in table.columns) else filled[: max(FEWEST, rows // 2)]

    things: dict[str, Thing] = {}
    for name, filled in fill_rows(brief, schema, cycled, domain, fewer).items():
        table = next(table for table in schema.tables if table.name == name)
        rng = random.Random(derive_seed(domain, "things", name, brief.seed))
        for row in filled:
            cells = dict(zip((column.name for column in table.columns), row[1:], strict=True))
            own = {c.name: _suited(brief, rng, c, schema.kinds[name, c.name], cells[c.name]) for c in table.columns}
            called = str(own[naming[name]])
            if name not in titles:
                [called] = _distinct([called], taken, 1)
            things[str(row[0])] = Thing(name, str(row[0]), called, {**own, naming[name]: called})
    return Truth(schema, naming, things)


def _distinct(names: list[str], taken: set[str], count: int) -> tuple[str, ...]:
    """The first `count` names that nothing has yet; when they run out, again with II, III and so on."""
    found: list[str] = []
    for suffix in ("", " II", " III", " IV", " V", " VI", " VII", " VIII", " IX", " X"):
        for name in names:
            if len(found) < count and f"{name}{suffix}" not in taken:
                taken.add(f"{name}{suffix}")
                found.append(f"{name}{suffix}")
    if len(found) < count:
        raise DomainError(f"sizes.rows: {len(names)} titles are too few for {count} things. Lower it.")
    return tuple(found)


def _suited(brief: Brief, rng: random.Random, column: Column, kind: str, value: JsonValue) -> JsonValue:
    """A value on the scale of an archive: years instead of days, visitors instead of a handful."""
    if column.type == "date" and kind == "past_date":
        low, high = _range(AGES, column) or (20, 12 * YEAR)
        return (date.fromisoformat(brief.clock[:10]) - timedelta(days=rng.randint(low, high))).isoformat()
    limits = _range(NUMBERS if column.type == "integer" else MONEY, column)
    if column.type not in ("integer", "cents") or limits is None:
        return value
    low, high = limits
    drawn = int(low * (high / low) ** rng.random())
    return drawn // 5_000 * 5_000 if column.type == "cents" else drawn


def _range(scales: tuple[tuple[str, int, int], ...], column: Column) -> tuple[int, int] | None:
    return next(((low, high) for pattern, low, high in scales if re.search(pattern, column.name)), None)
