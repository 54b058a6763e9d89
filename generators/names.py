"""How names of tables, columns and statuses are said: `order_line` is an order line, `total_cents` the total."""

import inflection

from envs.spec import Column, Parameter


def words(name: str) -> str:
    """The name as words."""
    return name.replace("_", " ")


def label(column: str) -> str:
    """How a person says a column: `total_cents` is the total, `member_id` the member."""
    return words(column.removesuffix("_cents").removesuffix("_id"))


def measured(column: Column) -> str:
    """What one asks for by a column: the number of seats where the column is `seats`, else its label."""
    return f"number of {label(column.name)}" if _is_counted(column) else label(column.name)


def measure(column: Column) -> str:
    """The word for what one asks for by a column: `number` where it is the number of seats, else its label."""
    return "number" if _is_counted(column) else label(column.name)


def _is_counted(column: Column) -> bool:
    noun = label(column.name)
    return column.type == "integer" and " " not in noun and singular(noun) != noun


def noun(parameter: Parameter) -> str:
    """How a person says what a parameter is for, without `id`."""
    return (parameter.description or words(parameter.name)).removesuffix(" id")


def plural(name: str) -> str:
    """The name of several; never the name of one, since tools and placeholders are told apart by it."""
    several = inflection.pluralize(name)
    if several != name:
        return several
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"  # series, equipment, campus


def singular(name: str) -> str:
    """The name of one; names that only look like several stay as they are.

    By rule: `inflection` has bonu, drife and cooky for bonus, drives and cookies.
    """
    if name.endswith(("ss", "us", "is", "news", "series", "species")):
        return name
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    if name.endswith(("sses", "xes", "ches", "shes")):
        return name[:-2]
    return name.removesuffix("s")


def either(states: tuple[str, ...]) -> str:
    """Alternatives in words: `pending or paid`."""
    return " or ".join(map(words, states))
