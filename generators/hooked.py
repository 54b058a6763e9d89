"""How the hooks of a domain are called and held to their word. What they make is checked before anything is made of it.

Whatever goes wrong names the file, the function and the remedy, and `DomainHooks.id` is part of where the result came
from.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from faker import Faker

from envs.environment import Environment
from envs.errors import SpecError
from envs.record import NotCanonical, Record, content_id, derive_seed
from envs.schema import highest_number
from envs.spec import EnvironmentSpec, Table, Tool
from generators.brief import Brief
from generators.fields import did_you_mean
from generators.hook_files import METHODS, HookError, failed, find_hooks
from generators.hooks import FILE, Hooks, Row, RowContext, TaskDraft
from generators.rows import OwnRows, Rows
from generators.tables import Schema

Kind = TypeVar("Kind")
MAX_GIVEN = 20_000
"""What one method may give: a generator without end is an error, not a hang."""


@dataclass(frozen=True)
class DomainHooks:
    """The hooks of one domain. Without any, everything stays as it is generated."""

    hooks: Hooks = field(default_factory=Hooks)
    file: Path = Path(FILE)
    sources: Mapping[str, str] = field(default_factory=dict)
    """Every Python file of the domain's folder, by its path there."""

    @property
    def id(self) -> str | None:
        """The hash of the sources; None for a domain without hooks."""
        return content_id(dict(self.sources)) if self.sources else None

    @property
    def written(self) -> list[str]:
        """The methods that this domain writes itself."""
        return [name for name in METHODS if getattr(type(self.hooks), name) is not getattr(Hooks, name)]

    def own_rows(self, brief: Brief, schema: Schema, domain: str) -> OwnRows | None:
        """What `fill_rows` asks after each table; None if the domain leaves rows alone."""
        if "rows" not in self.written:
            return None

        def rows_of(table: Table, generated: Rows, filled: Mapping[str, Rows]) -> Rows:
            function = f"rows({table.name})"
            context = _context(brief, schema, domain, table, generated, filled)
            remedy = f"{table.name} has {', '.join(_names(table))}"
            made = self._call(function, remedy, lambda: self.hooks.rows(table, context))
            if made is None:
                return generated
            rows = self._as_rows(function, table, made, generated)
            so_far = tuple(other for other in schema.tables if other.name in filled or other is table)
            self._compile(function, _spec(brief, domain, so_far, {**filled, table.name: rows}))
            return rows

        return rows_of

    def tools(self, schema: Schema) -> tuple[Tool, ...]:
        """The domain's own tools. Raises HookError; `check_tools` is asked once they stand in a specification."""
        tables = "; ".join(f"{table.name} has {', '.join(_names(table))}" for table in schema.tables)
        made = self._all_of(Tool, "tools", self._call("tools", tables, lambda: self.hooks.tools(schema)))
        for tool in made:
            if not tool.description.split()[:1] or not tool.description.split()[0].isalpha():
                what = f"the description of {tool.name} does not begin with a verb: {tool.description!r}"
                raise self._error("tools", what, "Say what the tool does, such as `Extend one rental.`")
        return tuple(made)

    def check_tools(self, spec: EnvironmentSpec) -> None:
        """Compile the specification that the domain's own tools are in. Raises HookError."""
        self._compile("tools", spec)

    def tasks(self, environment: Environment, count: int) -> list[TaskDraft]:
        """At most `count` drafts of the domain's own. Raises HookError."""
        rng = random.Random(derive_seed(environment.spec.domain, "hooks", environment.spec.seed))
        tables = "; ".join(f"{table.name} has {', '.join(_names(table))}" for table in environment.spec.tables)
        drafts = self._call("tasks", tables, lambda: self.hooks.tasks(environment, rng), count)
        return self._all_of(TaskDraft, "tasks", drafts)

    def _call(
        self, function: str, remedy: str, method: Callable[[], Iterable[object] | None], limit: int | None = None
    ) -> list[object] | None:
        """What a method gives, as a list; a generator runs here, and fails here."""
        try:
            made = method()
            given = None if made is None else list(islice(made, limit or MAX_GIVEN + 1))
        except Exception as error:
            raise failed(error, self.file, self._named(function), f"Correct it; {remedy}") from error
        if given is not None and len(given) > MAX_GIVEN:
            raise self._error(function, f"gave more than {MAX_GIVEN} items", "Let it end")
        return given

    def _all_of(self, kind: type[Kind], function: str, made: list[object] | None) -> list[Kind]:
        if made is None:
            raise self._error(function, "gave None", "Give a list; an empty one for nothing")
        for number, each in enumerate(made):
            if not isinstance(each, kind):
                remedy = f"Give objects of {kind.__module__}.{kind.__qualname__}"
                raise self._error(function, f"item {number} is {_article(each)}", remedy)
            if isinstance(each, Record):
                self._carried(function, number, each)
        return [each for each in made if isinstance(each, kind)]

    def _carried(self, function: str, number: int, record: Record) -> None:
        try:
            record.canonical()
        except NotCanonical as error:
            remedy = "Use finite numbers up to 2**53 - 1, and Unicode text"
            raise self._error(function, f"item {number}: {error}", remedy) from error

    def _as_rows(self, function: str, table: Table, made: Sequence[object], generated: Rows) -> Rows:
        if not made:
            raise self._error(function, "gave no row", "Give at least one, or None to keep those generated")
        fresh = _fresh_ids(table, made, generated)
        rows = []
        for number, row in enumerate(made):
            if not isinstance(row, dict):
                raise self._error(function, f"row {number} is {_article(row)}", "Give a dict of column and value")
            if unknown := [str(name) for name in row if name not in _names(table)]:
                what = f"row {number} has {unknown[0]}, which is no column of {table.name}"
                raise self._error(function, what, did_you_mean(unknown[0], _names(table)))
            if missing := [c.name for c in table.columns if row.get(c.name) is None and not c.nullable]:
                remedy = "Give every column; `{**row, …}` of a row of `context.generated` has them all"
                raise self._error(function, f"row {number} has no {', '.join(missing)}", remedy)
            for name, value in row.items():
                if value is not None and not isinstance(value, str | int | float):
                    remedy = "Give text, a number or a boolean; a date as ISO text"
                    raise self._error(function, f"row {number}: {name} is {_article(value)}", remedy)
            for column in (c for c in table.columns if c.values and row.get(c.name) not in (None, *c.values)):
                what = f"row {number}: {column.name} is {row[column.name]!r}"
                raise self._error(function, what, f"Use one of {', '.join(column.values)}")
            identity = row["id"] if row.get("id") is not None else next(fresh)
            rows.append((identity, *(row.get(column.name) for column in table.columns)))
        return tuple(rows)

    def _compile(self, function: str, spec: EnvironmentSpec) -> None:
        try:
            Environment.load(spec).close()
        except SpecError as error:
            raise self._error(function, f"{error.place}: {error.what}", error.remedy) from error

    def _named(self, function: str) -> str:
        return f"{type(self.hooks).__name__}.{function}"

    def _error(self, function: str, what: str, remedy: str) -> HookError:
        return HookError(str(self.file), self._named(function), what, remedy)


