"""Numbers in English words, whole: `two thousand three hundred and five`, `three point two`, `half a million`.

A run of number words that make no number together, such as `twelve fifty`, is not read.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from envs.notation.folding import fold, words
from envs.notation.scripts import UNSPACED
from envs.notation.units import is_unit

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_SMALL = {word: number for number, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split())}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SCALES: dict[str, Decimal] = {
    fold(word): Decimal(value)
    for value, words in (
        ("12", "dozen dozens"),
        ("100", "hundred hundreds hundert honderd hundra cientos"),
        ("1e3", "thousand thousands k tsd tausend duizend tusen tusind mille mil mila tys ribu"),
        ("1e3", "тыс тысяч тысячи हज़ार ألف"),
        ("1e5", "lakh lakhs lac लाख"),
        (
            "1e6",
            "million millions mn mio mln millionen millones millon milioni milione milhoes milhao miljoen miljoner",
        ),
        ("1e6", "millioner milyon juta млн миллион миллиона миллионов مليون"),
        ("1e7", "crore crores करोड़"),
        (
            "1e9",
            "billion billions bn mrd milliarde milliarden milliards miljard miliardi milyar млрд миллиард миллиарда",
        ),
        ("1e12", "trillion trillions tn billionen billones"),
    )
    for word in words.split()
}
"""What multiplies the number before it, in the usual languages."""
_WORD_SCALES = ("dozen", "hundred", "thousand", "lakh", "million", "crore", "billion", "trillion")
_NUMERAL = "|".join([*_SMALL, *_TENS])
_WORDS = frozenset({*_SMALL, *_TENS, *_WORD_SCALES})
_SCALE = "|".join(_WORD_SCALES)
_ORDINAL = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"
_RUN = re.compile(
    rf"""(?<![^\W{UNSPACED}])(?<!-)(?<!(?<!this[ ])(?<!that[ ])point[ ])
    (?:(?P<half>half[ ](?:an?[ ])?)(?={_SCALE})|an?[ ](?={_SCALE})|(?={_NUMERAL}))
    (?P<words>(?:{_NUMERAL}|{_SCALE})\b
      (?:(?:[ -]|\n(?=(?:{_SCALE}))|,[ ](?:and[ ])?(?=(?:{_NUMERAL})[ ](?:{_SCALE}))|[ ]and[ ])
        (?:{_NUMERAL}|{_SCALE})\b)*+)
    (?P<point>[ ]point(?:[ ](?:{_NUMERAL})\b)+)?
    (?P<fraction>[ ]and[ ](?:an?|one)[ ](?:half|quarter)\b|[ ]and[ ]three[ ]quarters\b)?
    (?P<scale>[ ](?:{_SCALE})\b)?
    (?P<joined>-\w+|[ ](?:{_ORDINAL})\b)?""",
    re.VERBOSE,
)
_REACH = 60
"""Characters around a `one` that decide what it is."""
_ONE = re.compile(
    r"""(?:\A\W*|[.:!?\n|][ ]|(?<!\w)(?:only|just|exactly|have|has|had|there[ ](?:is|was)|found|contains?
    |includes?|remains?|(?:answer|total|number|count)[ ]is|=)[ ](?:(?:only|just|exactly)[ ])?)
    \**(?P<one>one)(?=\W*\Z|[.]\s|[ ](?!(?:of|more|another|other
    |or|and|that|which|who|things?|day|time|moment|momento|sec(?:ond)?|minute|way|reason|problem|issue
    |question|note|option|caveat|can|could|should|would|may|might|must|has|have|is|was|for|with|in|on|at|to|from|by|as
    |big|last|final|such|important)\b)[a-z])""",
    re.VERBOSE,
)
"""Where `one` counts what follows: elsewhere it may stand for a thing (`this one`) or for people."""
_FRACTIONS = {"half": Decimal("0.5"), "quarter": Decimal("0.25"), "quarters": Decimal("0.75")}


class Words(NamedTuple):
    """A number in words, read."""

    value: Decimal
    start: int
    end: int


def number_words(text: str) -> Iterator[Words]:
    """The numbers that words of a folded text make."""
    if _WORDS.isdisjoint(words(text)):
        return
    for run in _RUN.finditer(text):
        joined = run["joined"] or ""
        counts_unit = joined[1:] != "second" and is_unit(joined[1:])  # `five-day`
        if joined and ((joined[0] == "-" and not counts_unit) or run["words"].endswith((*_TENS, *_WORD_SCALES))):
            continue  # `two-seater`, `twenty first`
        groups = _alternatives(run["words"])
        if run["half"] or run["point"] or run["fraction"] or run["scale"] or len(groups) == 1:
            value = _completed(run)
            if value is not None:
                yield Words(value, run.start(), run.end() - len(run["joined"] or ""))
        else:
            yield from _enumerated(run, groups)


def counts_one(text: str, start: int) -> bool:
    """Whether the `one` that begins at `start` is a number."""
    return any(match.start("one") == start for match in _ONE.finditer(text, max(0, start - _REACH), start + _REACH))


def _enumerated(run: re.Match[str], groups: list[str]) -> Iterator[Words]:
    """The numbers of an enumeration such as `two and three`."""
    start = run.start("words")
    for group in groups:
        value = _value(group)
        if value is not None:
            yield Words(value, start, start + len(group))
        start += len(group) + len(" and ")


def _alternatives(words: str) -> list[str]:
    """The words, cut at each `and` that does not follow a hundred or more: `two and three` are two numbers."""
    groups = [""]
    for part in words.split(" and "):
        previous = groups[-1]
        if previous and not re.search(rf"(?:{_SCALE})\Z", previous):
            groups.append(part)
        else:
            groups[-1] = f"{previous} and {part}".removeprefix(" and ")
    return groups


def _completed(run: re.Match[str]) -> Decimal | None:
    value = _value(run["words"])
    if value is None:
        return None
    if run["point"]:
        decimals = [_SMALL.get(word, 10) for word in run["point"].split()[1:]]
        if max(decimals) > 9:
            return None
        value += Decimal("0." + "".join(map(str, decimals)))
    if run["fraction"]:
        value += _FRACTIONS[run["fraction"].split()[-1]]
    if run["scale"]:
        value *= SCALES[run["scale"].strip()]
    return value / 2 if run["half"] else value


def _value(words: str) -> Decimal | None:
    """What the words of one number come to; None if they are not one number."""
    total = group = 0
    scale, previous = 10**15, 10**15
    tokens = re.findall(r"[a-z]+", words)
    if tokens[0] in _WORD_SCALES:
        tokens = ["one", *tokens]
    for token in (token for token in tokens if token != "and"):
        if token in _WORD_SCALES:
            factor = int(SCALES[token])
            if not group or (factor == 100 and group > 99) or (factor > 100 and factor >= scale):
                return None
            if factor <= 100:
                group *= factor
            else:
                total, group, scale = total + group * factor, 0, factor
            previous = factor
            continue
        number = _SMALL.get(token, _TENS.get(token, 0))
        follows = (number < 10 and 20 <= previous <= 90) or previous >= 100
        if not follows or (number == 0 and len(tokens) > 1):
            return None
        group, previous = group + number, number
    return Decimal(total + group)
