"""Stage `lifecycle` and the operation algebra: tables become declarative tools.

What can be done to a table follows from its columns; the model names the transitions of a status and says from which
states they are allowed. SQL is compiled here, so a tool is right whatever the model's strength.
"""

import random
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, create_model

from envs.record import derive_seed
from envs.spec import Column, Guard, Parameter, ParameterType, Returns, Table, Tool
from envs.task import Rejection
from generators.brief import Brief
from generators.stage import Llm, Refused, Stage, one_of, run_stage
from generators.tables import Schema

PARAMETER_TYPES: dict[str, ParameterType] = {"integer": "integer", "cents": "integer", "boolean": "boolean"}
MAX_CREATE_PARAMETERS = 4
ONLY_WHILE = ": allowed only while "
"""Before the states in the message of a guard on the state of a row; the policy reads its rules from there."""
LISTED_COLUMNS = 5
FIND, TOTAL = "find_", "total_"
"""How the names of searches and of sums begin."""


@dataclass(frozen=True)
class Transition:
    """A named step in the life of a status."""

    verb: str
    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Lifecycle:
    """How the status of a table moves, and while which states its other fields may change."""

    transitions: tuple[Transition, ...] = ()
    editable_while: tuple[str, ...] = ()


def propose_lifecycles(
    brief: Brief, schema: Schema, domain: str, llm: Llm
) -> tuple[dict[str, Lifecycle], list[Rejection], list[str]]:
    """The lifecycle of each table with a status, what was refused, and the ids of the calls used."""
    items = [table for table in schema.tables if _status(table)]
    stage: Stage[Table, Lifecycle] = Stage(
        name="lifecycle",
        key=lambda table: table.name,
        prompt=lambda table: {
            "brief": brief,
            "table": table,
            "rules": _rules_on(table, brief),
            "statuses": _status(table).values,  # type: ignore[union-attr]
        },
        response=_lifecycle_response,
        accept=_accept_lifecycle,
        max_tokens=300,
        temperature=0.3,
    )
    result = run_stage(stage, items, llm, domain, brief.seed)
    return result.accepted, result.rejections, list(result.made_from.values())


def _status(table: Table) -> Column | None:
    return next((column for column in table.columns if column.name == "status"), None)


def _rules_on(table: Table, brief: Brief) -> list[str]:
    """The rules of the brief that speak of this table: those of others make a small model mix the verbs up."""
    return [rule for rule in brief.rules if re.search(rf"\b{_words(table.name)}s?\b", rule, re.IGNORECASE)]


def _lifecycle_response(table: Table) -> type[BaseModel]:
    status = _status(table)
    assert status is not None
    state: Any = one_of(status.values)
    action = create_model(
        "Action",
        verb=(str, Field(pattern=r"^[a-z]{3,12}$")),
        allowed_from=(list[state], Field(min_length=1, max_length=3)),
        becomes=(state, ...),
    )
    return create_model(
        "Lifecycle",
        actions=(list[action], Field(min_length=1, max_length=4)),
        editable_while=(list[state], Field(min_length=1, max_length=3)),
    )


def _accept_lifecycle(table: Table, answer: Any) -> Lifecycle:
    """Transitions only go forward in the order of the status's life, whatever the model allows."""
    status = _status(table)
    assert status is not None
    transitions: dict[str, Transition] = {}
    for action in answer.actions:
        target = action.becomes
        earlier = status.values[: status.values.index(target)]
        sources = tuple(state for state in earlier if state in action.allowed_from)
        if sources and action.verb not in ("get", "find", "create", "update", "set", "count"):
            transitions.setdefault(action.verb, Transition(action.verb, sources, target))
    if not transitions:
        raise Refused(
            "no_transition", f"an action must change the status of {table.name}: allowed_from without becomes."
        )
    return Lifecycle(tuple(transitions.values()), tuple(s for s in status.values if s in answer.editable_while))


def compile_tools(brief: Brief, schema: Schema, lifecycles: dict[str, Lifecycle], domain: str) -> tuple[Tool, ...]:
    """Every tool that follows from the schema, thinned to the size of the brief.

    Thinning keeps each table readable: all `get_…` tools and transitions stay; the rest is drawn with a seed.
    """
    kept: list[Tool] = []
    optional: list[Tool] = []
    for table in schema.tables:
        lifecycle = lifecycles.get(table.name, Lifecycle())
        kept.append(_get(table))
        kept += [_transition(table, step) for step in lifecycle.transitions]
        optional += [_find(table, (column,)) for column in table.columns if _findable(column)]
        optional += _more_reads(table)
        optional += _moves_and_removals(table, schema, lifecycle)
        optional += [
            _set(table, column, lifecycle)
            for column in table.columns
            if _settable(schema.kinds[table.name, column.name])
        ]
        if (create := _create(table, schema)) is not None:
            kept.append(create)
    drawn = random.Random(derive_seed(domain, "tools", brief.seed)).sample(optional, len(optional))
    chosen = {tool.name for tool in (kept + drawn)[: max(brief.sizes.tools, len(kept))]}
    return tuple(tool for tool in kept + optional if tool.name in chosen)


