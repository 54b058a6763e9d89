"""How the checks compare values: what an answer contains, what feeds an argument, what supports a fact."""

from collections.abc import Iterator

from pydantic import JsonValue

from envs.facts import mentions
from envs.search import words_of
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


def supports(value: JsonValue, fact: Fact, spec: EnvironmentSpec) -> bool:
    """Whether a fact can be taken from a tool's answer: a value in it, a count of its rows, or a sum of a column.

    Where texts are searched, what a text says counts as well. A fact drawn from others is supported by any of them.
    """
    if fact.drawn_from:
        return any(supports(value, part, spec) for part in fact.drawn_from)
    if isinstance(fact.value, list):
        return all(supports(value, fact.model_copy(update={"value": item}), spec) for item in fact.value)
    if has_texts(spec) and any(
        mentions(text, fact.kind, fact.value, spec.clock) for text in scalars(value) if isinstance(text, str)
    ):
        return True
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


def words_in(value: JsonValue) -> set[str]:
    """Every word of every text in a value."""
    return {word for text in scalars(value) if isinstance(text, str) for word in words_of(text)}


def has_texts(spec: EnvironmentSpec) -> bool:
    """Whether the answers of this environment are texts that are searched and read, besides values."""
    return any(table.full_text for table in spec.tables)


def leaves(fact: Fact) -> Iterator[Fact]:
    """What has to be read to know a fact: what it is drawn from, or itself."""
    for part in fact.drawn_from:
        yield from leaves(part)
    if not fact.drawn_from:
        yield fact


def argument_kind(parameter: Parameter, spec: EnvironmentSpec) -> FactKind:
    """How a person writes this argument: an amount of money, a date, a number or words."""
    if parameter.type == "boolean":
        return "boolean"
    if parameter.type == "string":
        return parameter.format if parameter.format and parameter.format != "query" else "text"
    return "cents" if _is_money(parameter, spec) else "number"


def _is_money(parameter: Parameter, spec: EnvironmentSpec) -> bool:
    if parameter.name.endswith("_cents") or parameter.name == "cents":
        return True
    if parameter.source is None:
        return False
    table, _, column = parameter.source.partition(".")
    return column != "id" and spec.table(table).column(column).type == "cents"
