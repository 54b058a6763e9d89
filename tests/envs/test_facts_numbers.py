"""Numbers in the notations people use: each is read whole, with its sign and its unit, or not at all."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.facts import mentions, tells
from envs.task import Fact, FactKind

CLOCK = "2026-03-02T09:00:00"


def tells_number(answer: str, kind: FactKind, value: float, unit: str = "") -> bool:
    return tells(answer, Fact(label="x", kind=kind, value=value, unit=unit), CLOCK)


def row_id(value: object) -> str:
    return ascii(value).strip("'\"")


THOUSAND = (
    *(f"1{separator}000" for separator in ",'_ \u00a0\u202f\u2009\u2007’ʼ."),
    *(
        "1000",
        "１，０００",
        "١٬٠٠٠",
        "१,०००",
        "1e3",
        "10.0e2",
        "1k",
        "1 K",
        "1×10^3",
        "1 x 10³",
        "1*10^3",
        "1·10³",
        "1千",
    ),
    *(
        "1 thousand",
        "one thousand",
        "a thousand",
        "ten hundred",
        "1 tausend",
        "1 mille",
        "1 mil",
        "1 тысяч",
    ),
)


@pytest.mark.parametrize("notation", THOUSAND, ids=row_id)
def test_a_thousand_is_read_whole_in_any_notation(notation: str) -> None:
    answer = f"There are {notation} seats."
    assert tells_number(answer, "integer", 1000)
    assert not any(tells_number(answer, "integer", part) for part in (0, 1, 3, 10, 100))


WHOLE = [
    (100_000, "1,00,000 people"),
    (1_234_567, "12,34,567 people"),
    (1_234_567, "1.234.567 Menschen"),
    (1_250_000, "1\u00a0250\u00a0000 people"),
    (700, "seven hundred"),
    (700, "7 hundred"),
    (25, "twenty-five"),
    (25, "twenty five"),
    (2305, "two thousand three hundred and five"),
    (2305, "two thousand, three hundred and five"),
    (2300, "2 thousand 3 hundred"),
    (105, "one hundred and five"),
    (205_000, "two hundred and five thousand"),
    (1100, "eleven hundred"),
    (100, "a hundred"),
    (6, "half a dozen"),
    (60, "five dozen"),
    (500_000, "half a million"),
    (1_500_000, "one and a half million"),
    (1_200_000, "1.2 million"),
    (150_000, "1.5 lakh"),
    (7_000_000, "7 Millionen"),
    (5_000_000_000_000, "5 Billionen"),
    (5000, "5e3"),
    (7, "一共有7本。"),
    (7, "七本"),
    (17, "十七本"),
    (2, "两个"),
    (350, "三百五十个"),
    (1001, "一千零一个"),
    (10_000, "1万"),
    (10_000, "一万人"),
    (15_000, "1万5千"),
    (35_000, "3万5000円"),
    (120_000_000, "1.2亿"),
    (50_000, "5만 명"),
    (12, "총 12권입니다"),
    (12, "มี12เล่ม"),
    (12, "总数：12"),
    (12, "共 १२ 本"),
    (12, "<b>12</b>"),
    (12, "| 12 |"),
    (12, "#12"),
    (12, "12-day trip"),
    (12, "12 °C"),
    (40, "two 40-inch screens"),
    (2, "two 40-inch screens"),
    (3, "two and three"),
    (500, "In 2026 500 people came."),
    (1000, "In 2026 1 000 people came."),
    (36, "sizes 36 38 40"),
    (3, "Sizes 1,2,3"),
    (120, "120 m²"),
    (5, "from 3 to 5"),
    (5, "There are 5—the most."),
    (5, "Seats—5—left"),
    (5, "Seats - 5"),
    (5, "- 5 seats"),
    (7, "12 - 5 = 7"),
    (4, "Rated 4/5"),
    (12, "In March 12 orders came."),
    (5, "At most 5 may be lent."),
    (40, "40. That is all."),
]
PARTS = (0, 1, 2, 3, 5, 7, 10, 12, 20, 25, 30, 34, 40, 50, 100, 105, 200, 205, 250, 300, 305, 350, 567, 1000, 1202)


@pytest.mark.parametrize(("value", "answer"), WHOLE, ids=row_id)
def test_a_number_is_told(value: int, answer: str) -> None:
    assert tells_number(answer, "integer", value)


@pytest.mark.parametrize(("value", "answer"), WHOLE[: WHOLE.index((12, "总数：12"))], ids=row_id)
def test_no_part_of_a_number_is_told(value: int, answer: str) -> None:
    assert [part for part in PARTS if tells_number(answer, "integer", part)] == [
        part for part in PARTS if part == value
    ]


NO_NUMBERS = {
    12: (
        *(
            "A-12",
            "12-34",
            "12-A",
            "ORD–12",
            "ORD‑12",
            "ORD−12",
            "seat 12C",
            "v12",
            "version 12.3.1",
            "10.0.0.12",
            "x12",
        ),
        *(
            "https://x.org?id=12",
            "https://x.org/12",
            "ada12@x.org",
            "12:30",
            "at 12 pm",
            "12 Uhr",
            "12h30",
            "12 o'clock",
        ),
        *(
            "March 12",
            "12 March 2026",
            "12.03.2026",
            "2026-03-12",
            "12. März 2026",
            "2026年3月12日",
            "12月",
            "12日",
            "12点",
        ),
        *(
            "12th",
            "12e année",
            "12º",
            "第12章",
            "第十二章",
            "12x",
            "12x3",
            "12/7",
            "24/12",
            "12+",
            "±12",
            "12万",
            "12만",
            "12多本",
        ),
        *(
            "12²",
            "12¹",
            "12^3",
            "12½",
            "12個半",
            "12‰",
            "twelve fifty",
            "twelve-seater",
            "twelve o'clock",
            "half past twelve",
        ),
        *(
            "1️⃣2️⃣",
            "5'12",
            "between 12 and 14",
            "12 to 14 days",
            "12–14 days",
            "12〜14日",
            "12.5",
            "1.2e1x",
        ),
    ),
    5: (
        "5e3",
        "5 x 10³",
        "5×10^2",
        "百分之五",
        "3,5",
        "three point five",
        "1/5",
        "two fifths",
        "five-a-side",
        "5-a-side",
    ),
    2: (
        "10²",
        "1/2",
        "2 1/2",
        "2½",
        "two and a half",
        "2 and a half",
        "two thirds",
        "5**2",
        "120 m²",
    ),
    3: (
        "three quarters",
        "three-quarters",
        "thirty-three",
        "3〜5日",
        "between three and five",
        "3 – 5 days",
        "三国演义",
    ),
    1: ("this one", "1½", "½", "1/2", "一共", "1万"),
    20: ("twenty-first", "twenty first", "twenty-odd", "one hundred and twenty", "二十多人"),
    10: ("十七本", "几十本", "10²", "5 x 10³", "3〜10"),
    52: ("5**2",),
    102: ("10²",),
    11: ("1½",),
    555: ("Call +1 555 123 4567", "(555) 123-4567"),
    100: ("hundreds", "several hundred", "数百人"),
}


@pytest.mark.parametrize(
    ("value", "answer"), [(value, answer) for value, answers in NO_NUMBERS.items() for answer in answers], ids=row_id
)
def test_what_is_no_number_or_part_of_another_is_not_told(value: int, answer: str) -> None:
    assert not tells_number(f"It is {answer}", "integer", value)
    assert not tells_number(answer, "integer", value)


NEGATIVE = (
    "-5",
    "−5",
    "–5",
    "－5",
    "﹣5",
    "− 5",
    "minus 5",
    "negative 5",
    "minus five",
    "5 below zero",
    "5 degrees below zero",
)
OVERDRAWN = (
    *("-$5.00", "$-5.00", "($5.00)", "(5.00 USD)", "−$5", "minus $5", "minus 5 dollars", "negative five dollars"),
    *("-5 USD", "USD -5", "-USD 5", "-5,00 €", "- $5.00", "$5.00-", "5.00-"),
)


@pytest.mark.parametrize("notation", NEGATIVE, ids=row_id)
def test_a_sign_is_part_of_a_number(notation: str) -> None:
    assert tells_number(f"It is {notation}.", "integer", -5)
    assert not tells_number(f"It is {notation}.", "integer", 5)


@pytest.mark.parametrize("notation", OVERDRAWN, ids=row_id)
def test_a_sign_is_part_of_an_amount_of_money(notation: str) -> None:
    assert tells_number(f"Balance: {notation}", "cents", -500)
    assert not tells_number(f"Balance: {notation}", "cents", 500)


def test_brackets_behind_a_name_are_no_sign() -> None:
    assert tells_number("The cheapest is the Blue Lamp ($45.00).", "cents", 4500)
    assert not tells_number("The cheapest is the Blue Lamp ($45.00).", "cents", -4500)


MONEY = [
    (
        123_456,
        ("1.234,56 €", "1 234,56 €", "1\u202f234,56 €", "€1'234.56", "$1,234.56", "1,234.56 USD", "CHF 1’234.56"),
    ),
    (
        1250,
        (
            "12,50 €",
            "€ 12,50",
            "12,5 €",
            "12.50元",
            "12.50\u00a0€",
            "USD 12.50",
            "US$12.50",
            "12.50 kr",
            "Rs. 12.50",
            "₹12.50",
        ),
    ),
    (1200, ("12,- €", "twelve dollars", "$12", "12 euros", "twelve hundred cents", "¥12")),
    (123_400, ("1.234 €", "1,234 USD", "$1,234")),
    (150_000, ("$1.5k", "1.5 thousand dollars", "$1 500")),
    (500_000_000, ("$5M", "$5 million", "five million dollars")),
    (120, ("one dollar and 20 cents", "a dollar and twenty cents", "1 dollar 20")),
    (520, ("$5 and 20 cents", "5 dollars and 20 cents", "five dollars and twenty cents", "5 dollars, 20 cents")),
    (50, ("$.50", "50 cents", "50¢", "fifty cents", "0,50 €")),
    (12_050, (r"\$120.50", "**$120.50**", "１２０．５０ ＥＵＲ", "$120.50—paid")),
]
WRONG_MONEY = (
    5,
    12,
    20,
    50,
    123,
    150,
    500,
    1200,
    1250,
    2000,
    5000,
    12_050,
    123_400,
    123_456,
    125_000,
    150_000,
    123_456_00,
)


@pytest.mark.parametrize(("value", "answer"), [(v, a) for v, answers in MONEY for a in answers], ids=row_id)
def test_an_amount_of_money_is_told_and_no_other_amount_is(value: int, answer: str) -> None:
    told = [cents for cents in {value, *WRONG_MONEY} if tells_number(f"It costs {answer}.", "cents", cents)]
    assert told == [value]


@pytest.mark.parametrize("answer", ["40% off", "It weighs 40 kg.", "40 percent", "40 minutes"])
def test_what_counts_something_else_is_no_money(answer: str) -> None:
    assert not tells_number(answer, "cents", 40)
    assert not tells_number(answer, "cents", 4000)


@pytest.mark.parametrize(
    ("value", "answer", "told"),
    [
        (3.5, "3,5", True),
        (35, "3,5", False),
        (0.125, "0,125", True),
        (125, "0,125", False),
        (1.5, "1½", True),
        (0.5, "½", True),
        (2.5, "2 1/2", True),
        (2.5, "two and a half", True),
        (3.25, "three point two five", True),
        (5e-05, "5e-05", True),
        (1e16, "1e+16", True),
        (1.234, "It weighs 1.234.", True),
        (1234, "It weighs 1.234.", False),
        (1234, "Es sind 1.234, und es kostet 12,50 €.", True),
        (1.234, "Es sind 1.234, und es kostet 12,50 €.", False),
        (1000, "Es sind 1,000 und 2.5", True),
        (1, "Es sind 1,000 kg für 12,50 €", True),
        (0.1, "0." + "1" * 60, False),
    ],
    ids=row_id,
)
def test_the_decimal_mark_is_decided_by_the_number_or_by_the_others_in_the_answer(
    value: float, answer: str, told: bool
) -> None:
    assert tells_number(answer, "number", value) is told


@pytest.mark.parametrize(
    ("value", "unit", "answer", "told"),
    [
        (90, "minutes", "1 hour and 30 minutes", True),
        (30, "minutes", "1 hour and 30 minutes", False),
        (1, "hours", "1 hour and 30 minutes", False),
        (90, "minutes", "1h 30min", True),
        (420, "minutes", "7小时", True),
        (7, "minutes", "7小时", False),
        (1234, "g", "1.234 kg", True),
        (1500, "g", "1,5 kg", True),
        (120, "m", "120 m²", False),
        (40, "km", "40 km/h", False),
        (5, "m", "5m", True),
        (5, "kg", "5m", False),
        (500, "g", "a bag of 3 kg and 500 g", True),
        (90, "minutes", "an hour and a half", True),
        (90, "minutes", "one hour and thirty minutes", True),
        (30, "minutes", "an hour and 30 minutes", False),
        (60, "minutes", "an hour", True),
        (60, "minutes", "2 hours and a half", False),
        (30, "minutes", "twice a day, 30 minutes each", True),
        (1, "", "Give me a minute, one day I will know.", False),
    ],
    ids=row_id,
)
def test_an_amount_in_several_units_is_one_amount(value: int, unit: str, answer: str, told: bool) -> None:
    assert tells_number(answer, "integer", value, unit) is told


def test_the_numbers_of_a_list_are_no_values() -> None:
    answer = "1. ORD-3 has 7 items.\n2. ORD-5 has 9 items."
    assert [number for number in range(10) if tells_number(answer, "integer", number)] == [7, 9]


def test_the_ends_of_a_range_are_mentioned_though_not_told() -> None:
    request = "Find a room for between 3 and 5 people."
    assert mentions(request, "integer", 3, CLOCK) and mentions(request, "integer", 5, CLOCK)
    assert not tells_number(request, "integer", 3)


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
