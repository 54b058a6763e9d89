"""Days and times of day that a text states, on the calendar or counted from the clock: `in two weeks`, `yesterday`."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache

from envs.notation.amounts import amounts
from envs.notation.dates import calendar_dates

_TEXTS = 256
_DAYS_AWAY = {
    "today": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "the day after tomorrow": 2,
    "day after tomorrow": 2,
    "the day before yesterday": -2,
    "day before yesterday": -2,
    **{
        word: away
        for away, words in (
            (0, "heute aujourd'hui hoy oggi hoje vandaag сегодня 今天 今日 오늘"),
            (1, "demain domani amanha завтра 明天 明日 내일"),
            (-1, "gestern ayer ieri ontem gisteren вчера 昨天 昨日 어제"),
            (2, "ubermorgen apres-demain dopodomani overmorgen послезавтра 后天 後天 明後日 모레"),
            (-2, "vorgestern avant-hier eergisteren позавчера 前天 一昨日 그저께"),
        )
        for word in words.split()
    },
}
_RELATIVE = re.compile(rf"(?<!from )(?<![a-z\d-])(?:{'|'.join(sorted(_DAYS_AWAY, key=len, reverse=True))})(?![a-z-])")
_SPANS = {"day": 1, "days": 1, "week": 7, "weeks": 7, "fortnight": 14, "fortnights": 14}
_ONE_SPAN = re.compile(r"(?<![\w-])(?:an?|one)\s(?P<span>day|week|fortnight)(?!\w)")
_SPAN = re.compile(r"[\s-]?(?P<span>days?|weeks?|fortnights?)(?!\w)")
_SPAN_WORD = re.compile(r"(?<![a-z])(?:day|week|fortnight)")
_LONGEST_SPAN = 12
_SECONDS_OF_DAY = 86400
_IN = re.compile(r"(?<![^\W_])in\s\Z")
_FROM_NOW = re.compile(r"\s(?:from|after)\s(?:today|now)(?!\w)")
_FROM = re.compile(r"\s(?:from|after|before|of)\b")
_AGO = re.compile(r"\sago(?!\w)")
_TIME = re.compile(
    r"""(?<![\d:.,+])(?P<later>(?:下午|晚上|午後|오후)\s?)?(?P<hour>\d{1,2})(?:(?::|\s?h\s?|\s?[时時点點시]\s?|\.(?=\d\d\suhr))(?P<minute>\d{2}))?
    (?::(?P<second>\d{2}))?(?![\d:])\s?(?P<half>[ap]\.?\s?m\b|uhr\b|o'clock|[点點时時시분](?!间|間))?""",
    re.VERBOSE,
)
_NEAR = 40
"""Characters a time of day may stand away from its date."""
_APART = re.compile(r"[;.,\n]\s|\b(?:and|but|then|und|et|y)\b")
_APART_COST = 20


@lru_cache(_TEXTS)
def days(text: str, clock: str) -> tuple[tuple[date, int, int], ...]:
    """The days that a folded text names, with start and end, in their order. `clock` is the present, ISO."""
    today = date.fromisoformat(clock[:10])
    return tuple(sorted({*calendar_dates(text, today.year), *_counted(text, today)}, key=lambda day: day[1:]))


def _counted(text: str, today: date) -> Iterator[tuple[date, int, int]]:
    for start, end, away in (*_named(text), *_distances(text)):
        try:
            yield today + timedelta(days=away), start, end
        except OverflowError:
            continue  # beyond the calendar there is no day that a fact could hold


def _named(text: str) -> Iterator[tuple[int, int, int]]:
    for match in _RELATIVE.finditer(text):
        yield *match.span(), _DAYS_AWAY[match[0]]


def _distances(text: str) -> Iterator[tuple[int, int, int]]:
    """Start, end and days of `in 2 weeks`, `a week from today` and `3 days ago`."""
    if _SPAN_WORD.search(text) is None:
        return  # most texts: their numbers need not be read
    spans = [(match.start(), match.end(), _SPANS[match["span"]]) for match in _ONE_SPAN.finditer(text)]
    for number in amounts(text):
        span = _SPAN.search(text, number.start, min(len(text), number.end + _LONGEST_SPAN))
        if number.unit is not None and number.unit.composed and number.unit.dimension == "time":
            distance, end = number.value / _SECONDS_OF_DAY, number.end
        elif span is not None and span.start() <= number.end <= span.end():
            distance, end = number.value * _SPANS[span["span"]], span.end()
        else:
            continue
        if distance == distance.to_integral_value():
            spans.append((number.start, end, int(distance)))
    for start, end, away in spans:
        ahead = _IN.search(text[max(0, start - 4) : start])
        if away > 0 and ((ahead and not _FROM.match(text, end)) or _FROM_NOW.match(text, end)):
            yield start, end, away
        elif away > 0 and _AGO.match(text, end):
            yield start, end, -away


def states_moment(text: str, clock: str, day: tuple[date, int, int], moment: datetime) -> bool:
    """Whether the text gives a day this time of day. A time belongs to the day it stands nearest to."""
    named = days(text, clock)
    first = bisect_left(named, day[1] - 2 * _NEAR, key=lambda other: other[1])
    others = named[first : bisect_right(named, day[2] + 2 * _NEAR, key=lambda other: other[1])]
    start, end = max(0, day[1] - _NEAR), min(len(text), day[2] + _NEAR)
    for time in _TIME.finditer(text, start, end):
        overlaps = any(a < time.end() and time.start() < b for _, a, b in others)
        if overlaps or (time["minute"] is None and time["half"] is None):
            continue
        nearest = min(others, key=lambda other: _distance(text, time, other))
        if nearest[1] == day[1] and _is_time(time, moment):
            return True
    return False


def _distance(text: str, time: re.Match[str], day: tuple[date, int, int]) -> tuple[int, int]:
    """How far a time stands from a day, more with a comma or `and` between. Of two days as far the earlier wins."""
    after = time.start() >= day[2]
    between = text[day[2] : time.start()] if after else text[time.end() : day[1]]
    return len(between) + (_APART_COST if _APART.search(between) else 0), 0 if after else 1


def _is_time(time: re.Match[str], moment: datetime) -> bool:
    hour, half = int(time["hour"]), time["half"] or ""
    if half.startswith(("a", "p")) or time["later"]:
        hour = hour % 12 + (0 if half.startswith("a") else 12)
    stated = (hour, int(time["minute"] or 0), int(time["second"] or moment.second))
    return stated == (moment.hour, moment.minute, moment.second)
