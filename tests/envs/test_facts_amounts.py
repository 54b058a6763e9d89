"""Amounts of money and of other units: each is read whole, or not at all."""

import pytest

from tests.envs.telling import row_id, tells_number

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
    read = [cents for cents in {value, *WRONG_MONEY} if tells_number(f"It costs {answer}.", "cents", cents)]
    assert read == [value]


@pytest.mark.parametrize("answer", ["40% off", "It weighs 40 kg.", "40 percent", "40 minutes"])
def test_what_counts_something_else_is_no_money(answer: str) -> None:
    assert not tells_number(answer, "cents", 40)
    assert not tells_number(answer, "cents", 4000)


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
