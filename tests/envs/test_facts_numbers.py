"""Numbers in the notations people use: each is read whole, with its sign, or not at all."""

import pytest

from envs.facts import mentions
from tests.envs.telling import CLOCK, row_id, tells_number

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


def test_the_numbers_of_a_list_are_no_values() -> None:
    answer = "1. ORD-3 has 7 items.\n2. ORD-5 has 9 items."
    assert [number for number in range(10) if tells_number(answer, "integer", number)] == [7, 9]


def test_the_ends_of_a_range_are_mentioned_though_not_told() -> None:
    request = "Find a room for between 3 and 5 people."
    assert mentions(request, "integer", 3, CLOCK) and mentions(request, "integer", 5, CLOCK)
    assert not tells_number(request, "integer", 3)


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
