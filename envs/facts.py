"""Whether an answer tells a fact: values are compared after normalization, never as substrings.

A number is read whole or not at all: `327` is not told by `13270`, `1,000` is 1000, `$120.50` is 12050 cents. A date
without a year is one of the clock's year. A denied value (`is not 40`) is not told. `envs.notation` reads notations.
Guessing by listing every value is not detected here.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from pydantic import JsonValue

from envs.notation.amounts import amounts
from envs.notation.bounds import is_strict_bound
from envs.notation.denials import IGNORANCE, NO, NOTHING, YES, is_denied
from envs.notation.folding import fold
from envs.notation.moments import days, states_moment
from envs.notation.numbers import Number
from envs.notation.texts import places
from envs.notation.units import converted
from envs.task import Fact, FactKind

_ANSWERS = 256
"""Values of one answer whose reading is remembered: a proof asks for the same ones again."""
_CLAUSE = re.compile(r"[.;,!\n]+(?:\s|$)|\bbut\b|\bwhile\b|\bwhereas\b")
_NONE = re.compile(r"\W*(?:none|nothing|keine?|nichts|aucune?|ningun[oa]?|nessun[oa]|nenhum[a]?|没有|なし|нет)\W*\Z")
_COUNT = re.compile(r"(?:(?:number|count) of|how many) (?:\w+ ){0,2}?(?P<things>\w+s)\b")
_ASSURANCE = re.compile(r"\bno (?:problem|worries|doubt|trouble)\b")
_LABEL_NOISE = frozenset({"is", "has", "are", "was", "the", "can", "of", "be", "for", "if", "whether", "id"})


def tells(answer: str, fact: Fact, clock: str) -> bool:
    """Whether the answer states the fact's value. `clock` is the environment's present, ISO: it fills in years."""
    if fact.value is None or isinstance(fact.value, dict):
        return False
    if isinstance(fact.value, list):
        return _tells_all(answer, fact, fact.value, clock)
    if fact.kind == "boolean":
        return _tells_boolean(fold(answer), fact)
    if fact.kind == "integer" and fact.value == 0 and _tells_none(fold(answer), fact.label):
        return True
    return _contains(fold(answer), fact.kind, fact.value, clock, fact.unit, stated=True)


def _tells_all(answer: str, fact: Fact, values: list[JsonValue], clock: str) -> bool:
    """Each value told, in any order; that there is none told by saying so."""
    if not values:
        return _tells_nothing([clause.strip() for clause in _clauses(fold(answer)) if clause.strip()])
    return all(tells(answer, fact.model_copy(update={"value": value}), clock) for value in values)


def _tells_nothing(clauses: list[str]) -> bool:
    """Whether a clause says that there is nothing; a bare `no` does so only as the whole answer."""
    if clauses == ["no"]:
        return True
    return any(clause != "no" and NOTHING.search(clause) and not IGNORANCE.search(clause) for clause in clauses)


def _tells_none(text: str, label: str) -> bool:
    """Whether a text says that there are none of what the label counts, such as `number of orders`."""
    if _NONE.match(text):
        return True
    counted = _COUNT.match(label.casefold())
    if counted is None or IGNORANCE.search(text):
        return False
    things = re.escape(counted["things"])
    return re.search(rf"\bno (?:[a-z]+ ){{0,2}}{things}(?!\w| (?:but|other|except|besides|apart)\b)", text) is not None


def mentions(text: str, kind: FactKind, value: JsonValue, clock: str) -> bool:
    """Whether a text contains a value in any notation, stated or denied ("I cannot find ORD-3" mentions ORD-3)."""
    if value is None or isinstance(value, dict):
        return False
    if isinstance(value, list):
        return bool(value) and all(mentions(text, kind, item, clock) for item in value)
    if kind == "boolean":
        return (YES if value else NO).search(fold(text)) is not None
    return _contains(fold(text), kind, value, clock, "", stated=False)


@lru_cache(_ANSWERS, typed=True)
def _contains(text: str, kind: FactKind, value: str | float | bool, clock: str, unit: str, stated: bool) -> bool:
    """Whether a folded text contains the value; with `stated`, whether it does so without denying it."""
    if kind == "text":
        spans = places(text, str(value))
    elif kind in ("date", "datetime"):
        spans = _days_of(text, kind, str(value), clock)
    else:
        spans = _amounts_of(text, kind, str(value), unit, stated)
    return any(not (stated and is_denied(text, start, end)) for start, end in spans)


def _days_of(text: str, kind: FactKind, value: str, clock: str) -> Iterator[tuple[int, int]]:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return
    for day in days(text, clock):
        if day[0] == moment.date() and (kind == "date" or states_moment(text, clock, day, moment)):
            yield day[1], day[2]


def _amounts_of(text: str, kind: FactKind, value: str, unit: str, stated: bool) -> Iterator[tuple[int, int]]:
    try:
        wanted = Decimal(value)
    except InvalidOperation:
        return
    for number in amounts(text):
        if not _is_same(number, wanted, kind, unit):
            continue
        if not (stated and (number.in_range or is_strict_bound(text, number.start, number.end))):
            yield number.start, number.end


def _is_same(number: Number, value: Decimal, kind: FactKind, unit: str) -> bool:
    if kind == "cents":
        if number.unit is not None:
            return False  # kilograms or percent are no money
        amount = number.value if number.grouped is None else number.grouped
        in_cents = number.money != "major" and amount == value
        return in_cents or (number.money != "cents" and amount * 100 == value)
    # An integer is not written with decimals: `1.000` of them are a thousand, but `1.500 kg` are 1500 g.
    if kind == "integer" and number.grouped is not None and converted(value, number.unit, unit) == value:
        return number.grouped == value
    in_unit = converted(number.value, number.unit, unit)
    return in_unit is not None and (in_unit == value or (kind == "number" and _is_rounded(in_unit, value)))


def _is_rounded(amount: Decimal, value: Decimal) -> bool:
    """Whether the amount is the value rounded to two places or more: a long fraction may be told so."""
    places_told, places_known = (-int(number.as_tuple().exponent) for number in (amount, value))
    return 2 <= places_told < places_known and round(value, places_told) == amount


def _tells_boolean(text: str, fact: Fact) -> bool:
    clauses = [clause for clause in _clauses(text) if clause.strip() and not IGNORANCE.search(clause)]
    words = [w for w in re.split(r"[\W_]+", fact.label.casefold()) if len(w) > 1 and w not in _LABEL_NOISE]
    about = [clause for clause in clauses if any(_mentions(clause, word) for word in words)]
    if about:
        stated = {
            not NO.search(clause) and not any(_mentions_opposite(clause, word) for word in words) for clause in about
        }
    else:
        stated = {not NO.search(clause) for clause in clauses if YES.search(clause) or NO.search(clause)}
    return stated == {bool(fact.value)}


def _clauses(text: str) -> Iterator[str]:
    if "no " in text:
        text = _ASSURANCE.sub("", text)
    for sentence in re.split(r"(?<=\?)", text):
        # A repeated question tells nothing.
        kept = sentence if not sentence.endswith("?") else re.sub(r"[^.!\n]*\?$", "", sentence)
        yield from _CLAUSE.split(kept)


def _mentions(clause: str, word: str) -> bool:
    return re.search(rf"\b(?:un|non-?|in)?{re.escape(word)}\b", clause) is not None


def _mentions_opposite(clause: str, word: str) -> bool:
    return re.search(rf"\b(?:un|non-?|in){re.escape(word)}\b", clause) is not None
