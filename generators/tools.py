"""The operation algebra: what can be done to a table follows from its columns and its lifecycle, as declarative tools.

SQL is compiled here, so a tool is right whatever the strength of the model that named the columns and the steps.
"""

import random

from envs.record import derive_seed
from envs.schema import IDENTIFIER, quoted
from envs.spec import Column, Guard, Parameter, Returns, Table, Tool
from generators.brief import Brief
from generators.clauses import exists, identity, in_state, in_stock, listed, stock_needed, value_of, whole_row
from generators.lifecycles import Lifecycle, Transition, status_of
from generators.names import label, plural, words
from generators.operations import Compiled, Kind, Operation, Stock
from generators.quantities import is_price, quantity_of
from generators.read_tools import comparison, get, searches_and_sums
from generators.tables import Schema

MAX_CREATE_PARAMETERS = 4


def compile_tools(brief: Brief, schema: Schema, lifecycles: dict[str, Lifecycle], domain: str) -> tuple[Compiled, ...]:
    """Every tool that follows from the schema, thinned to the size of the brief, each with its operation.

    Thinning keeps each table readable: all `get_…` tools and transitions stay; the rest is drawn with the seed of the
    answers, since the model is asked to word every tool.
    """
    kept: list[Compiled] = []
    optional: list[Compiled] = []
    for table in schema.tables:
        lifecycle = lifecycles.get(table.name, Lifecycle())
        kept.append(get(table))
        kept += [advance(table, step) for step in lifecycle.transitions]
        optional += searches_and_sums(table)
        optional += _moves_and_removals(table, schema, lifecycle)
        optional += [
            change(table, column, lifecycle)
            for column in table.columns
            if _settable(schema.kinds[table.name, column.name])
        ]
        if (creation := create(table, schema)) is not None:
            kept.append(creation)
    # Two tables can give one name to two tools, and long names one that is too long: such a tool is left out.
    first = {compiled.tool.name: compiled for compiled in reversed(optional)}
    optional = [
        compiled
        for compiled in optional
        if first[compiled.tool.name] is compiled and IDENTIFIER.fullmatch(compiled.tool.name)
    ]
    kept += comparison(schema)
    drawn = random.Random(derive_seed(domain, "tools", brief.answers_seed)).sample(optional, len(optional))
    chosen = {compiled.tool.name for compiled in (kept + drawn)[: max(brief.sizes.tools, len(kept))]}
    return tuple(compiled for compiled in kept + optional if compiled.tool.name in chosen)


def _moves_and_removals(table: Table, schema: Schema, lifecycle: Lifecycle) -> list[Compiled]:
    """Tools on tables that refer to others and that nothing refers to: moved or removed, they leave no loose end."""
    references = [column for column in table.columns if column.references]
    referred_to = any(column.references == table.name for other in schema.tables for column in other.columns)
    if not references or referred_to:
        return []
    if status_of(table) is None:
        return [remove(table)]
    return [] if _priced(table, schema) else [move(table, references[-1], schema, lifecycle)]


def remove(table: Table) -> Compiled:
    """Remove one row."""
    tool = Tool(
        name=f"remove_{table.name}",
        description=f"Remove one {words(table.name)}.",
        parameters=(identity(table),),
        guards=(exists(table),),
        effects=(f"DELETE FROM {quoted(table.name)} WHERE id = :{table.name}_id",),
        returns=Returns(sql=f"SELECT count(*) AS {quoted(plural(table.name) + '_left')} FROM {quoted(table.name)}"),
    )
    return Compiled(tool, Operation(kind=Kind.REMOVE, table=table.name))


def move(table: Table, reference: Column, schema: Schema, lifecycle: Lifecycle) -> Compiled:
    """Give one row another row to refer to."""
    target = next(other for other in schema.tables if other.name == reference.references)
    another = f"another {words(target.name)}"
    states = _editable_states(table, lifecycle)
    tool = _updating(
        table,
        reference,
        identity(target),
        name=f"move_{table.name}_to_{target.name}",
        description=f"Move one {words(table.name)} to {another}.",
        guards=(exists(table), exists(target), *_editable(table, states, f"be moved to {another}")),
    )
    return Compiled(tool, Operation(kind=Kind.MOVE, table=table.name, column=reference.name, states=states))


def change(table: Table, column: Column, lifecycle: Lifecycle) -> Compiled:
    """Give one column of one row another value."""
    states = _editable_states(table, lifecycle)
    tool = _updating(
        table,
        column,
        value_of(table, column),
        name=f"set_{table.name}_{column.name}",
        description=f"Change the {label(column.name)} of one {words(table.name)}.",
        guards=(exists(table), *_editable(table, states, f"be changed in {words(column.name)}")),
    )
    return Compiled(tool, Operation(kind=Kind.CHANGE, table=table.name, column=column.name, states=states))


