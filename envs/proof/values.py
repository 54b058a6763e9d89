"""How the checks compare values: what an answer contains, what feeds an argument, what supports a fact."""

from collections.abc import Iterator

from pydantic import JsonValue

from envs.spec import EnvironmentSpec, Parameter
from envs.task import Fact, FactKind


def scalars(value: JsonValue) -> Iterator[JsonValue]:
    """Every scalar inside a tool's answer, without nulls."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    elif value is not None:
        yield value


def feeds(told: JsonValue, argument: JsonValue) -> bool:
    """Whether a value read is the argument: equal in type and value; true is not 1."""
    if isinstance(told, bool) or isinstance(argument, bool):
        return told is argument
    return told is not None and told == argument


def supports(value: JsonValue, fact: Fact) -> bool:
    """Whether a fact can be taken from a tool's answer: a value in it, a count of its rows, or a sum of a column."""
    if isinstance(fact.value, list):
        return all(supports(value, fact.model_copy(update={"value": item})) for item in fact.value)
    if fact.kind == "boolean":
        return any(item in (0, 1) and bool(item) == fact.value for item in scalars(value))
    if any(feeds(item, fact.value) for item in scalars(value)):
        return True
    if not isinstance(value, list) or fact.kind not in ("integer", "number", "cents"):
        return False
    rows = [row for row in value if isinstance(row, dict)]
    columns = {name for row in rows for name in row}
    sums = (sum(v for row in rows if isinstance(v := row.get(name), int | float)) for name in columns)
    return fact.value == len(rows) or any(total == fact.value for total in sums)


def argument_kind(parameter: Parameter, spec: EnvironmentSpec) -> FactKind:
    """How a person writes this argument: an amount of money, a date, a number or words."""
    if parameter.type == "boolean":
        return "boolean"
    if parameter.type == "string":
        return parameter.format or "text"
    return "cents" if _is_money(parameter, spec) else "number"


def _is_money(parameter: Parameter, spec: EnvironmentSpec) -> bool:
    if parameter.name.endswith("_cents") or parameter.name == "cents":
        return True
    if parameter.source is None:
        return False
    table, _, column = parameter.source.partition(".")
    return column != "id" and spec.table(table).column(column).type == "cents"
