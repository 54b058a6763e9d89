"""Evolution: a proven kind of request made harder, by a rule that changes its golden program and its words together.

`constraint` does something only under a condition, `distractor` names a row that must be left alone, `same_value` takes
an argument from another row, `date` and `unit` say an argument so that it must be worked out. What the evolved program
does is executed again; nothing here is believed.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from pydantic import JsonValue

from envs.environment import Environment
from envs.spec import Parameter
from envs.task import Fact, ToolCall
from generators.arguments import source
from generators.names import label, measure, measured, noun
from generators.programs import FACT_KINDS, say
from generators.recompilation import operations_of, reader_of
from generators.steps import Clause, Step
from generators.texts import TextAsk

ASKS = (
    TextAsk(
        "constraint",
        (
            "Do this only if {condition}, and tell me the {field} in any case.",
            "But only if {condition}, and let me know the {field} either way.",
        ),
        placeholders=("condition", "field"),
        pieces=(
            r"[Oo]nly (do this |do it |act |proceed )?(if|when|in case) \{condition\}",
            "(in any case|either way|regardless|anyway|always|in all cases|whatever happens|no matter)",
        ),
        forbidden=r"\b(unless|not|don't|never)\b|\{condition\} (is|are)\b",
    ),
    TextAsk(
        "distractor",
        ("Please leave {other} as it is.", "Nothing needs to be done about {other}."),
        placeholders=("other",),
        pieces=("([Ll]eave|[Kk]eep|[Rr]etain|(not|n't) (change|touch|alter|modify)|[Nn]othing|stay|remain)",),
        forbidden=r"\b(cancel|delete|remove|in your answer|this is)\b|\b(my|your|the|our) \{other\}|\{other\}'",
    ),
)
"""Kinds that add a sentence, with what the model is asked to write. The other kinds change the words of a value."""
KINDS = ("distractor", "constraint", "same_value", "date", "unit")
RARER = 0.8
_RELATIVE = {1: "tomorrow", 7: "a week from today", 14: "two weeks from today", 21: "three weeks from today"}
_PIECES = re.compile(r"quantity|stock|copies|capacity|seat|ticket|player|places|units|nights|persons|guests|points")
"""What is counted by the dozen: a temperature is not."""
DOZENS = {6: "half a dozen", 12: "a dozen", 24: "two dozen"}


def evolve(environment: Environment, rng: random.Random, steps: Sequence[Step]) -> tuple[str, list[Step]] | None:
    """(kind, evolved steps), or None if no kind finds a place in this program.

    The evolved program runs, and the calls it shares with the simple one answer as before.
    """
    # A row to leave alone can be named nearly anywhere: that kind stands last, or there would be little else.
    kinds = [*rng.sample(KINDS[1:], len(KINDS) - 1), KINDS[0]] if rng.random() < RARER else [*KINDS]
    for kind in kinds:
        for place in rng.sample(range(len(steps)), len(steps)):
            step = _EVOLVE[kind](environment, rng, steps, place)
            if step is None:
                continue
            evolved = [*steps[:place], step, *steps[place + 1 :]]
            if _runs(environment, steps, evolved, place):
                return kind, evolved
    return None


def _runs(environment: Environment, steps: Sequence[Step], evolved: Sequence[Step], place: int) -> bool:
    """Whether all calls succeed, and all but those of the evolved step tell what they told before."""
    before, after = _results(environment, steps), _results(environment, evolved)
    if after is None or before is None:
        return False
    return all(one == other for number, (one, other) in enumerate(zip(before, after, strict=True)) if number != place)


def _results(environment: Environment, steps: Sequence[Step]) -> list[list[JsonValue]] | None:
    replay = environment.replay([call for step in steps for call in step.calls])
    if replay.broken is not None or not all(result.ok for result in replay.results):
        return None
    values = iter(result.value for result in replay.results)
    return [[next(values) for _ in step.calls] for step in steps]


def _constraint(environment: Environment, rng: random.Random, steps: Sequence[Step], place: int) -> Step | None:
    """`Do it only if its total is above 50 dollars, and tell me the total`: read first, then write or leave it."""
    step = steps[place]
    if step.kind != "write" or (row := _row(environment, steps, place)) is None:
        return None
    look, values, table = row
    changed = {parameter.name for parameter in step.tool.parameters}
    columns = [
        column
        for column in environment.spec.table(table).columns
        if column.type in ("integer", "cents", "date") and column.name not in changed and values.get(column.name)
    ]
    if not columns:
        return None
    column, holds, above = rng.choice(columns), rng.random() < 0.5, rng.random() < 0.5
    value, name = values[column.name], measured(column)
    bound = _bound(rng, column.type, value, below=holds == above)
    if bound is None:
        return None
    words = ("after", "before") if column.type == "date" else ("above", "below")
    clause = Clause("constraint", {"condition": f"its {name} is {words[0 if above else 1]} {bound}", "field": name})
    identity = step.slots[step.tool.parameters[0].name]
    fact = Fact(label=f"{name} of {identity}", kind=FACT_KINDS[column.type], value=value)
    calls = (look, *step.calls) if holds else (look,)
    answer = f"{fact.label}: {say(fact)}."
    return replace(step, calls=calls, clauses=(clause,), facts=(fact,), answer=answer, asked=measure(column))


def _bound(rng: random.Random, kind: str, value: JsonValue, *, below: bool) -> str | None:
    """A limit well below or above a value, as a person says it: round, and never the value itself."""
    if kind == "date":
        days = rng.randint(3, 20)
        return (date.fromisoformat(str(value)) + timedelta(days=-days if below else days)).isoformat()
    if not isinstance(value, int):
        return None
    unit = 100 if kind == "cents" else 1
    share = rng.uniform(0.4, 0.8) if below else rng.uniform(1.3, 2.0)
    whole = int(value * share / unit)
    step = 10 if whole >= 50 else 5 if whole >= 20 else 1
    limit = whole // step * step if below else (whole // step + 1) * step
    if limit <= 0 or (limit * unit < value) != below or limit * unit == value:
        return None
    return f"{limit} dollars" if kind == "cents" else str(limit)


def _distractor(environment: Environment, rng: random.Random, steps: Sequence[Step], place: int) -> Step | None:
    """Another row of the same table is spoken of, and must stay as it is."""
    step = steps[place]
    table = _target(step)
    if table is None or not step.tool.writes or step.clauses:
        return None
    said = {str(value) for each in steps for call in each.calls for value in call.arguments.values()}
    ids = [str(row[0]) for row in environment.spec.rows[table] if str(row[0]) not in said]
    if not ids:
        return None
    other = f"{noun(step.tool.parameters[0])} {rng.choice(ids)}"
    return replace(step, clauses=(Clause("distractor", {"other": other}),))


def _same_value(environment: Environment, rng: random.Random, steps: Sequence[Step], place: int) -> Step | None:
    """An argument is that of another row: `to the same quantity as order O-9`. It must be read there."""
    step = steps[place]
    table = _target(step)
    value = step.tool.parameters[-1]
    if table is None or step.kind != "write" or len(step.tool.parameters) != 2 or value.enum:
        return None
    column = _column_of(value, table)
    getter = _getter(environment, table)
    if column is None or getter is None or column.endswith(("email", "phone")):
        return None
    position = [c.name for c in environment.spec.table(table).columns].index(column) + 1
    identity = step.calls[-1].arguments[step.tool.parameters[0].name]
    own = next((row[position] for row in environment.spec.rows[table] if row[0] == identity), None)
    said = {str(given) for each in steps for call in each.calls for given in call.arguments.values()}
    others = [
        row
        for row in environment.spec.rows[table]
        if row[0] != identity and str(row[0]) not in said and row[position] not in (None, own)
    ]
    if not others:
        return None
    other = rng.choice(others)
    calls = (
        ToolCall(tool=getter, arguments={f"{table}_id": other[0]}),
        step.calls[-1].model_copy(update={"arguments": {**step.calls[-1].arguments, value.name: other[position]}}),
    )
    words = f"the same {label(column)} as {noun(step.tool.parameters[0])} {other[0]} has"
    return replace(
        step, calls=calls, slots={**step.slots, value.name: words}, phrase_slots=step.phrase_slots | {value.name}
    )


def _date(environment: Environment, rng: random.Random, steps: Sequence[Step], place: int) -> Step | None:
    """A date said by its distance from today."""
    today = date.fromisoformat(environment.spec.clock[:10])
    days = rng.choice([*_RELATIVE, *range(3, 7), *range(8, 14)])
    words = _RELATIVE.get(days) or f"{days} days from today"
    return _said_otherwise(environment, steps[place], "date", (today + timedelta(days=days)).isoformat(), words)


def _unit(environment: Environment, rng: random.Random, steps: Sequence[Step], place: int) -> Step | None:
    """A number said by the dozen, where it is all that changes: nobody orders `with quantity a dozen`."""
    number = rng.choice(list(DOZENS))
    if len(steps[place].tool.parameters) != 2 or steps[place].tool.mints:
        return None
    return _said_otherwise(environment, steps[place], "integer", number, DOZENS[number])


def _said_otherwise(environment: Environment, step: Step, kind: str, value: JsonValue, words: str) -> Step | None:
    """The step with this value for its first argument of that kind, said in these words."""
    if not step.tool.writes or not step.calls or step.calls[-1].tool != step.tool.name:
        return None
    for parameter in step.tool.parameters:
        fits = parameter.format == "date" if kind == "date" else parameter.type == "integer" and not parameter.enum
        if not fits or (isinstance(value, int) and not _within(parameter, value)):
            continue
        if kind == "integer" and not _PIECES.search(parameter.name):
            continue
        if _has_already(environment, step, parameter, value):
            continue
        arguments = {**step.calls[-1].arguments, parameter.name: value}
        calls = (*step.calls[:-1], step.calls[-1].model_copy(update={"arguments": arguments}))
        phrases = step.phrase_slots | ({parameter.name} if kind == "integer" else set())
        return replace(step, calls=calls, slots={**step.slots, parameter.name: words}, phrase_slots=phrases)
    return None


def _has_already(environment: Environment, step: Step, parameter: Parameter, value: JsonValue) -> bool:
    """Whether the row that a step writes to has this value, so that nothing would be left to do."""
    table = _target(step)
    column = _column_of(parameter, table) if table else None
    if table is None or column is None:
        return False
    identity = step.calls[-1].arguments[step.tool.parameters[0].name]
    position = [c.name for c in environment.spec.table(table).columns].index(column) + 1
    return any(row[0] == identity and row[position] == value for row in environment.spec.rows[table])


def _within(parameter: Parameter, value: int) -> bool:
    low, high = parameter.minimum, parameter.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def _row(
    environment: Environment, steps: Sequence[Step], place: int
) -> tuple[ToolCall, dict[str, JsonValue], str] | None:
    """The call that reads the row a step writes to, what it tells at that place of the program, and the table."""
    table = _target(steps[place])
    getter = _getter(environment, table) if table else None
    if table is None or getter is None:
        return None
    identity = steps[place].calls[-1].arguments[steps[place].tool.parameters[0].name]
    look = ToolCall(tool=getter, arguments={f"{table}_id": identity})
    before = [call for step in steps[:place] for call in step.calls]
    result = environment.replay([*before, look]).results[-1]
    return (look, result.value, table) if result.ok and isinstance(result.value, dict) else None


def _target(step: Step) -> str | None:
    """The table whose row a writing step names first; none for a new row."""
    if not step.tool.writes or step.tool.mints or not step.tool.parameters:
        return None
    subject = step.tool.parameters[0]
    table, column = source(subject) if subject.source else ("", "")
    return table if column == "id" else None


def _getter(environment: Environment, table: str) -> str | None:
    return reader_of(operations_of(environment.spec), table)


def _column_of(parameter: Parameter, table: str) -> str | None:
    owner, column = source(parameter) if parameter.source else ("", "")
    return column if owner == table and column != "id" else None


_EVOLVE = {
    "constraint": _constraint,
    "distractor": _distractor,
    "same_value": _same_value,
    "date": _date,
    "unit": _unit,
}
