"""Answers that tell given facts: plainly, and in the other notations people use for the same values."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from envs.task import Fact


def plainly(facts: Sequence[Fact]) -> str:
    """An answer that tells these facts and nothing else, one a line."""
    return "\n".join(_plain(fact) for fact in facts)


def rewordings(facts: Sequence[Fact]) -> Iterator[str]:
    """Answers that tell these facts in other notations; none when there is no fact."""
    notations = [_notations(fact) for fact in facts]
    for number in range(max(map(len, notations), default=0)):
        yield "; ".join(others[number % len(others)] for others in notations) + "."


def each(fact: Fact) -> list[Fact]:
    """The facts inside a fact: one per value of a list, else itself."""
    values = fact.value if isinstance(fact.value, list) else [fact.value]
    return [fact.model_copy(update={"value": value}) for value in values]


def _plain(fact: Fact) -> str:
    if isinstance(fact.value, list):
        return ", ".join(_plain(item) for item in each(fact)) or "none"
    if fact.kind == "boolean":
        return f"{fact.label.replace('_', ' ')}: {'yes' if fact.value else 'no'}"
    if fact.kind == "cents":
        return f"{fact.value} cents"
    return str(fact.value)


def _notations(fact: Fact) -> list[str]:
    label = fact.label.replace("_", " ")
    if isinstance(fact.value, list):
        return [" and ".join(_plain(item) for item in reversed(each(fact))) or f"there is no {label}"]
    match fact.kind, fact.value:
        case "cents", int(cents):
            sign, whole = "-" if cents < 0 else "", abs(cents)
            money = f"{sign}${whole // 100:,}.{whole % 100:02}"
            return [f"the {label} is {money}", f"{money.replace('$', '').replace(',', '')} dollars"]
        case (("integer" | "number"), (int() | float() as number)):
            return [f"the {label} is {number:,}", f"it is {number}"]
        case "date", str(text):
            day = date.fromisoformat(text)
            return [f"on {day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}", f"the {label}: {text}"]
        case "datetime", str(text):
            moment = datetime.fromisoformat(text)
            return [f"on {moment:%B} {moment.day}, {moment.year} at {moment:%H:%M:%S}"]
        case "text", str(text):
            return [f"the {label} is {text.upper()}", f'it says "{text}"']
        case _:
            return [_plain(fact)]
