"""Operators that make the golden episode wrong. A verifier that takes one of these for right is no reward.

Every draw comes from the caller's `rng`, so that equal tasks meet equal mutants. An operator cannot know whether what
it changed matters in this environment: a mutant that reaches the golden state all the same is equivalent, not wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from random import Random
from typing import TypeAlias
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from envs.environment import Environment
from envs.errors import EnvironmentBroken
from envs.proof.attempt import Attempt, Subject
from envs.proof.wording import each, plainly
from envs.schema import quoted
from envs.spec import Parameter, Tool
from envs.task import Fact, ToolCall

_VALUES_SHOWN = 200
_MUTANTS_PER_ARGUMENT = 2
_MUTATED_ARGUMENTS = 4
"""Arguments that one operator changes in one task."""
_TRIES_PER_TOOL = 8

Operator: TypeAlias = Callable[[Subject, Random], Iterator[Attempt]]


def dropped_writes(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """Each write left out."""
    golden = subject.task.golden
    for number, call in _writes(subject):
        yield _attempt(subject, "drop", golden[:number] + golden[number + 1 :], f"call {number} ({call.tool}) left out")


def duplicated_writes(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """Each write made twice, where the second time succeeds."""
    golden = subject.task.golden
    for number, call in _writes(subject):
        calls = golden[: number + 1] + golden[number:]
        replay = subject.states.replay(calls)
        if replay.broken is not None or replay.results[number + 1].ok:
            yield _attempt(subject, "duplicate", calls, f"call {number} ({call.tool}) made twice")


def swapped_entities(subject: Subject, rng: Random) -> Iterator[Attempt]:
    """Each argument of a write that names a row, naming another row."""
    yield from _other_arguments(subject, rng, "swap_entity", lambda parameter: _is_entity(parameter))


def perturbed_arguments(subject: Subject, rng: Random) -> Iterator[Attempt]:
    """Each other argument of a write, changed as its type allows."""
    yield from _other_arguments(subject, rng, "perturb_argument", lambda parameter: not _is_entity(parameter))


def extra_writes(subject: Subject, rng: Random) -> Iterator[Attempt]:
    """The golden episode and one write more, which leaves another state or breaks the environment."""
    extra = _extra_write(subject, rng)
    if extra is not None:
        what = f"then {extra.tool} {extra.arguments}"
        yield _attempt(subject, "extra_write", (*subject.task.golden, extra), what)


def omitted_facts(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """Each fact left out of a plain answer."""
    facts = subject.task.goal.facts
    for number, fact in enumerate(facts):
        others = (*facts[:number], *facts[number + 1 :])
        yield _told(subject, "omit_fact", others, f"{fact.label} left out")


def altered_facts(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """Each fact told wrongly in a plain answer."""
    facts = subject.task.goal.facts
    for number, fact in enumerate(facts):
        wrong = fact.model_copy(update={"value": _altered(fact)})
        told = (*facts[:number], wrong, *facts[number + 1 :])
        yield _told(subject, "alter_fact", told, f"{fact.label} altered")


MUTATIONS: tuple[Operator, ...] = (
    dropped_writes,
    duplicated_writes,
    swapped_entities,
    perturbed_arguments,
    extra_writes,
    omitted_facts,
    altered_facts,
)


def other_values(
    parameter: Parameter, value: JsonValue, environment: Environment, rng: Random, count: int
) -> Sequence[JsonValue]:
    """Up to `count` values the argument could have been mistaken for: another entity, enum value, day or ±1."""
    if isinstance(value, bool):
        return [not value]
    if parameter.enum:
        known: list[JsonValue] = [other for other in parameter.enum if other != value]
        return rng.sample(known, min(count, len(known)))
    if isinstance(value, str) and parameter.source is not None:
        known = column_values(parameter.source, environment).copy()
        if value in known:
            known.remove(value)
        return rng.sample(known, min(count, len(known)))
    if isinstance(value, int | float):
        return [value + 1, value - 1][:count]
    if parameter.format == "date":
        day = date.fromisoformat(str(value))
        return [(day + timedelta(days=1)).isoformat(), (day - timedelta(days=1)).isoformat()][:count]
    if parameter.format == "datetime":
        return [(datetime.fromisoformat(str(value)) + timedelta(hours=1)).isoformat()]
    return [f"{value} x"]


def random_call(tool: Tool, environment: Environment, rng: Random) -> ToolCall:
    """A plausible call of a tool; whether it succeeds is for the environment to say."""
    arguments = {parameter.name: _random_value(parameter, environment, rng) for parameter in tool.parameters}
    return ToolCall(tool=tool.name, arguments=arguments)


def column_values(source: str, environment: Environment) -> list[JsonValue]:
    """The distinct values of `table.column` in the base state, sorted, at most 200."""
    known = _columns.setdefault(environment, {})
    if source not in known:
        known[source] = _read_column(source, environment)
    return known[source]


_columns: WeakKeyDictionary[Environment, dict[str, list[JsonValue]]] = WeakKeyDictionary()


def _read_column(source: str, environment: Environment) -> list[JsonValue]:
    table, _, column = source.partition(".")
    name = quoted(column)
    rows = environment.query(
        f"SELECT DISTINCT {name} AS value FROM {quoted(table)} WHERE {name} IS NOT NULL ORDER BY {name} "
        f"LIMIT {_VALUES_SHOWN}"
    )
    return [row["value"] for row in rows]


def _attempt(subject: Subject, operator: str, calls: tuple[ToolCall, ...], what: str) -> Attempt:
    return Attempt(operator, calls, subject.task.golden_answer, what)


def _told(subject: Subject, operator: str, facts: Sequence[Fact], what: str) -> Attempt:
    answer = plainly(facts)
    return Attempt(operator, subject.task.golden, answer, f"{what}: {answer!r}")


def _writes(subject: Subject) -> Iterator[tuple[int, ToolCall]]:
    for number, call in enumerate(subject.task.golden):
        if subject.writes(call):
            yield number, call


def _is_entity(parameter: Parameter) -> bool:
    return parameter.source is not None and parameter.source.endswith(".id")


def _other_arguments(
    subject: Subject, rng: Random, operator: str, chosen: Callable[[Parameter], bool]
) -> Iterator[Attempt]:
    golden = subject.task.golden
    places = [
        (number, call, parameter)
        for number, call in _writes(subject)
        for parameter in subject.environment.tools[call.tool].tool.parameters
        if chosen(parameter)
    ]
    # The more arguments a program has, the more would be tried: some of many tell as much in bounded time.
    for number, call, parameter in rng.sample(places, min(len(places), _MUTATED_ARGUMENTS)):
        value = call.arguments.get(parameter.name)
        for other in other_values(parameter, value, subject.environment, rng, _MUTANTS_PER_ARGUMENT):
            mutant = ToolCall(tool=call.tool, arguments={**call.arguments, parameter.name: other})
            calls = (*golden[:number], mutant, *golden[number + 1 :])
            what = f"{mutant.tool} {mutant.arguments} in place of call {number}"
            yield _attempt(subject, operator, calls, what)


def _extra_write(subject: Subject, rng: Random) -> ToolCall | None:
    """A write that leaves another state than the golden program does, or breaks the environment."""
    environment, states = subject.environment, subject.states
    tools = [tool for tool in environment.spec.tools if tool.writes]
    rng.shuffle(tools)
    state = states.after(subject.task.golden)
    before = states.changeset(state)
    for tool in tools:
        for _ in range(_TRIES_PER_TOOL):
            call = random_call(tool, environment, rng)
            try:
                result, state = states.call(state, call)
            except EnvironmentBroken:
                return call
            if result.ok and states.changeset(state) != before:
                return call
    return None


def _random_value(parameter: Parameter, environment: Environment, rng: Random) -> JsonValue:
    if parameter.type == "boolean":
        return rng.random() < 0.5
    if parameter.enum:
        return rng.choice(parameter.enum)
    if parameter.source is not None:
        known = column_values(parameter.source, environment)
        if known:
            return rng.choice(known)
    if parameter.type == "string":
        soon = datetime.fromisoformat(environment.spec.clock) + timedelta(days=rng.randint(1, 30))
        if parameter.format == "date":
            return soon.date().isoformat()
        return soon.isoformat() if parameter.format == "datetime" else "something else"
    low = int(parameter.minimum) if parameter.minimum is not None else 1
    high = int(parameter.maximum) if parameter.maximum is not None else low + 9
    return rng.randint(low, max(low, high))


def _altered(fact: Fact) -> JsonValue:
    """Another value of the same kind; of a list, another last value."""
    if isinstance(fact.value, list):
        *kept, last = each(fact) or [fact.model_copy(update={"kind": "text", "value": ""})]
        return [*(item.value for item in kept), _altered(last)]
    if fact.kind == "boolean":
        return not fact.value
    if fact.kind == "date":
        return (date.fromisoformat(str(fact.value)) + timedelta(days=1)).isoformat()
    if fact.kind == "datetime":
        return (datetime.fromisoformat(str(fact.value)) + timedelta(hours=1)).isoformat()
    if isinstance(fact.value, int | float):
        return fact.value + 1
    return "something else"
