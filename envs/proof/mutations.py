"""Wrong arguments and unrelated calls, drawn from what the environment holds.

Every draw comes from the caller's `rng`, so that equal tasks meet equal mutants.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from random import Random

from pydantic import JsonValue

from envs.environment import Environment
from envs.schema import quoted
from envs.spec import Parameter, Tool
from envs.task import ToolCall

_VALUES_SHOWN = 200


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
        known = [other for other in column_values(parameter.source, environment) if other != value]
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
    table, _, column = source.partition(".")
    name = quoted(column)
    rows = environment.query(
        f"SELECT DISTINCT {name} AS value FROM {quoted(table)} WHERE {name} IS NOT NULL ORDER BY {name} "
        f"LIMIT {_VALUES_SHOWN}"
    )
    return [row["value"] for row in rows]


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
