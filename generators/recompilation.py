"""The operations of a specification: everything that its tables allow is compiled again and compared with its tools.

A specification stores tools and no operations. The operation of a tool is the one that compiles to the same SQL and
parameters. Name, description and messages are not compared: they are words for people.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product

from envs.errors import SpecError
from envs.spec import Column, EnvironmentSpec, Table, Tool
from generators.clauses import in_state
from generators.documents_tools import DOCUMENT_TOOLS, DOCUMENTS
from generators.lifecycles import Lifecycle, Transition, status_of
from generators.operations import OTHER, Compiled, Kind, Operation
from generators.read_tools import DIFFERENCE, compare, get, searches_and_sums
from generators.tables import Schema
from generators.tools import advance, change, create, move, remove

KINDS_OF_TYPES = {
    "text": ("label",), "enum": ("category",), "integer": ("count",), "cents": ("money",), "boolean": ("flag",),
    "date": ("past_date", "future_date"),
}  # fmt: skip
"""The kinds of columns by type, where the kind makes a difference to how a new row is filled."""


def operations_of(spec: EnvironmentSpec) -> Mapping[str, Operation]:
    """The operation of each tool, by its name, in the order of the tools.

    `other` for what a model or the domain's own Python wrote. Raises SpecError for any other tool that does not follow
    from the tables.
    """
    written = (*spec.proposed, *(spec.handmade.tools if spec.handmade else ()))
    return dict(_operations(spec.tables, spec.tools, written))


def reader_of(operations: Mapping[str, Operation], table: str) -> str | None:
    """The tool that reads one row of a table."""
    return next(
        (name for name, operation in operations.items() if operation.kind is Kind.READ and operation.table == table),
        None,
    )


@lru_cache(maxsize=64)
def _operations(
    tables: tuple[Table, ...], tools: tuple[Tool, ...], written: tuple[str, ...]
) -> tuple[tuple[str, Operation], ...]:
    possible = {_behavior(compiled.tool): compiled.operation for compiled in _all_tools(tables, tools)}
    operations = []
    for tool in tools:
        operation = OTHER if tool.name in written else possible.get(_behavior(tool))
        if operation is None:
            raise SpecError(
                f"tools.{tool.name}",
                "no operation on the tables compiles to this tool",
                "Make the environment again, or name the tool in `proposed` or `handmade`.",
            )
        operations.append((tool.name, operation))
    return tuple(operations)


def _behavior(tool: Tool) -> Tool:
    """The tool without the words that people read."""
    return tool.model_copy(
        update={
            "name": "",
            "description": "",
            "parameters": tuple(parameter.model_copy(update={"description": ""}) for parameter in tool.parameters),
            "guards": tuple(guard.model_copy(update={"message": ""}) for guard in tool.guards),
        }
    )


def _all_tools(tables: tuple[Table, ...], tools: tuple[Tool, ...]) -> Iterator[Compiled]:
    """Every tool that the tables allow, guarded by the sets of statuses that guard one of these tools."""
    if tables == (DOCUMENTS,):
        yield from DOCUMENT_TOOLS
        return
    schema = _schema(tables)
    for table in tables:
        yield get(table)
        yield from searches_and_sums(table)
        yield from (compare(table, column) for column in table.columns if column.type in DIFFERENCE)
        yield remove(table)
        for kinds in product(*(_kinds(column) for column in table.columns)):
            own = {(table.name, column.name): kind for column, kind in zip(table.columns, kinds, strict=True)}
            if (creation := create(table, Schema(tables, schema.kinds | own))) is not None:
                yield creation
        for states in _guarded_states(table, tools):
            yield from _changes(table, schema, states)


def _changes(table: Table, schema: Schema, states: tuple[str, ...]) -> Iterator[Compiled]:
    """The tools that change one row of the table in one of these statuses; empty: in any."""
    life = Lifecycle(editable_while=states)
    for column in table.columns:
        yield move(table, column, schema, life) if column.references else change(table, column, life)
    if states:
        targets = table.column("status").values
        yield from (advance(table, Transition(verb="", sources=states, target=target)) for target in targets)


def _guarded_states(table: Table, tools: tuple[Tool, ...]) -> list[tuple[str, ...]]:
    """The sets of statuses that compile to a guard of one of the tools, after the empty one."""
    status = status_of(table)
    if status is None:
        return [()]
    guards = dict.fromkeys(guard.sql for tool in tools for guard in tool.guards)
    quoted = (tuple(value for value in status.values if f"'{value}'" in sql) for sql in guards)
    compiled = {in_state(table, states, "").sql: states for states in quoted if states}
    return [(), *(states for sql, states in compiled.items() if sql in guards)]


def _schema(tables: tuple[Table, ...]) -> Schema:
    """The tables with the likeliest kind of each column."""
    kinds = {(table.name, column.name): _kinds(column)[0] for table in tables for column in table.columns}
    return Schema(tables, kinds)


def _kinds(column: Column) -> tuple[str, ...]:
    if column.references:
        return ("reference",)
    return ("status",) if column.name == "status" else KINDS_OF_TYPES.get(column.type, ("label",))