def _editable_states(table: Table, lifecycle: Lifecycle) -> tuple[str, ...]:
    return lifecycle.editable_while if status_of(table) else ()


def _editable(table: Table, states: tuple[str, ...], what: str) -> tuple[Guard, ...]:
    return (in_state(table, states, what),) if states else ()


def advance(table: Table, step: Transition) -> Compiled:
    """Take one step in the life of one row."""
    status = table.column("status")
    tool = _updating(
        table,
        status,
        None,
        name=f"{step.verb}_{table.name}",
        description=f"{step.verb.capitalize()} one {words(table.name)}: it becomes {words(step.target)}.",
        guards=(exists(table), in_state(table, step.sources, f"be {words(step.target)}")),
        to=f"'{step.target}'",
    )
    operation = Operation(
        kind=Kind.ADVANCE, table=table.name, column=status.name, states=step.sources, becomes=step.target
    )
    return Compiled(tool, operation)


def _updating(
    table: Table,
    column: Column,
    value: Parameter | None,
    name: str,
    description: str,
    guards: tuple[Guard, ...],
    to: str = "",
) -> Tool:
    """A tool that gives one column of one row another value: that of a parameter, or else the SQL `to`."""
    row = identity(table)
    to = f":{value.name}" if value else to
    return Tool(
        name=name,
        description=description,
        parameters=(row, value) if value else (row,),
        guards=guards,
        effects=(f"UPDATE {quoted(table.name)} SET {quoted(column.name)} = {to} WHERE id = :{row.name}",),
        returns=whole_row(table),
    )


def create(table: Table, schema: Schema) -> Compiled | None:
    """Add a row to a table that refers to others; None if a column would need words that no argument carries."""
    parameters: list[Parameter] = []
    guards: list[Guard] = []
    stock: list[Stock] = []
    cells: dict[str, str] = {}
    for column in table.columns:
        kind = schema.kinds[table.name, column.name]
        if column.references:
            target = next(t for t in schema.tables if t.name == column.references)
            parameters.append(identity(target))
            guards.append(exists(target))
            if needed := stock_needed(target, table, schema):
                stock.append(needed)
                guards.append(in_stock(needed))
            cells[column.name] = f":{target.name}_id"
        elif kind in ("category", "count"):
            parameter = value_of(table, column)
            parameters.append(parameter)
            cells[column.name] = f":{parameter.name}"
        elif kind == "status":
            cells[column.name] = f"'{column.values[0]}'"
        elif kind == "past_date":
            cells[column.name] = ":today"
        elif kind == "future_date":
            cells[column.name] = "date(:today, '+14 days')"
        elif kind == "flag":
            cells[column.name] = "0"
        elif kind == "money" and (price := _priced(table, schema)):
            cells[column.name] = price
        elif kind == "money":
            parameter = value_of(table, column)
            parameters.append(parameter)
            cells[column.name] = f":{parameter.name}"
        else:
            return None
    if not guards or len(parameters) > MAX_CREATE_PARAMETERS:
        return None
    names = listed(list(cells))
    tool = Tool(
        name=f"create_{table.name}",
        description=f"Add a new {words(table.name)}.",
        parameters=tuple(parameters),
        guards=tuple(guards),
        effects=(f"INSERT INTO {quoted(table.name)} (id, {names}) VALUES (:new_id, {', '.join(cells.values())})",),
        mints=table.name,
        returns=Returns(sql=f"SELECT id, {names} FROM {quoted(table.name)} WHERE id = :new_id"),
    )
    return Compiled(tool, Operation(kind=Kind.CREATE, table=table.name, stock=tuple(stock)))


def _priced(table: Table, schema: Schema) -> str | None:
    """The amount of a new row: the price of what it refers to, times its quantity where it has one."""
    for column in table.columns:
        target = next((t for t in schema.tables if t.name == column.references), None)
        money = next((c for c in target.columns if is_price(c)), None) if target else None
        if target and money:
            amount = f"(SELECT {quoted(money.name)} FROM {quoted(target.name)} WHERE id = :{target.name}_id)"
            return f"{amount} * :{quantity.name}" if (quantity := quantity_of(table)) else amount
    return None


def _settable(kind: str) -> bool:
    return kind in ("category", "count", "email", "phone", "city", "address", "future_date")
