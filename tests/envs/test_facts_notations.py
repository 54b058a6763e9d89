"""Any number, written in any notation, is told, and no other number is."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.envs.telling import tells_number

Writer = Callable[[int], str]


def grouped(separator: str) -> Writer:
    return lambda number: f"{number:,}".replace(",", separator)


def in_digits_of(zero: str) -> Writer:
    return lambda number: "".join(chr(ord(zero) + int(c)) if c.isdigit() else c for c in str(number))


def in_indian_groups(number: int) -> str:
    sign, digits = "-" * (number < 0), str(abs(number))
    head, tail = digits[:-3], digits[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return sign + ",".join([*pairs, tail])


ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)


def in_words(number: int) -> str:
    if number < 0:
        return f"minus {in_words(-number)}"
    small = ONES.split()
    tens = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
    if number < 20:
        return small[number]
    if number < 100:
        return tens[number // 10 - 2] + (f"-{small[number % 10]}" if number % 10 else "")
    for scale, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= scale:
            rest = number % scale
            joint = " and " if rest and scale == 100 else " "
            return f"{in_words(number // scale)} {name}" + (joint + in_words(rest) if rest else "")
    raise AssertionError(number)


def in_chinese(number: int) -> str:
    """With a counter, since a bare numeral is not read."""
    if number < 0:
        return f"负{in_chinese(-number)}"
    digits = "零一二三四五六七八九"
    parts: list[str] = []
    for scale, name in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= scale:
            parts.append(in_chinese(number // scale).removesuffix("个") + name)
            rest = number % scale
            if rest and rest < scale // 10:
                parts.append("零")
            number = rest
    if number or not parts:
        parts.append(digits[number])
    return "".join(parts) + "个"


WRITERS: dict[str, Writer] = {
    "plain": str,
    "comma": grouped(","),
    "no-break space": grouped("\u00a0"),
    "narrow space": grouped("\u202f"),
    "thin space": grouped("\u2009"),
    "space": grouped(" "),
    "point": grouped("."),
    "apostrophe": grouped("’"),
    "indian groups": in_indian_groups,
    "full width": in_digits_of("０"),
    "arabic": in_digits_of("٠"),
    "devanagari": in_digits_of("०"),
    "thai": in_digits_of("๐"),
    "true minus": lambda number: str(number).replace("-", "−"),
    "en dash": lambda number: str(number).replace("-", "–"),
    "exponent": lambda number: f"{number}e0",
    "words": in_words,
    "chinese": in_chinese,
}
FRAMES = (
    "It is {}.",
    "{}",
    "There are {} of them",
    "Total: {}",
    "**{}** in all",
    "{}.",
    "一共有{}。",
    "is {}, I think",
)
NEAR = (1, -1, 10, -10, 100, 1000)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@given(
    number=st.integers(-(10**10), 10**10) | st.integers(-2000, 2000), frame=st.sampled_from(FRAMES), other=st.integers()
)
def test_every_integer_is_told_in_every_notation_and_no_other_is(
    writer: Writer, number: int, frame: str, other: int
) -> None:
    if number == 1 and writer in (in_words, in_chinese):
        return  # `one` is a pronoun more often than a number
    answer = frame.format(writer(number))
    assert tells_number(answer, "integer", number)
    others = {
        other,
        -number,
        *(number + step for step in NEAR),
        number // 10,
        number * 10,
        number // 1000,
        number % 1000,
    }
    assert not [wrong for wrong in others - {number} if tells_number(answer, "integer", wrong)]


def euros(cents: int) -> str:
    return f"{'-' * (cents < 0)}{abs(cents) // 100:,}".replace(",", ".") + f",{abs(cents) % 100:02} €"


MONEY_WRITERS: dict[str, Writer] = {
    "dollars": lambda cents: f"{'-' * (cents < 0)}${abs(cents) // 100:,}.{abs(cents) % 100:02}",
    "sign behind": lambda cents: f"${'-' * (cents < 0)}{abs(cents) // 100:,}.{abs(cents) % 100:02}",
    "code": lambda cents: f"{Decimal(cents) / 100:.2f} USD",
    "code before": lambda cents: f"CHF {Decimal(cents) / 100:.2f}",
    "euros": euros,
    "french": lambda cents: euros(cents).replace(".", "\u202f"),
    "swiss": lambda cents: f"{Decimal(cents) / 100:,.2f} CHF".replace(",", "’"),
    "cents": lambda cents: f"{cents} cents",
    "both": lambda cents: f"{'minus ' * (cents < 0)}{abs(cents) // 100} dollars and {abs(cents) % 100} cents",
    "words": lambda cents: (
        f"{'minus ' * (cents < 0)}{in_words(abs(cents) // 100)} dollars and {abs(cents) % 100} cents"
    ),
    "bracketed": lambda cents: f"(${-cents // 100}.{-cents % 100:02})" if cents < 0 else f"${cents / 100:.2f}",
}


@pytest.mark.parametrize("writer", MONEY_WRITERS.values(), ids=MONEY_WRITERS)
@given(cents=st.integers(-(10**9), 10**9) | st.integers(-2000, 2000), other=st.integers())
def test_every_amount_of_money_is_told_in_every_notation_and_no_other_is(
    writer: Writer, cents: int, other: int
) -> None:
    written = writer(cents)
    answer = f"The balance is {written}."
    assert tells_number(answer, "cents", cents)
    others = {other, -cents, *(cents + step for step in NEAR), cents // 100, cents * 100, cents % 100}
    assert not [wrong for wrong in others - {cents} if tells_number(answer, "cents", wrong)]
