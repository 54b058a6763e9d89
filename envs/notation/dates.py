"""Dates of the calendar in a text, in the notations and month names of the usual languages.

`3/5/2026` is March 5; where the first number is no month, the day comes first. `05-03-2026` is read only if one of its
numbers is no month. Dates are days of the Gregorian calendar, 0001 to 9999.
"""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from envs.notation.folding import fold, words

_TEXTS = 256
_NAMES = (
    "january jan januar januari janner janvier janv enero ene gennaio janeiro января ocak يناير जनवरी জানুয়ারি stycznia",
    "february feb februar februari fevrier fevr febrero febbraio fevereiro fev февраля "
    "subat فبراير फरवरी फ़रवरी ফেব্রুয়ারি lutego",
    "march mar marz maerz mrz mars marzo marco maart mrt марта mart maret مارس मार्च মার্চ marca",
    "april apr avril avr abril abr aprile апреля nisan أبريل ابريل अप्रैल এপ্রিল kwietnia",
    "may mai mayo maggio maio mei maj мая mayis مايو मई মে maja",
    "june jun juni juin junio giugno junho июня haziran يونيو जून জুন czerwca",
    "july jul juli juillet juil julio luglio julho июля temmuz يوليو जुलाई জুলাই lipca",
    "august aug aout agosto augustus augusti августа agustos agustus أغسطس अगस्त আগস্ট sierpnia",
    "september sep sept septembre septiembre setiembre settembre setembro сентября "
    "eylul سبتمبر सितंबर सितम्बर সেপ্টেম্বর wrzesnia",
    "october oct oktober okt octobre octubre ottobre outubro октября ekim أكتوبر अक्टूबर অক্টোবর pazdziernika",
    "november nov novembre noviembre novembro ноября kasim نوفمبر नवंबर नवम्बर নভেম্বর listopada",
    "december dec dezember dez decembre diciembre dicembre dezembro desember декабря "
    "aralik ديسمبر दिसंबर दिसम्बर ডিসেম্বর grudnia",
)
_MONTHS = {fold(name): number for number, names in enumerate(_NAMES, start=1) for name in names.split()}
_LONGEST_FIRST = sorted(_MONTHS, key=len, reverse=True)
MONTH_NAMES = "|".join(_LONGEST_FIRST)
_MONTH = rf"(?P<month>{MONTH_NAMES})(?![^\W\d_])\.?"
_NOT_ENGLISH = "|".join(name for name in _LONGEST_FIRST if name not in ("may", "march", "mar"))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|[eº°])?(?!\w|:\d|[.,]\d|-\d)"
_OPEN = r"(?<![a-z\d_.])(?<![a-z\d]-)"
"""Nothing of a script with spaces before it: `ORD-2026-03-05` holds no date."""
_YEAR = r"(?:[\s,(/-]+(?:(?:of|in|de|del|do)\s)?(?P<year>\d{4}|'\d\d|(?<=[a-z]-)\d\d(?!-))(?!\w))?(?![\s,]+\d{5})"
_BEFORE_MONTH, _BEHIND_MONTH = 20, 40
"""Characters of a date before and behind its month's name, at most."""
_YEAR_OR_MONTH = re.compile(r"\d{4}\s?[-/.年년]\s?\d|\d\s?[月월]|\d[-/.]\s?\d\d?[-/.]")
"""Without one of these a text has no date in numbers, and without a month's name none in words: most have neither."""
_NUMERIC = tuple(
    re.compile(_OPEN + pattern)
    for pattern in (
        r"(?P<year>\d{4})(?P<gap>[-/.])(?P<month>\d{1,2})(?P=gap)(?P<day>\d{1,2})(?![\d-]|\.\d)",
        r"(?<!/)(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})(?!\d)",
        r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d)",
        r"(?<=\b(?:am|im|ab|zu) )(?P<year>(?!))?(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.(?!\s?\d)",
        r"(?<!-)(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})(?![\d-])",
        r"(?P<year>\d{4})\s?[年년.]\s?(?P<month>\d{1,2})\s?[月월.]\s?(?P<day>\d{1,2})\s?[日号號일.]?(?!\d)",
        r"(?P<year>(?!))?(?<!年)(?<!년\s)(?P<month>\d{1,2})\s?[月월]\s?(?P<day>\d{1,2})\s?[日号號일]",
    )
)
_MONTH_FIRST = re.compile(rf"{_OPEN}(?:(?P<early>\d{{4}}),?[\s-]+)?{_MONTH}[\s-]+(?:the\s+)?{_DAY}{_YEAR}")
_DIGIT = re.compile(r"\d")
_EARLY = re.compile(r"\d{4},?[\s-]+\Z")
_MAY = re.compile(r"may (?:be|have|not|take|also|only|still|need|apply|come|cost|get)\b")
_DAY_FIRST = tuple(
    re.compile(_OPEN + pattern)
    for pattern in (
        rf"{_DAY}[\s-]+(?:(?:of|de|del|di)\s+)?{_MONTH}{_YEAR}",
        rf"(?P<day>\d{{1,2}})\.\s?(?P<month>{_NOT_ENGLISH})(?![^\W\d_])\.?{_YEAR}",
    )
)


@lru_cache(_TEXTS)
def absolute_dates(text: str) -> tuple[re.Match[str], ...]:
    """The places of a folded text that look like dates, each with groups `year`, `month` and `day`."""
    numeric = _NUMERIC if _YEAR_OR_MONTH.search(text) else ()
    names = _MONTHS.keys() & words(text)
    matches = [match for pattern in numeric for match in pattern.finditer(text)]
    for position in sorted(position for name in names for position in _positions(text, name)):
        matches += _around(text, position)
    return tuple({match.span(): match for match in matches}.values())


def _around(text: str, position: int) -> Iterator[re.Match[str]]:
    """What looks like a date with the month whose name begins there."""
    early = _EARLY.search(text, max(0, position - _BEFORE_MONTH), position)
    ahead = (early and _MONTH_FIRST.match(text, early.start())) or _MONTH_FIRST.match(text, position)
    if ahead is not None:
        yield ahead
    for pattern in _DAY_FIRST if _DIGIT.search(text, max(0, position - _BEFORE_MONTH), position) else ():
        for match in pattern.finditer(text, max(0, position - _BEFORE_MONTH), position + _BEHIND_MONTH):
            if match.start("month") == position and not _MAY.match(text, position):
                yield match


def _positions(text: str, name: str) -> Iterator[int]:
    position = text.find(name)
    while position >= 0:
        yield position
        position = text.find(name, position + 1)


def calendar_dates(text: str, year: int) -> Iterator[tuple[date, int, int]]:
    """The dates of a folded text with their start and end. `year` is taken where a date has none."""
    for match in absolute_dates(text):
        parts = match.groupdict()
        written = parts["year"] or parts.get("early") or str(year)
        month, day = _month_and_day(match)
        try:
            yield date(int(f"20{written[-2:]}" if len(written) < 4 else written), month, day), *match.span()
        except ValueError:
            continue  # no such day


def _month_and_day(match: re.Match[str]) -> tuple[int, int]:
    name, day = match["month"], int(match["day"])
    if name in _MONTHS:
        return _MONTHS[name], day
    month = int(name)
    by_numbers = re.fullmatch(r"\d+([/-])\d+\1\d{4}", match[0])
    if by_numbers and month > 12:
        return day, month
    # With hyphens either may come first: a date only where one of both is no month.
    return (0, 0) if by_numbers and by_numbers[1] == "-" and day <= 12 and month != day else (month, day)
