"""How names of tables, columns and statuses are said: `order_line` is an order line, `total_cents` the total."""


def words(name: str) -> str:
    """The name as words."""
    return name.replace("_", " ")


def label(column: str) -> str:
    """How a person says a column: `total_cents` is the total, `member_id` the member."""
    return words(column.removesuffix("_cents").removesuffix("_id"))


def plural(name: str) -> str:
    """The name of several."""
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def singular(name: str) -> str:
    """The name of one; names that only look like several stay as they are."""
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