def _get(table: Table) -> Tool:
    return Tool(
        name=f"get_{table.name}",
        description=f"Read one {_words(table.name)}.",
        parameters=(_id_parameter(table),),
        guards=(_exists(table),),
        returns=_row(table),
    )


def _find(table: Table, columns: tuple[Column, ...]) -> Tool:
    """A search by the values of these columns; what is searched by is not shown again."""
    plain = [column.name.removesuffix("_id") for column in columns]
    searched = {column.name for column in columns}
    shown = ["id", *(c.name for c in table.columns if c.name not in searched)][:LISTED_COLUMNS]
    parameters = tuple(_value_parameter(table, column) for column in columns)
    where = " AND ".join(f"{_q(c.name)} = :{p.name}" for c, p in zip(columns, parameters, strict=True))
    return Tool(
        name=f"{FIND}{_plural(table.name)}_by_{'_and_'.join(plain)}",
        description=f"List the {_words(_plural(table.name))} with this {' and this '.join(map(_words, plain))}.",
        parameters=parameters,
        returns=Returns(sql=f"SELECT {_names(shown)} FROM {_q(table.name)} WHERE {where} ORDER BY id", shape="many"),
    )


def _more_reads(table: Table) -> list[Tool]:
    """A search by whose it is and its status, and what all that is somebody's comes to."""
    owner = next((column for column in table.columns if column.references), None)
    if owner is None:
        return []
    status = _status(table)
    amount = next((column for column in table.columns if column.type == "cents"), None)
    return [
        *([_find(table, (owner, status))] if status else []),
        *([_total(table, owner, amount)] if amount else []),
    ]


def _total(table: Table, owner: Column, amount: Column) -> Tool:
    parameter = _value_parameter(table, owner)
    plural, whose = _plural(table.name), _words(owner.name.removesuffix("_id"))
    return Tool(
        name=f"{TOTAL}{plural}_by_{owner.name.removesuffix('_id')}",
        description=f"Add up the {label(amount.name)} of all {_words(plural)} with this {whose}.",
        parameters=(parameter,),
        returns=Returns(
            sql=f"SELECT count(*) AS {_q(plural)}, coalesce(sum({_q(amount.name)}), 0) AS sum_cents "
            f"FROM {_q(table.name)} WHERE {_q(owner.name)} = :{parameter.name}"
        ),
    )


def _moves_and_removals(table: Table, schema: Schema, lifecycle: Lifecycle) -> list[Tool]:
    """Tools on tables that refer to others and that nothing refers to: moved or removed, they leave no loose end."""
    references = [column for column in table.columns if column.references]
    referred_to = any(column.references == table.name for other in schema.tables for column in other.columns)
    if not references or referred_to:
        return []
    if _status(table) is None:
        return [_remove(table)]
    target = references[-1]
    return [] if _priced(table, schema) else [_move(table, target, schema, lifecycle)]


def _remove(table: Table) -> Tool:
    return Tool(
        name=f"remove_{table.name}",
        description=f"Remove one {_words(table.name)}.",
        parameters=(_id_parameter(table),),
        guards=(_exists(table),),
        effects=(f"DELETE FROM {_q(table.name)} WHERE id = :{table.name}_id",),
        returns=Returns(sql=f"SELECT count(*) AS {_q(_plural(table.name) + '_left')} FROM {_q(table.name)}"),
    )


def _move(table: Table, reference: Column, schema: Schema, lifecycle: Lifecycle) -> Tool:
    target = next(other for other in schema.tables if other.name == reference.references)
    to = _id_parameter(target)
    guards = [_exists(table), _exists(target)]
    if lifecycle.editable_while:
        guards.append(_in_state(table, lifecycle.editable_while, f"be moved to another {_words(target.name)}"))
    return Tool(
        name=f"move_{table.name}_to_{target.name}",
        description=f"Move one {_words(table.name)} to another {_words(target.name)}.",
        parameters=(_id_parameter(table), to),
        guards=tuple(guards),
        effects=(f"UPDATE {_q(table.name)} SET {_q(reference.name)} = :{to.name} WHERE id = :{table.name}_id",),
        returns=_row(table),
    )


