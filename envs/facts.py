"""Whether an answer tells a fact: values are compared after normalisation, never as substrings.

`327` is not told by `13270`, `1,000` is 1000, `$120.50` is 12050 cents, `March 5` is a date of the clock's year, and
what is denied (`is not 40`) is not told. Guessing by listing every value is not detected here.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeAlias

from pydantic import JsonValue

from envs.task import Fact, FactKind

_NEGATION = r"(?:\b(?:not|never|cannot|without|rather than|instead of|no longer)|n't)"
# Up to two words may stand between a negation and what it denies; "not 30 but 40" tells 40.
_DENIED = re.compile(rf"{_NEGATION}(?:\s+(?!but\b|only\b|sure\b)[a-z$€£]+){{0,2}}\s+[$€£]?$")
_DENIAL_REACH = 60
"""Characters before a value in which its denial is looked for."""
_NUMBER = re.compile(
    r"""(?<![\w.])(?<!\w[-:/])(?!(?<=\d,)\d{3}(?!\d))
    (?P<sign>[-−+](?=[$€£\d]))?(?P<before>[$€£]\s?)?
    (?P<digits>\d{1,3}(?:[,_'\u00a0\u202f]\d{3})+(?!\d)|\d+)(?P<decimals>\.\d+)?
    (?!\d|\.\d|,\d{3}(?!\d)|[-:]\d|/\d+/|[km]\b|(?:st|nd|rd|th)\b)
    (?!\s?(?:thousand|million|billion)\b)
    (?:\s?(?P<after>dollars?\b|usd\b|euros?\b|eur\b|pounds?\b|gbp\b|€|£|\$|cents?\b|¢))?""",
    re.VERBOSE,
)
_WORDS = ("zero", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
"""Small numbers as words. `one` is left out: it is a pronoun more often than a number."""
_DOZENS = {"half a dozen": 6, "a dozen": 12, "one dozen": 12, "two dozen": 24, "three dozen": 36}
_COUNTS = _DOZENS | {word: number for number, word in enumerate(_WORDS) if word}
_NUMBER_WORD = re.compile(rf"(?<![\w-])(?:{'|'.join(_COUNTS)})(?![\w-])")
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_MONTH = rf"(?P<month>{'|'.join(f'{m}|{m[:3]}' for m in _MONTHS)}|sept)\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>\d{4})\b)?"
_AHEAD = rf"(?P<ahead>\d{{1,3}}|an?|one|{'|'.join(_WORDS[2:])}) (?P<span>day|week)s?"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w-])(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?![\d-])",
        r"(?<![\w/])(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})(?!\d)",
        r"(?<![\w.])(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})(?!\d)",
        rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}\b(?!:){_YEAR}",
        rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}(?!\w){_YEAR}",
        r"(?<!from )\b(?P<relative>today|tomorrow|yesterday)\b",
        rf"\bin {_AHEAD}\b(?! from)",
        rf"\b{_AHEAD} from (?:today|now)\b",
    )
)
_TIME = re.compile(
    r"(?<![\d:])(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::(?P<second>\d{2}))?(?![\d:])\s?(?P<half>[ap]\.?m\b)?"
)
_NEAR = 40
"""Characters a time of day may stand away from its date."""
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_OPENS = re.compile(r"(?<![\w@])(?<!\w[-.])")
_CLOSES = re.compile(r"(?![\w@]|[-.]\w)")
"""What may stand before and after a value in words: `O-4` is not in `O-41`, `XO-4`, `O-4.1` or `me@O-4`."""
_CLAUSE = re.compile(r"[.;,!\n]+(?:\s|$)|\bbut\b|\bwhile\b|\bwhereas\b")
_NOTHING = re.compile(r"\b(?:no|none|nothing|nobody|no one|zero|empty)\b|\bnot any\b|n't any\b")
_UNIT = re.compile(r"\s?(?P<unit>[a-z]+|%)")
_UNITS: dict[str, tuple[str, Decimal]] = {
    word: (dimension, Decimal(factor))
    for dimension, factor, words in (
        ("mass", "0.001", "mg milligram milligrams"),
        ("mass", "1", "g gram grams"),
        ("mass", "1000", "kg kilo kilos kilogram kilograms"),
        ("mass", "1000000", "t ton tons tonne tonnes"),
        ("length", "0.001", "mm millimeter millimeters millimetre millimetres"),
        ("length", "0.01", "cm centimeter centimeters centimetre centimetres"),
        ("length", "1", "m meter meters metre metres"),
        ("length", "1000", "km kilometer kilometers kilometre kilometres"),
        ("time", "1", "s sec secs second seconds"),
        ("time", "60", "min mins minute minutes"),
        ("time", "3600", "h hr hrs hour hours"),
        ("time", "86400", "d day days"),
        ("time", "604800", "week weeks"),
        ("volume", "1", "ml milliliter milliliters millilitre millilitres"),
        ("volume", "1000", "l liter liters litre litres"),
        ("share", "1", "% percent"),
    )
    for word in words.split()
}
"""Per word its dimension, and how much of the dimension's first unit it stands for."""
_YES = re.compile(r"\b(?:yes|true|yep|indeed|correct)\b")
_NO = re.compile(rf"{_NEGATION}|\b(?:no|false|nope|none|unable|neither|nor)\b")
_TEXTS_KEPT = 256
"""Texts whose normal form, numbers and dates are remembered: one answer is asked for many facts."""
_LABEL_NOISE = frozenset({"is", "has", "are", "was", "the", "can", "of", "be", "for", "if", "whether", "id"})


def tells(answer: str, fact: Fact, clock: str) -> bool:
    """Whether the answer states the fact's value. `clock` is the environment's present, ISO: it fills in years."""
    if fact.value is None or isinstance(fact.value, dict):
        return False
    if isinstance(fact.value, list):
        return _tells_all(answer, fact, fact.value, clock)
    if fact.kind == "boolean":
        return _tells_boolean(_normal(answer), fact)
    return _states(_normal(answer), fact.kind, fact.value, clock, _undenied, fact.unit)


def _tells_all(answer: str, fact: Fact, values: list[JsonValue], clock: str) -> bool:
    """Each value told, in any order; that there is none told by saying so."""
    if not values:
        return _NOTHING.search(_normal(answer)) is not None
    return all(tells(answer, fact.model_copy(update={"value": value}), clock) for value in values)


def mentions(text: str, kind: FactKind, value: JsonValue, clock: str) -> bool:
    """Whether a text contains a value in any notation, stated or denied ("I cannot find ORD-3" mentions ORD-3)."""
    if value is None or isinstance(value, dict):
        return False
    if isinstance(value, list):
        return bool(value) and all(mentions(text, kind, item, clock) for item in value)
    if kind == "boolean":
        return (_YES if value else _NO).search(_normal(text)) is not None
    return _states(_normal(text), kind, value, clock, _anywhere)


_Where: TypeAlias = Callable[[str, int], bool]
"""Whether what starts at this place of the text counts."""


def _undenied(text: str, start: int) -> bool:
    return _DENIED.search(text[max(0, start - _DENIAL_REACH) : start]) is None


def _anywhere(_text: str, _start: int) -> bool:
    return True


@lru_cache(_TEXTS_KEPT, typed=True)
def _states(text: str, kind: FactKind, value: str | float | bool, clock: str, counts: _Where, unit: str = "") -> bool:
    if kind == "text":
        return any(counts(text, start) for start in _places(text, str(value)))
    if kind in ("date", "datetime"):
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            return False
        days = [match for day, match in _dates(text, clock) if day == moment.date() and counts(text, match.start())]
        return any(kind == "date" or _has_time(text, match, moment) for match in days)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    said = ((_in_unit(said, text, match, unit), match.start()) for said, match in _numbers(text))
    return any(each is not None and _same_number(each, number, kind) and counts(text, start) for each, start in said)


def _in_unit(said: "_Number", text: str, match: re.Match[str], unit: str) -> "_Number | None":
    """The number in the fact's unit; None if it counts something else. Without a known unit it is taken as it is."""
    after = _UNIT.match(text, match.end())
    told, wanted = _UNITS.get(after["unit"]) if after else None, _UNITS.get(unit.casefold())
    if told is None or wanted is None:
        return said
    return _Number(said.value * told[1] / wanted[1], said.unit) if told[0] == wanted[0] else None


@lru_cache(_TEXTS_KEPT)
def _normal(text: str) -> str:
    """Lower case, without accents, emphasis or typographic variants."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("\u00a0", "\u202f")).replace("’", "'")
        text = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    return re.sub(r"[ \t]+", " ", text.replace("**", "").casefold())


@dataclass(frozen=True)
class _Number:
    value: Decimal
    unit: str
    """`major` for dollars and the like, `cents`, or empty."""


@lru_cache(_TEXTS_KEPT)
def _numbers(text: str) -> tuple[tuple[_Number, re.Match[str]], ...]:
    return tuple(_find_numbers(text))


def _find_numbers(text: str) -> Iterator[tuple[_Number, re.Match[str]]]:
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"\D", "", match["digits"]) + (match["decimals"] or "")
        sign = -1 if match["sign"] else 1
        after = match["after"] or ""
        unit = "cents" if after.startswith(("cent", "¢")) else "major" if match["before"] or after else ""
        yield _Number(sign * Decimal(digits), unit), match
    for match in _NUMBER_WORD.finditer(text):
        yield _Number(Decimal(_COUNTS[match[0]]), ""), match


def _same_number(said: _Number, value: Decimal, kind: str) -> bool:
    if kind == "cents":
        in_cents = said.unit != "major" and said.value == value
        return in_cents or (said.unit != "cents" and said.value * 100 == value)
    if said.value == value:
        return True
    places = -int(said.value.as_tuple().exponent)
    # A long fraction may be told rounded, to two places or more.
    return kind == "number" and places >= 2 and round(value, places) == said.value


@lru_cache(_TEXTS_KEPT)
def _dates(text: str, clock: str) -> tuple[tuple[date, re.Match[str]], ...]:
    return tuple(_find_dates(text, clock))


def _find_dates(text: str, clock: str) -> Iterator[tuple[date, re.Match[str]]]:
    today = date.fromisoformat(clock[:10])
    for pattern in _DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            if "relative" in parts:
                yield today + timedelta(days=("yesterday", "today", "tomorrow").index(match["relative"]) - 1), match
                continue
            if "ahead" in parts:
                count = int(match["ahead"]) if match["ahead"].isdigit() else _COUNTS.get(match["ahead"], 1)
                yield today + timedelta(days=count * (7 if match["span"] == "week" else 1)), match
                continue
            name = match["month"]
            month = int(name) if name.isdigit() else [m[:3] for m in _MONTHS].index(name[:3]) + 1
            day = int(match["day"])
            if "/" in match[0] and name.isdigit() and month > 12:
                month, day = day, month
            try:
                yield date(int(match["year"] or today.year), month, day), match
            except ValueError:
                continue


def _has_time(text: str, match: re.Match[str], moment: datetime) -> bool:
    """Whether the time of day stands near its date."""
    before, after = text[max(0, match.start() - _NEAR) : match.start()], text[match.end() : match.end() + _NEAR]
    for time in _TIME.finditer(f"{before} | {after.removeprefix('t')}"):
        if time["minute"] is None and time["half"] is None:
            continue
        hour = int(time["hour"])
        if time["half"]:
            hour = hour % 12 + (12 if time["half"].startswith("p") else 0)
        said = (hour, int(time["minute"] or 0), int(time["second"] or moment.second))
        if said == (moment.hour, moment.minute, moment.second):
            return True
    return False


def _places(text: str, value: str) -> Iterator[int]:
    """Where the words of a value stand as whole words; spaces, underscores and hyphens between them are the same.

    Not by a pattern of the value: there are as many values as facts, and compiling one takes longer than a proof has.
    """
    first, *others = [word for word in _BETWEEN_WORDS.split(_normal(value)) if word] or [""]
    start = text.find(first) if first else -1
    while start >= 0:
        end = start + len(first)
        for word in others:
            gap = _BETWEEN_WORDS.match(text, end)
            if gap is None or not text.startswith(word, gap.end()):
                break
            end = gap.end() + len(word)
        else:
            if _OPENS.match(text, start) and _CLOSES.match(text, end):
                yield start
        start = text.find(first, start + 1)


def _tells_boolean(text: str, fact: Fact) -> bool:
    clauses = [clause for clause in _clauses(text) if clause.strip()]
    words = [w for w in re.split(r"[\W_]+", fact.label.casefold()) if len(w) > 1 and w not in _LABEL_NOISE]
    about = [clause for clause in clauses if any(_mentions(clause, word) for word in words)]
    if about:
        said = {
            not _NO.search(clause) and not any(_mentions_opposite(clause, word) for word in words) for clause in about
        }
    else:
        said = {not _NO.search(clause) for clause in clauses if _YES.search(clause) or _NO.search(clause)}
    return said == {bool(fact.value)}


def _clauses(text: str) -> Iterator[str]:
    text = text.replace("no problem", "").replace("no worries", "")
    for sentence in re.split(r"(?<=\?)", text):
        # A repeated question tells nothing.
        kept = sentence if not sentence.endswith("?") else re.sub(r"[^.!\n]*\?$", "", sentence)
        yield from _CLAUSE.split(kept)


def _mentions(clause: str, word: str) -> bool:
    return re.search(rf"\b(?:un|non-?|in)?{re.escape(word)}\b", clause) is not None


def _mentions_opposite(clause: str, word: str) -> bool:
    return re.search(rf"\b(?:un|non-?|in){re.escape(word)}\b", clause) is not None
