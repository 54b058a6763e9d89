"""The numbers of a text, in digits or words, each with its sign, its money and its unit.

What belongs to a date, a time, an id, an address, an ordinal, a fraction or a list marker is no number of the text.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from envs.notation import cjk_numerals, currencies, foreign_words, number_words, units
from envs.notation.currencies import Money
from envs.notation.dates import absolute_dates
from envs.notation.digits import Digits, decimal_mark, read_run, runs_of
from envs.notation.folding import words
from envs.notation.scripts import UNSPACED
from envs.notation.units import Unit

_REACH = 24
"""Characters before a number in which its sign and money are looked for."""


class Number(NamedTuple):
    """A number of a text. `start` and `end` enclose its sign, its money and its unit."""

    value: Decimal
    start: int
    end: int
    money: Money = ""
    unit: Unit | None = None
    grouped: Decimal | None = None
    """The other reading of a number such as `1.000`: see `envs.notation.digits`."""
    scale: Decimal = Decimal(1)
    """What a word behind it multiplied it by, such as a thousand."""
    in_range: bool = False
    """Whether it is an end of a range, such as `3 to 5` or `between 3 and 5`."""


_LETTER = rf"[^\W{UNSPACED}]"
"""A letter, digit or underscore of a script with spaces: beside it no number begins."""
_MINUS = re.compile(
    rf"(?:-|(?<!{_LETTER})(?:minus|negative|moins|menos|meno|negativo?|минус|eksi|سالب|ناقص)[ ]"
    r"|负|負|零下|氷点下|マイナス|(?:마이너스|영하)[ ]?)\Z"
)
_SPACED_MINUS = re.compile(r"[:=(|]\s*(?P<sign>-\s)\Z")
"""A hyphen and a space are a sign only where an amount is expected; elsewhere they are a dash."""
_NO_SIGN = re.compile(rf"(?<={_LETTER})|(?<=[)/+])|(?<=\d[ ])")
"""What makes a hyphen before digits a joint or an operator instead of a sign."""
_SIGN_WORDS = (
    "minus negative moins menos meno negativ negativo - 负 負 零下 氷点下 マイナス 마이너스 영하 минус eksi سالب ناقص"
)
_SIMPLE_SIGNS = (" $", " €", " £")
_LEADS = (*_SIGN_WORDS.split(), *currencies.LEADS)
_OPERATOR = re.compile(r"(?<=[\d)][ ]minus[ ])|(?<=[\d)][ ]-)")
_REFUSED_BEFORE = re.compile(
    rf"""(?<={_LETTER})(?<!\dh) | (?<=\dh)(?!\d\d?[ ]?m) | (?<={_LETTER}[-/]) | (?<={_LETTER}:)(?<![^\W\d_]{{4}}:)
    | (?<=[点點시]) | (?<=[点點시][ ]) | (?<=(?<!小)[时時]) | (?<=(?<!小)[时時][ ])
    | (?<=[.^@%±×·²³)]) | (?<=[/+]-) | (?<=\d[ ]-) | (?<=[第几幾数數之제])
    | (?<=[ ]past[ ]) | (?<=quarter[ ]to[ ]) | (?<=minutes[ ]to[ ])""",
    re.VERBOSE,
)
_REFUSED_AFTER = re.compile(
    rf"""(?!টি|টা|জন|h\d\d?[ ]?m){_LETTER} | [²³¹½⁰-⁹ºª‰] | \+(?!\d) | :[a-z] | \.\d
    | -(?:[a-z]|odd|something|ish|plus|fold)\b
    | [ ]?(?:[ap]\.?[ ]?m\b|o'clock|uhr\b|h\d(?!\d?[ ]?m)|noon\b|midnight\b)
    | [ -](?:halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?
        |thousandths?|scores?(?=[ ](?:and|of|years)))\b
    | [月年日号號时時点點折成番倍几幾多余餘数之](?!间|間|钟|鐘|個|个) | .?半 | [년월일시호번](?!간)""",
    re.VERBOSE,
)
_ARTICLES = frozenset({"a", "an"})
_ARTICLE = re.compile(r"(?<![\w'-])an?(?=[ ][a-z])")
_NOTHING_BEHIND = frozenset({"", ".", *(f"{mark}{gap}" for mark in ".,;:!?)" for gap in " \n")})
_TRAILING_MINUS = re.compile(r"-(?!\w)")
_SCALE = re.compile(rf"[ -]?(?P<word>{'|'.join(sorted(number_words.SCALES, key=len, reverse=True))})(?![^\W\d_])")
_MONEY_MILLIONS = re.compile(r"m(?!\w)")
_PARTS = {" and a half": Decimal("0.5"), " and a quarter": Decimal("0.25"), " and one half": Decimal("0.5")}
_PART = re.compile("|".join(_PARTS))
_BELOW_ZERO = re.compile(
    r"[ ]?(?:°[ ]?[cf]?|(?:degrees?|grad|grados?|gradi|graus?|градус(?:а|ов)?)(?:[ ](?:celsius|fahrenheit))?)?[ ]"
    r"(?:(?:below|under)[ ](?:zero|0)|unter[ ]null|bajo[ ]cero|sotto[ ]zero|abaixo[ ]de[ ]zero|ниже[ ]нуля)\b"
)
_PRICE_DASH = re.compile(r",-{1,2}(?!\w)")
_ACCOUNT = re.compile(
    r"(?P<lead>^|[:=|\n]|\b(?:is|are|was|of|to|at|by|now|equals?|comes to|(?P<noun>balance|net|loss|profit|result)))\s*"
    rf"(?P<money>{currencies.SIGN}?)\(\Z"
)
"""What stands before an amount in brackets if the brackets are its sign. Behind other words they only enclose it.

Behind a noun such as `balance` they may do either: such an amount is not read."""
_ORDINAL = re.compile(r"(?:^|\s)(?:de[mnrs]|das|die|am|im|zum|vom|beim|jede[mnrs]?)\s\Z")
_ORDINAL_STOP = re.compile(r"\.\s[a-z]")
_PERCENT_SIGNS = ("%", "之", "yuzde ")
_PERCENT_BEFORE = re.compile(r"(?:百分之|(?<![^\W_])yuzde |(?<![\w%])%)\Z")
_SCORED = re.compile(r"\b(?:rat(?:ed|ing)|scored?|stars|grade|review(?:s|ed)?)\b[^.]*\Z")
_COUNTERS = (
    "席室票卷盒箱袋双雙套所把道個个個本册冊位名件张張份只隻條条台家間间次天人つ枚匹头頭棵座辆輛"
    "篇章节節首部杯瓶元块塊円歳岁歲周週公米小"
)
_CLOSES_NUMERAL = re.compile(rf"[{_COUNTERS}]|(?<=..)\s*(?:[.,;!?)]|\Z)")
_MASKED = re.compile(
    r"https?://\S+|www\.\S+|(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]+"
    r"|\+\d{1,3}(?=(?:[ ()/-]*\d){6})(?:[ ()/-]*\d)+|\(\d{2,5}\)[ ]?\d[\d -]{4,}"
)
"""Addresses and telephone numbers."""
_ADDRESS_SIGNS = ("http", "www.", "@", "+", "(")
_PLURAL = re.compile(r"[ ][a-z]{3,}s\b")
_LIST_MARKER = re.compile(r"^[ \t>]*\d{1,3}[.)]\s(?=\S)", re.MULTILINE)


def read_numbers(text: str) -> list[Number]:
    """The numbers of a folded text one by one, in their order."""
    masked = _masked(text)
    candidates = [digits for digits in _candidates(text) if digits.start not in masked]
    read = (_in_context(text, digits) for digits in sorted(candidates, key=lambda digits: digits.start))
    return [number for number in read if number is not None]


def _candidates(text: str) -> Iterator[Digits]:
    runs = list(runs_of(text))
    mark = decimal_mark(runs)
    for run in runs:
        if not run["joined"] or _is_score(text, run):
            yield from read_run(run, mark)
    for number in number_words.number_words(text):
        is_pronoun = text[number.start : number.end] == "one" and not number_words.counts_one(text, number.start)
        yield Digits(*number, is_article=is_pronoun)
    for small, start, end in foreign_words.foreign_words(text):
        yield Digits(Decimal(small), start, end)
    for article in () if _ARTICLES.isdisjoint(words(text)) else _ARTICLE.finditer(text):
        yield Digits(Decimal(1), *article.span(), is_article=True)
    for numeral in () if text.isascii() else cjk_numerals.NUMERAL.finditer(text):
        start, end = numeral.span()
        value = cjk_numerals.numeral_value(numeral[0])
        is_counted = _CLOSES_NUMERAL.match(text, end) is not None and not text[start - 1 : start].isdigit()
        if value is not None and is_counted:
            yield Digits(value, start, end, is_article=numeral[0] == "一")


def _is_score(text: str, run: re.Match[str]) -> bool:
    """Whether `4/5` is four of five stars, not a fraction."""
    if re.fullmatch(r"/\d{1,3}", run["joined"]) is None:
        return False
    return "." in run["digits"] or _SCORED.search(text[max(0, run.start() - 2 * _REACH) : run.start()]) is not None


def _masked(text: str) -> set[int]:
    """The positions of a text inside dates, addresses and list markers."""
    markers = list(_LIST_MARKER.finditer(text)) if "\n" in text else []
    addresses = _MASKED.finditer(text) if any(sign in text for sign in _ADDRESS_SIGNS) else ()
    dates = (match for match in absolute_dates(text) if _is_surely_date(text, match))
    matches = [*addresses, *dates, *(markers if len(markers) > 1 else [])]
    return {position for match in matches for position in range(*match.span())}


def _is_surely_date(text: str, match: re.Match[str]) -> bool:
    """Whether it cannot be a number beside a word: `5 may be lent`, `in March 12 orders came`."""
    if match["year"]:
        return True
    return "may" not in match[0] and _PLURAL.match(text, match.end()) is None


def _in_context(text: str, digits: Digits) -> Number | None:
    """The number with what belongs to it before and after; None if it is part of something else."""
    before = text[max(0, digits.start - _REACH) : digits.start]
    percent = _PERCENT_BEFORE.search(before) if before.endswith(_PERCENT_SIGNS) else None
    money: Money = ""
    start, is_negative = digits.start - (len(percent[0]) if percent else 0), False
    if not percent:
        lead = _lead(text, digits.start)
        if lead is None:
            return None
        start, is_negative, money = lead
    value, grouped, end, scale = _scaled(text, digits, bool(money))
    has_decimals = "." in text[digits.start : digits.end]
    tail = _tail(text, end, bool(money) or has_decimals)
    if value is None or tail is None:
        return None
    money, unit = tail.money or money, units.PERCENT if percent and not tail.unit else tail.unit
    if digits.is_article:
        if not (is_negative or money or unit):
            return None
        unit = unit and unit._replace(certain=False)
    if part := _PART.match(text, tail.end):
        value, grouped = value + _PARTS[part[0]], None
    end = part.end() if part else tail.end
    account = _ACCOUNT.search(text[max(0, start - _REACH) : start]) if text[end : end + 1] == ")" else None
    is_amount = bool(money or unit or has_decimals or (account and account["money"]))
    if account and (account["noun"] or (account["lead"].strip() and not is_amount)):
        return None  # five, or minus five
    if _ORDINAL_STOP.match(text, end) and _ORDINAL.search(text[max(0, start - _REACH) : start]):
        return None  # `auf dem 5. Platz`
    if account and account["money"]:
        money = "major"
    sign = -1 if is_negative or tail.is_negative or (account and is_amount) else 1
    return Number(value * sign, start, end, money, unit, grouped and grouped * sign, scale)


class _Tail(NamedTuple):
    """What belongs to a number behind its digits or words."""

    end: int
    money: Money
    unit: Unit | None
    is_negative: bool


def _tail(text: str, end: int, is_amount: bool) -> _Tail | None:
    """The money, the unit and the sign behind a number; None if what stands there makes it no number."""
    if text[end : end + 2] in _NOTHING_BEHIND:
        return _Tail(end, "", None, is_negative=False)
    unit, money = None, currencies.AFTER.match(text, end)
    end = money.end() if money else end
    below = _BELOW_ZERO.match(text, end)
    end = below.end() if below else end
    if units.GLUED.match(text, end) is None and _REFUSED_AFTER.match(text, end):
        return None
    is_minus = _TRAILING_MINUS.match(text, end) is not None
    if is_minus and not (money or is_amount):
        return None
    if money is None:
        unit, end = units.unit_after(text, end + is_minus)
        return _Tail(end, "", unit, is_minus or below is not None)
    return _Tail(end + is_minus, "cents" if money["cents"] else "major", None, is_minus or below is not None)


def _lead(text: str, start: int) -> tuple[int, bool, Money] | None:
    """Where a number begins with its sign and its money; None if what stands before it makes it no number."""
    money: Money = ""
    signs = 0
    for pattern in (_MINUS, currencies.BEFORE, _MINUS):
        before = text[max(0, start - _REACH) : start]
        if not before.rstrip(" ").endswith(_LEADS):
            break
        if pattern is _MINUS and (spaced := _SPACED_MINUS.search(before)):
            signs, start = signs + 1, start - len(spaced["sign"])
            continue
        if pattern is currencies.BEFORE and before.endswith(_SIMPLE_SIGNS):
            start, money = start - 1, "major"
            continue
        match = pattern.search(before)
        if match is None or (pattern is _MINUS and _NO_SIGN.match(text, start - len(match[0]))):
            continue
        if match[0].endswith(" ") and before[: match.start()].rstrip(" ")[-1:].isdigit():
            continue  # `12 € 50`: the money of the number before
        start -= len(match[0])
        if pattern is _MINUS:
            signs += 1
        else:
            money = "major"
    if signs > 1 or _REFUSED_BEFORE.match(text, start) or _OPERATOR.match(text, start):
        return None
    return start, signs == 1, money


def _scaled(text: str, digits: Digits, is_money: bool) -> tuple[Decimal | None, Decimal | None, int, Decimal]:
    """The value, its other reading, its end and its scale, with what multiplies it."""
    value, grouped, end, scale = digits.value, digits.grouped, digits.end, Decimal(1)
    if multiplied := cjk_numerals.MULTIPLIED.match(text, end):
        end = multiplied.end()
        return cjk_numerals.numeral_value(text[digits.start : end]), None, end, Decimal(10)
    if dash := _PRICE_DASH.match(text, end):
        return value, grouped, dash.end(), scale
    if part := _PART.match(text, end):
        value, grouped, end = value + _PARTS[part[0]], None, part.end()
    while word := _SCALE.match(text, end):
        scale *= number_words.SCALES[word["word"]]
        end = word.end()
    if is_money and scale == 1 and (millions := _MONEY_MILLIONS.match(text, end)):
        scale, end = Decimal(10**6), millions.end()
    return value * scale, None if scale > 1 or grouped is None else grouped, end, scale
