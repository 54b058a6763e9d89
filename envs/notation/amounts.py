"""Amounts: the numbers of a text, with the parts of one amount joined and the ends of ranges marked.

`5 dollars and 20 cents`, `1 hour and 30 minutes` and `2 thousand 3 hundred` are one amount each.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from envs.notation.numbers import Number, read_numbers
from envs.notation.units import Unit

_TEXTS = 256
"""Texts whose amounts are remembered: one answer is asked for many facts."""
_GAP = re.compile(r",?[ ]?(?:(?:and|und|y|e|et|en|con)[ ])?")
_AND = r"(?:[ ][^\W\d_]+)?[ ](?:and|und|y|e|et|en)[ ]"
_RANGE = re.compile(r"(?:[ ](?:to|through|bis|tot|a|-)[ ]|~)")
_BETWEEN = re.compile(r"(?:between|zwischen|entre|tra|fra|tussen)[ ]\Z")
_FROM = re.compile(r"\b(?:from|von|de|da|van)[ ]\Z")
_BARE_CENTS = re.compile(r"[ ]\d\d(?![\w,.]*\d|[ ]\w|%)")
"""The cents of `5 euros 20`, with nothing that they could count."""
_BARE_END = re.compile(r"(?![ ]?\w|[ ]?%)")
_LESS = re.compile(r"[ ](?:less|more|off|each|per|discount|fee|tax|tip)\b")
_REACH = 12


@lru_cache(_TEXTS)
def amounts(text: str) -> tuple[Number, ...]:
    """The amounts of a folded text, in their order."""
    return tuple(_with_ranges(text, list(_joined(text, read_numbers(text)))))


def _joined(text: str, numbers: Sequence[Number]) -> Iterator[Number]:
    whole: Number | None = None
    for number in numbers:
        joined = whole and _GAP.fullmatch(text, whole.end, number.start) and _join(text, whole, number)
        if whole is not None and not joined:
            yield whole
        whole = joined or number
    if whole is not None:
        yield whole


def _join(text: str, first: Number, second: Number) -> Number | None:
    """Both numbers as one amount, or None if they are two."""
    gap = text[first.end : second.start]
    if second.value < 0:
        return None
    sign = -1 if first.value.is_signed() else 1  # `minus 0 dollars and 5 cents`
    if first.money == "major" and second.money == "cents":
        if first.value == first.value.to_integral_value() and second.value < 100 and not _LESS.match(text, second.end):
            return first._replace(value=first.value + sign * second.value / 100, end=second.end)
        return None
    if first.money == "major" and _are_bare_cents(text, first, second) and (second.money, second.unit) == ("", None):
        return first._replace(value=first.value + sign * second.value / 100, end=second.end)
    units = _with_minutes(first.unit, second.unit)
    if units and units[0].dimension == units[1].dimension:
        joint = gap.strip()
        if units[0].factor <= units[1].factor or (joint and units[0].dimension != "time"):
            return None
        if joint == "," and not units[0].certain:
            return None  # `twice a day, 30 minutes`
        value = first.value * units[0].factor + sign * second.value * units[1].factor
        unit = units[0]._replace(factor=Decimal(1), composed=True)
        return second._replace(value=value, start=first.start, unit=unit, grouped=None)
    smaller = second.value < first.scale and (second.scale > 1 or gap == " " or first.scale <= 100)
    if first.scale > 1 and smaller and "," not in gap and not first.money and first.unit is None:
        return second._replace(value=first.value + sign * second.value, start=first.start, grouped=None)
    return None


def _are_bare_cents(text: str, first: Number, second: Number) -> bool:
    if text[second.start].isalpha():
        return second.value in range(10, 100) and _BARE_END.match(text, second.end) is not None
    return _BARE_CENTS.match(text, first.end) is not None


def _with_minutes(first: Unit | None, second: Unit | None) -> tuple[Unit, Unit] | None:
    """The units of two numbers; an `m` beside hours or seconds counts minutes."""
    if first is None or second is None:
        return None
    if (first.dimension, second.dimension) == ("time", "length") and second.factor == 1:
        second = first._replace(factor=Decimal(60))
    elif (first.dimension, second.dimension) == ("length", "time") and first.factor == 1:
        first = second._replace(factor=Decimal(60))
    return first, second


def _with_ranges(text: str, numbers: list[Number]) -> list[Number]:
    for index, (first, second) in enumerate(pairwise(numbers)):
        before = text[max(0, first.start - _REACH) : first.start]
        gap = text[first.end : second.start]
        between = re.fullmatch(_AND, gap) and _BETWEEN.search(before)
        span = _RANGE.fullmatch(gap) and first.value < second.value and not _FROM.search(before)
        if between or span:
            numbers[index : index + 2] = first._replace(in_range=True), second._replace(in_range=True)
    return numbers
