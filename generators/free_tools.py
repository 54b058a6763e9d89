"""Stage `free_tools`: tools that the model writes itself, in SQL or Python, beside those that follow from the tables.

Nothing is believed of them. A tool is compiled with its environment, tried on arguments drawn from the rows, and
refused with the reason if it never succeeds, changes what nobody asked for, or leads a status where no step of its life
leads. Its tasks are proven like all others.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, Field, ValidationError, create_model

from envs.environment import Environment
from envs.errors import EnvironmentBroken, SpecError
from envs.record import derive_seed
from envs.spec import EnvironmentSpec, Guard, Parameter, Program, Returns, Tool
from envs.task import Change, Rejection
from generators.arguments import Arguments
from generators.brief import Brief
from generators.clauses import value_of
from generators.lifecycles import Lifecycle
from generators.names import words
from generators.plain import is_plain, orders_its_reader
from generators.stage import Llm, Refused, Stage, one_of, run_stage

TRIALS, ROWS_CHANGED = 60, 4
"""Calls a tool is tried with, and how many rows one of them may change."""
KINDS = (
    "one that tells a single value over several rows or tables",
    "one that changes one row under a condition",
    "one that adds a row and keeps another one right",
    "one that warns of what is due, missing or late for one row",
)


@dataclass(frozen=True)
class _Wanted:
    number: int

    @property
    def kind(self) -> str:
        return KINDS[self.number % len(KINDS)]


class _Condition(BaseModel):
    sql: str = Field(max_length=600)
    otherwise: str = Field(max_length=160)


def propose_free_tools(
    brief: Brief, spec: EnvironmentSpec, trial: EnvironmentSpec, lifecycles: Mapping[str, Lifecycle], llm: Llm
) -> tuple[tuple[Tool, ...], list[Rejection], list[str]]:
    """Up to `brief.sizes.free_tools` tools for this environment, what was refused, and the ids of the calls used.

    An answer is accepted by how it does in `trial`, the environment of `Brief.as_asked`, and dropped without another
    question if it fails in the environment itself.
    """
    wanted = [_Wanted(number) for number in range(brief.sizes.free_tools)]
    stage: Stage[_Wanted, Tool] = Stage(
        name="free_tools",
        key=lambda item: f"tool {item.number}",
        prompt=lambda item: {
            "brief": brief,
            "tables": spec.tables,
            "existing": [tool.name for tool in spec.tools],
            "kind": item.kind,
        },
        response=lambda _: _response(spec),
        accept=lambda _, answer: accept_tool(trial, lifecycles, answer),
        max_tokens=700,
        temperature=0.5,
        needed=False,
    )
    result = run_stage(stage, wanted, llm, spec.domain, brief.answers_seed)
    made: dict[str, Tool] = {}
    calls, rejections = [], list(result.rejections)
    for key, tool in result.accepted.items():
        reject = partial(_rejection, spec.domain, key, tool, result.made_from[key])
        if tool.name in made:
            rejections.append(reject("name_taken", f"{tool.name} was proposed twice; the first is kept"))
            continue
        try:
            _try_in(spec, tool, lifecycles)
        except Refused as refusal:
            rejections.append(reject(refusal.reason, str(refusal)))
            continue
        made[tool.name] = tool
        calls.append(result.made_from[key])
    return tuple(made.values()), rejections, calls


def _response(spec: EnvironmentSpec) -> type[BaseModel]:
    columns = [f"{table.name}.{name}" for table in spec.tables for name in ("id", *(c.name for c in table.columns))]
    argument = create_model("Argument", name=(str, Field(pattern="^[a-z][a-z_]{1,29}$")), column=(one_of(columns), ...))
    return create_model(
        "FreeTool",
        name=(str, Field(pattern="^[a-z][a-z_]{3,39}$")),
        description=(str, Field(min_length=10, max_length=120)),
        arguments=(list[argument], Field(min_length=1, max_length=3)),
        conditions=(list[_Condition], Field(max_length=3)),
        changes=(list[str], Field(max_length=3)),
        adds_to=(one_of([table.name for table in spec.tables]) | None, None),
        program=(str | None, Field(default=None, max_length=2000)),
        answer=(str, Field(default="", max_length=800)),
    )


def accept_tool(spec: EnvironmentSpec, lifecycles: Mapping[str, Lifecycle], answer: Any) -> Tool:
    """The tool of an answer, once it compiles and does what a tool may do. Raises Refused."""
    tool = _written(spec, answer)
    if any(tool.name == other.name for other in spec.tools):
        raise Refused("name_taken", f"there is a tool {tool.name} already; propose another one.")
    told = (tool.description, *(guard.message for guard in tool.guards))
    if any(orders_its_reader(text) or not is_plain(_bare(text)) for text in told):
        raise Refused("not_plain", "description and conditions must be plain words.")
    verb = tool.name.split("_")[0]
    if tool.description.split()[0].lower() != verb:
        raise Refused("description", f"the description must begin with '{verb.capitalize()}'.")
    _try_in(spec, tool, lifecycles)
    return tool


def _try_in(spec: EnvironmentSpec, tool: Tool, lifecycles: Mapping[str, Lifecycle]) -> None:
    """Compile the tool with an environment and call it there. Raises Refused."""
    update = {"tools": (*spec.tools, tool), "proposed": (*spec.proposed, tool.name)}
    try:
        environment = Environment.load(spec.model_copy(update=update))
    except SpecError as error:
        raise Refused("does_not_compile", f"{error.place}: {error.what}. {error.remedy}.") from error
    with environment:
        _try(environment, tool, lifecycles)


def _written(spec: EnvironmentSpec, answer: Any) -> Tool:
    """The answer as a tool: types, enums and limits of its arguments are those of the columns they come from."""
    parameters = tuple(_parameter(spec, each.name, each.column) for each in answer.arguments)
    code = (answer.program or "").strip()
    shape: Any = "one" if answer.changes else "scalar"
    try:
        return Tool(
            name=answer.name,
            description=answer.description.strip(),
            parameters=parameters,
            guards=tuple(Guard(sql=_bound(each.sql), message=each.otherwise) for each in answer.conditions),
            effects=() if code else tuple(map(_bound, answer.changes)),
            mints=None if code else answer.adds_to,
            returns=None if code else Returns(sql=_bound(answer.answer), shape=shape),
            program=Program(code=code) if code else None,
        )
    except ValidationError as error:
        raise Refused("schema", str(error.errors()[0]["msg"])) from error


def _parameter(spec: EnvironmentSpec, name: str, column: str) -> Parameter:
    table_name, _, column_name = column.partition(".")
    table = spec.table(table_name)
    if column_name == "id":
        return Parameter(name=name, type="string", description=f"{words(table_name)} id", source=column)
    return value_of(table, table.column(column_name)).model_copy(update={"name": name})


def _bound(sql: str) -> str:
    return sql.strip().rstrip(";")


def _bare(message: str) -> str:
    return message.replace("{", "").replace("}", "")


def _try(environment: Environment, tool: Tool, lifecycles: Mapping[str, Lifecycle]) -> None:
    """Call the tool in fresh episodes on drawn arguments. Raises Refused with what it does that it must not do."""
    arguments = Arguments(environment)
    seed = derive_seed(environment.spec.domain, "free tool", tool.name)
    arguments.begin(random.Random(seed), seed)
    answers, errors = [], []
    for _ in range(TRIALS):
        call, _said = arguments.call(tool)
        with environment.episode() as episode:
            try:
                result, changes = episode.attempt(call), episode.changeset()
            except EnvironmentBroken as broken:
                raise Refused("breaks", f"a call of {tool.name} broke: {broken}.") from broken
        if not result.ok:
            errors.append(result.error)
            continue
        if tool.writes and changes:
            _judge(tool, changes, lifecycles)
        if changes if tool.writes else result.value is not None:
            answers.append(result.value)
        else:
            errors.append("it changed nothing" if tool.writes else "it answered nothing")
    if not answers:
        raise Refused("never_succeeds", f"of {TRIALS} calls none succeeded, such as: {errors[-1]}.")
    if not tool.writes and len({str(answer) for answer in answers}) == 1:
        raise Refused("says_always_the_same", f"every call answered {answers[0]!r}.")


def _judge(tool: Tool, changes: tuple[Change, ...], lifecycles: Mapping[str, Lifecycle]) -> None:
    if len(changes) > ROWS_CHANGED:
        raise Refused(
            "touches_too_much", f"one call of {tool.name} changed {len(changes)} rows; name the row it is for."
        )
    for change in changes:
        if change.operation == "delete":
            raise Refused("deletes", f"{tool.name} deletes rows of {change.table}.")
        before, after = change.old.get("status"), change.new.get("status")
        if change.operation != "update" or before == after:
            continue
        steps = lifecycles.get(change.table, Lifecycle()).transitions
        if not any(after == step.target and before in step.sources for step in steps):
            raise Refused("breaks_a_life_cycle", f"{tool.name} leads a {words(change.table)} from {before} to {after}.")


def _rejection(domain: str, key: str, tool: Tool, call_id: str, reason: str, detail: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage="free_tools",
        reason=reason,
        detail=detail,
        subject={"item": key, "tool": tool.canonical_fields()},
        made_from=(call_id,),
    )
