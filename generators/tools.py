"""The operation algebra: what can be done to a table follows from its columns and its lifecycle, as declarative tools.

SQL is compiled here, so a tool is right whatever the strength of the model that named the columns and the steps.
"""

import random

from envs.record import derive_seed
from envs.schema import IDENTIFIER, quoted
from envs.spec import Column, Guard, Parameter, Returns, Table, Tool
from generators.brief import Brief
from generators.clauses import exists, identity, in_state, in_stock, listed, value_of, whole_row
from generators.lifecycles import Lifecycle, Transition, status_of
from generators.names import label, plural, words
from generators.quantities import is_price, quantity_of
from generators.read_tools import comparison, get, searches_and_sums
from generators.tables import Schema

MAX_CREATE_PARAMETERS = 4


def compile_tools(brief: Brief, schema: Schema, lifecycles: dict[str, Lifecycle], domain: str) -> tuple[Tool, ...]:
    """Every tool that follows from the schema, thinned to the size of the brief.

    Thinning keeps each table readable: all `get_…` tools and transitions stay; the rest is drawn with the seed of the
    answers, since the model is asked to word every tool.
    """
    kept: list[Tool] = []
    optional: list[Tool] = []
    for table in schema.tables:
        lifecycle = lifecycles.get(table.name, Lifecycle())
        kept.append(get(table))
        kept += [_transition(table, step) for step in lifecycle.transitions]
        optional += searches_and_sums(table)
        optional += _moves_and_removals(table, schema, lifecycle)
        optional += [
            _set(table, column, lifecycle)
            for column in table.columns
            if _settable(schema.kinds[table.name, column.name])
        ]
        if (create := _create(table, schema)) is not None:
            kept.append(create)
    # Two tables can give one name to two tools, and long names one that is too long: such a tool is left out.
    named = {tool.name: tool for tool in reversed(optional)}
    optional = [tool for tool in optional if named[tool.name] is tool and IDENTIFIER.fullmatch(tool.name)]
    kept += comparison(schema)
    drawn = random.Random(derive_seed(domain, "tools", brief.answers_seed)).sample(optional, len(optional))
    chosen = {tool.name for tool in (kept + drawn)[: max(brief.sizes.tools, len(kept))]}
    return tuple(tool for tool in kept + optional if tool.name in chosen)


def _moves_and_removals(table: Table, schema: Schema, lifecycle: Lifecycle) -> list[Tool]:
    """Tools on tables that refer to others and that nothing refers to: moved or removed, they leave no loose end."""
    references = [column for column in table.columns if column.references]
    referred_to = any(column.references == table.name for other in schema.tables for column in other.columns)
    if not references or referred_to:
        return []
    if status_of(table) is None:
        return [_remove(table)]
    target = references[-1]
    return [] if _priced(table, schema) else [_move(table, target, schema, lifecycle)]


def _remove(table: Table) -> Tool:
    return Tool(
        name=f"remove_{table.name}",
        description=f"Remove one {words(table.name)}.",
        parameters=(identity(table),),
        guards=(exists(table),),
        effects=(f"DELETE FROM {quoted(table.name)} WHERE id = :{table.name}_id",),
        returns=Returns(sql=f"SELECT count(*) AS {quoted(plural(table.name) + '_left')} FROM {quoted(table.name)}"),
    )


def _move(table: Table, reference: Column, schema: Schema, lifecycle: Lifecycle) -> Tool:
    target = next(other for other in schema.tables if other.name == reference.references)
    another = f"another {words(target.name)}"
    return _change(
        table,
        reference,
        identity(target),
        name=f"move_{table.name}_to_{target.name}",
        description=f"Move one {words(table.name)} to {another}.",
        guards=(exists(table), exists(target), *_editable(table, lifecycle, f"be moved to {another}")),
    )


def _set(table: Table, column: Column, lifecycle: Lifecycle) -> Tool:
    return _change(
        table,
        column,
        value_of(table, column),
        name=f"set_{table.name}_{column.name}",
        description=f"Change the {label(column.name)} of one {words(table.name)}.",
        guards=(exists(table), *_editable(table, lifecycle, f"be changed in {words(column.name)}")),
    )


def _editable(table: Table, lifecycle: Lifecycle, what: str) -> tuple[Guard, ...]:
    states = lifecycle.editable_while
    return (in_state(table, states, what),) if status_of(table) and states else ()


def _transition(table: Table, step: Transition) -> Tool:
    return _change(
        table,
        table.column("status"),
        None,
        name=f"{step.verb}_{table.name}",
        description=f"{step.verb.capitalize()} one {words(table.name)}: it becomes {words(step.target)}.",
        guards=(exists(table), in_state(table, step.sources, f"be {words(step.target)}")),
        to=f"'{step.target}'",
    )


def _change(
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


def _create(table: Table, schema: Schema) -> Tool | None:
    """A tool that adds a row to a table that refers to others; None if a column would need words nobody said."""
    parameters: list[Parameter] = []
    guards: list[Guard] = []
    cells: dict[str, str] = {}
    for column in table.columns:
        kind = schema.kinds[table.name, column.name]
        if column.references:
            target = next(t for t in schema.tables if t.name == column.references)
            parameters.append(identity(target))
            guards += [exists(target), *in_stock(target, table, schema)]
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
    return Tool(
        name=f"create_{table.name}",
        description=f"Add a new {words(table.name)}.",
        parameters=tuple(parameters),
        guards=tuple(guards),
        effects=(f"INSERT INTO {quoted(table.name)} (id, {names}) VALUES (:new_id, {', '.join(cells.values())})",),
        mints=table.name,
        returns=Returns(sql=f"SELECT id, {names} FROM {quoted(table.name)} WHERE id = :new_id"),
    )


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