def _set(table: Table, column: Column, lifecycle: Lifecycle) -> Tool:
    guards = [_exists(table)]
    if _status(table) and lifecycle.editable_while:
        guards.append(_in_state(table, lifecycle.editable_while, f"be changed in {_words(column.name)}"))
    value = _value_parameter(table, column)
    return Tool(
        name=f"set_{table.name}_{column.name}",
        description=f"Change the {label(column.name)} of one {_words(table.name)}.",
        parameters=(_id_parameter(table), value),
        guards=tuple(guards),
        effects=(f"UPDATE {_q(table.name)} SET {_q(column.name)} = :{value.name} WHERE id = :{table.name}_id",),
        returns=_row(table),
    )


def _transition(table: Table, step: Transition) -> Tool:
    guards = (_exists(table), _in_state(table, step.sources, f"be {step.target.replace('_', ' ')}"))
    return Tool(
        name=f"{step.verb}_{table.name}",
        description=f"{step.verb.capitalize()} one {_words(table.name)}: it becomes {_words(step.target)}.",
        parameters=(_id_parameter(table),),
        guards=guards,
        effects=(f"UPDATE {_q(table.name)} SET status = '{step.target}' WHERE id = :{table.name}_id",),
        returns=_row(table),
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
            parameters.append(_id_parameter(target))
            guards.append(_exists(target))
            cells[column.name] = f":{target.name}_id"
        elif kind in ("category", "count"):
            parameter = _value_parameter(table, column)
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
        else:
            return None
    if not guards or len(parameters) > MAX_CREATE_PARAMETERS:
        return None
    return Tool(
        name=f"create_{table.name}",
        description=f"Add a new {_words(table.name)}.",
        parameters=tuple(parameters),
        guards=tuple(guards),
        effects=(
            f"INSERT INTO {_q(table.name)} (id, {_names(list(cells))}) VALUES (:new_id, {', '.join(cells.values())})",
        ),
        mints=table.name,
        returns=Returns(sql=f"SELECT id, {_names(list(cells))} FROM {_q(table.name)} WHERE id = :new_id"),
    )


def _priced(table: Table, schema: Schema) -> str | None:
    """The amount of a new row: the price of what it refers to, times its quantity where it has one."""
    for column in table.columns:
        target = next((t for t in schema.tables if t.name == column.references), None)
        money = next((c for c in target.columns if c.type == "cents"), None) if target else None
        if target and money:
            amount = f"(SELECT {_q(money.name)} FROM {_q(target.name)} WHERE id = :{target.name}_id)"
            return f"{amount} * :quantity" if any(c.name == "quantity" for c in table.columns) else amount
    return None


def _findable(column: Column) -> bool:
    return bool(column.references) or column.type == "enum" or column.name in ("email", "name", "title", "full_name")


def _settable(kind: str) -> bool:
    return kind in ("category", "count", "email", "phone", "city", "address", "future_date")


def _id_parameter(table: Table) -> Parameter:
    return Parameter(
        name=f"{table.name}_id", type="string", description=f"{_words(table.name)} id", source=f"{table.name}.id"
    )


def _value_parameter(table: Table, column: Column) -> Parameter:
    number = column.type in ("integer", "cents")
    return Parameter(
        name=column.name,
        type=PARAMETER_TYPES.get(column.type, "string"),
        description=label(column.name),
        enum=column.values if column.type == "enum" else (),
        minimum=1 if number else None,
        maximum=10_000_000 if column.type == "cents" else 3000 if number else None,
        format="date" if column.type == "date" else None,
        source=f"{column.references}.id" if column.references else f"{table.name}.{column.name}",
    )


def _exists(table: Table) -> Guard:
    return Guard(
        sql=f"SELECT 1 FROM {_q(table.name)} WHERE id = :{table.name}_id",
        message=f"there is no {_words(table.name)} {{{table.name}_id}}",
    )


def _in_state(table: Table, states: tuple[str, ...], what: str) -> Guard:
    listed = ", ".join(f"'{state}'" for state in states)
    return Guard(
        sql=f"SELECT status IN ({listed}) FROM {_q(table.name)} WHERE id = :{table.name}_id",
        message=f"{_words(table.name)} {{{table.name}_id}} cannot {what}{ONLY_WHILE}{_or(states)}",
    )


def _row(table: Table) -> Returns:
    names = _names(["id", *(column.name for column in table.columns)])
    return Returns(sql=f"SELECT {names} FROM {_q(table.name)} WHERE id = :{table.name}_id")


def label(column: str) -> str:
    """How a person says a column: `total_cents` is the total, `member_id` the member."""
    return _words(column.removesuffix("_cents").removesuffix("_id"))


def _or(states: tuple[str, ...]) -> str:
    return " or ".join(_words(state) for state in states)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def _q(name: str) -> str:
    return f'"{name}"'


def _names(names: list[str]) -> str:
    return ", ".join(_q(name) for name in names)
