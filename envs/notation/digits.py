"""A run of digits as a number: groups, decimal mark, exponent and fraction. It is read whole or not at all.

Whether a point or a comma is the decimal mark is decided by the run itself (`1.234,56`, `12,50`), else by the other
numbers of the text. Where neither decides, `1,000` is 1000, and `1.000` has both readings: see `Digits`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from envs.notation.scripts import UNSPACED

_RUNS = 1024
Mark: TypeAlias = Literal[".", ",", ""]
"""The decimal mark of a text; empty where the text does not show it."""
_FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_RUN = re.compile(
    rf"""(?P<digits>
        (?<![\d.,:/])(?<![^\W{UNSPACED}]-)[1-9]\d{{0,2}}(?P<spaced>(?:\ \d{{3}})+)(?!\d)(?:[.,]\d+)?
        | (?:\d|(?<![\w.])\.(?=\d)) (?:\d|[.,'_](?=\d))*
    )
    (?P<power>e[+-]?\d{{1,3}}(?!\w) | [ ]?[x×*·][ ]?10(?:(?:\^|\*\*)[+-]?\d{{1,2}}(?!\d)|⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,2}}))?
    (?P<fraction>[ ]?[{_FRACTIONS}] | [ ](?:and[ ])?[1-9]/[1-9]\d?(?![\d/]))?
    (?P<joined>(?:(?:[-:/·×^+~]|\*{{1,2}}|(?<=\d)x)\d[\w.,]*)+ | (?(spaced)(?:\ \d+)+|(?!)))?
    | (?<![^\W_])[{_FRACTIONS}]""",
    re.VERBOSE,
)
"""Digits, and all that belongs to them. What is `joined` makes them a range, a time, a date, an id or an expression."""
_START = re.compile(rf"[\d.{_FRACTIONS}]")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_WHOLE = r"[1-9]\d{{0,2}}(?P<mark>[{marks}' _])\d{{3}}(?:(?P=mark)\d{{3}})*|\d+"
_BY_MARK = {
    ".": re.compile(rf"(?P<whole>{_WHOLE.format(marks=',')}|[1-9]\d?(?:,\d{{2}})+,\d{{3}}|)(?:\.(?P<decimals>\d+))?"),
    ",": re.compile(rf"(?P<whole>{_WHOLE.format(marks='.')})(?:,(?P<decimals>\d+))?"),
}
_ITEM = re.compile(r"\d+(?:\.\d+)?")


class Digits(NamedTuple):
    """A run of digits, read."""

    value: Decimal
    start: int
    end: int
    grouped: Decimal | None = None
    """Where `1.000` may be 1000 as well as 1: the value if its mark groups digits. `value` takes it for decimal."""
    is_article: bool = False
    """Whether it is `one` or `a`, which are numbers only with a sign, money or a unit."""


def runs_of(text: str) -> Iterator[re.Match[str]]:
    """The runs of digits of a folded text. They are tried only where a digit stands: elsewhere the pattern is slow."""
    start = _START.search(text)
    while start is not None:
        run = _RUN.match(text, start.start())
        if run is not None:
            yield run
        start = _START.search(text, run.end() if run else start.end())


def decimal_mark(runs: Iterable[re.Match[str]]) -> Mark:
    """The decimal mark that the runs of a text show; empty if they show none, or both."""
    shown = {mark for run in runs if not run["joined"] and (mark := _shown(run["digits"] or ""))}
    return shown.pop() if len(shown) == 1 else ""


def read_run(run: re.Match[str], mark: Mark) -> list[Digits]:
    """The number of a run, or the numbers of a list such as `1,2,3`; none if it cannot be read with certainty."""
    if run["digits"] is None:
        return [Digits(Decimal(unicodedata.numeric(run[0])), run.start(), run.end())]
    if run["digits"].isdecimal() and not (run["power"] or run["fraction"]):
        return [Digits(Decimal(run["digits"]), run.start(), run.end())]
    readings = _readings(run["digits"])
    if not readings:
        return [] if run["power"] or run["fraction"] else _listed(run)
    if mark and len(set(readings.values())) > 1:
        readings = {mark: readings[mark]}
    elif "," in run["digits"] and len(readings) > 1:
        readings = {".": readings["."]}  # `1,000` is 1000
    values = [_completed(value, run) for value in readings.values()]
    grouped = max(values) if len(set(values)) > 1 else None
    return [Digits(min(values), run.start(), run.end(), grouped)]


def _completed(value: Decimal, run: re.Match[str]) -> Decimal:
    """The value with the exponent and the fraction that follow its digits."""
    if run["power"]:
        exponent = re.split(r"\^|\*\*|10(?=[⁰¹²³⁴⁵⁶⁷⁸⁹⁻])|e", run["power"])[-1]
        value = value.scaleb(int(exponent.translate(_SUPERSCRIPTS)))
    if run["fraction"]:
        fraction = run["fraction"].removeprefix(" and").strip()
        parts = [Decimal(part) for part in fraction.split("/")] if "/" in fraction else []
        value += parts[0] / parts[1] if parts else Decimal(unicodedata.numeric(fraction))
    return value


@lru_cache(_RUNS)
def _readings(digits: str) -> dict[Mark, Decimal]:
    """The value under each decimal mark that the digits allow."""
    readings: dict[Mark, Decimal] = {}
    for mark in (".", ","):
        match = _BY_MARK[mark].fullmatch(digits)
        if match is not None and (match["whole"] or match["decimals"]):
            whole = re.sub(r"\D", "", match["whole"]) or "0"
            readings[mark] = Decimal(f"{whole}.{match['decimals'] or 0}")
    return readings


def _shown(digits: str) -> Mark:
    readings = {} if digits.isdecimal() else _readings(digits)
    return next(iter(readings)) if len(readings) == 1 else ""


def _listed(run: re.Match[str]) -> list[Digits]:
    items = run["digits"].split(",")
    if len(items) < 2 or not all(map(_ITEM.fullmatch, items)):
        return []
    start, listed = run.start(), []
    for item in items:
        listed.append(Digits(Decimal(item), start, start + len(item)))
        start += len(item) + 1
    return listed