def load_hooks(domain: str) -> DomainHooks:
    """The hooks of a domain, from its folder or its entry point. Raises DomainError."""
    found = find_hooks(domain)
    return DomainHooks(*found) if found else DomainHooks()


def _context(
    brief: Brief, schema: Schema, domain: str, table: Table, generated: Rows, filled: Mapping[str, Rows]
) -> RowContext:
    seed = derive_seed(domain, "hooks", table.name, brief.seed)
    faker = Faker("en_US")
    faker.seed_instance(seed)
    tables = {other.name: other for other in schema.tables}
    return RowContext(
        generated=_as_dicts(table, generated),
        rows={name: _as_dicts(tables[name], rows) for name, rows in filled.items()},
        rng=random.Random(seed),
        faker=faker,
        today=datetime.fromisoformat(brief.clock).date(),
    )


def _spec(brief: Brief, domain: str, tables: tuple[Table, ...], rows: Mapping[str, Rows]) -> EnvironmentSpec:
    """A specification of tables and rows alone, to have the schema judge the rows."""
    return EnvironmentSpec(
        domain=domain,
        title=brief.title,
        policy="",
        tables=tables,
        rows=dict(rows),
        tools=(),
        clock=brief.clock,
        seed=brief.seed,
    )


def _fresh_ids(table: Table, made: Sequence[object], generated: Rows) -> Iterator[str]:
    """Ids for rows without one: those of the generated rows that are not taken, then higher numbers."""
    taken = {row["id"] for row in made if isinstance(row, dict) and row.get("id") is not None}
    yield from (str(row[0]) for row in generated if row[0] not in taken)
    number = highest_number(table, (*generated, *((identity,) for identity in taken)))
    while True:
        number += 1
        yield f"{table.id_prefix}-{number}"


def _as_dicts(table: Table, rows: Rows) -> tuple[Row, ...]:
    return tuple(dict(zip(_names(table), row, strict=True)) for row in rows)


def _names(table: Table) -> list[str]:
    return ["id", *(column.name for column in table.columns)]


def _article(value: object) -> str:
    return f"a {type(value).__name__}"
