"""What an answer tells and what it does not. Each pair is one a careless matcher gets wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from envs.facts import mentions, tells
from envs.task import Fact, FactKind

CLOCK = "2026-03-02T09:00:00"

TOLD: list[tuple[FactKind, JsonValue, str]] = [
    ("integer", 1000, "There are 1,000 of them."),
    ("integer", 1000, "There are 1000."),
    ("integer", 40, "It weighs 40 kg."),
    ("integer", 40, "It weighs 40kg, I think"),
    ("integer", 40, "not 30 but 40"),
    ("integer", 40, "It is not 30. It is 40."),
    ("integer", 40, "The count is **40**."),
    ("integer", 2, "You have two orders."),
    ("integer", 2, "Sizes 1,2,3 are there."),
    ("integer", -5, "It is -5 degrees."),
    ("integer", 12, "stock=12"),
    ("number", 4.5, "Rated 4.5/5"),
    ("number", 3.14159, "about 3.14"),
    ("number", 12.5, "12.5%"),
    ("cents", 12050, "It costs $120.50."),
    ("cents", 12050, "It costs 120.50"),
    ("cents", 12050, "It costs 120.5 dollars"),
    ("cents", 12050, "12050 cents"),
    ("cents", 12050, "price_cents: 12050"),
    ("cents", 123450, "$1,234.50 in all"),
    ("cents", 4000, "€40"),
    ("cents", 4000, "40 USD"),
    ("date", "2026-03-05", "It comes on 2026-03-05."),
    ("date", "2026-03-05", "It comes on March 5."),
    ("date", "2026-03-05", "It comes on Mar. 5th, 2026"),
    ("date", "2026-03-05", "on the 5th of March"),
    ("date", "2026-03-05", "5 March 2026"),
    ("date", "2026-03-05", "3/5/2026"),
    ("date", "2026-03-25", "25/03/2026"),
    ("date", "2026-03-05", "05.03.2026"),
    ("date", "2026-03-05", "at 2026-03-05T10:00:00"),
    ("date", "2026-03-03", "It arrives tomorrow."),
    ("date", "2025-12-24", "December 24, 2025"),
    ("datetime", "2026-03-05T14:30:00", "2026-03-05T14:30:00"),
    ("datetime", "2026-03-05T14:30:00", "on March 5 at 2:30 pm"),
    ("datetime", "2026-03-05T14:30:00", "at 14:30 on 5 March"),
    ("datetime", "2026-03-05T14:00:00", "March 5, 2 p.m."),
    ("text", "out_for_delivery", "It is out for delivery."),
    ("text", "Ada Byron", "The owner is ada byron, of Turin."),
    ("text", "ORD-12", "Your order is ORD-12."),
    ("text", "ada@example.org", "Write to ada@example.org."),
    ("text", "St. John's (east)", "It stands at St. John’s (East)."),
    ("text", "delivered", "It is not pending but delivered."),
    ("text", "José Álvarez", "It belongs to Jose Alvarez."),
    ("text", ["red", "blue"], "We have blue and red."),
    ("text", ["ORD-1", "ORD-12"], "They are ORD-12, ORD-1."),
    ("date", ["2026-03-05", "2026-03-09"], "March 9 and March 5"),
    ("integer", [3, 1000], "1,000 of one and 3 of the other"),
    ("text", [], "There are none."),
    ("boolean", True, "Yes."),
    ("boolean", True, "The lamp is available."),
    ("boolean", True, "available: true"),
    ("boolean", True, "Is it available? Yes."),
    ("boolean", True, "No problem, it is available."),
    ("boolean", False, "No."),
    ("boolean", False, "The lamp is not available."),
    ("boolean", False, "It isn't available"),
    ("boolean", False, "It is unavailable."),
    ("boolean", False, "It is no longer available."),
    ("boolean", False, "Available: no"),
    ("boolean", False, "Is it available? No."),
]

NOT_TOLD: list[tuple[FactKind, JsonValue, str]] = [
    ("integer", 327, "The total is 13270."),
    ("integer", 327, "The total is 1,327."),
    ("integer", 327, "The total is 327,500."),
    ("integer", 327, "Call 555-327."),
    ("integer", 40, "It is not 40."),
    ("integer", 40, "It isn't 40"),
    ("integer", 40, "30 rather than 40"),
    ("integer", 40, "It is 40.5"),
    ("integer", 40, "It is -40"),
    ("integer", 40, "Order ORD-40 is fine."),
    ("integer", 40, "It is 40k."),
    ("integer", 40, "It is 40 thousand."),
    ("integer", 2026, "on 2026-03-05"),
    ("integer", 9, "at 9:30"),
    ("integer", 1, "This one is fine."),
    ("integer", 3, "version 3.2.1"),
    ("integer", 40, ""),
    ("number", 3.14159, "about 3"),
    ("cents", 12050, "$12,050"),
    ("cents", 12050, "12050 dollars"),
    ("cents", 12050, "120.50 cents"),
    ("cents", 12050, "$120.05"),
    ("cents", 12050, "$112050"),
    ("date", "2026-03-05", "March 15"),
    ("date", "2026-03-05", "March 5, 2025"),
    ("date", "2026-03-05", "2026-03-051"),
    ("date", "2026-03-05", "not on March 5"),
    ("date", "2026-03-05", "May 3"),
    ("date", "2025-03-05", "March 5"),
    ("datetime", "2026-03-05T14:30:00", "March 5"),
    ("datetime", "2026-03-05T14:30:00", "March 5 at 2:30 am"),
    ("datetime", "2026-03-05T14:30:00", "March 6 at 14:30"),
    ("text", "ORD-1", "Your order is ORD-12."),
    ("text", "ORD-1", "Your order is FORD-1."),
    ("text", "delivered", "It was undelivered."),
    ("text", "delivered", "It was not delivered."),
    ("text", "delivered", "It has not yet been delivered."),
    ("text", "Ada Byron", "Ada and Byron"),
    ("text", "ada@example.org", "Write to ada@example.org.uk"),
    ("text", ["red", "blue"], "We have red."),
    ("text", ["red", "blue"], "We have red, but not blue."),
    ("text", ["ORD-1", "ORD-12"], "It is ORD-12."),
    ("text", [], "We have red."),
    ("boolean", True, "No."),
    ("boolean", True, "It is not available."),
    ("boolean", True, "Is it available?"),
    ("boolean", True, "I do not know."),
    ("boolean", False, "It is available."),
    ("boolean", False, "Yes."),
    ("boolean", True, "Yes. No."),
    ("boolean", True, ""),
]


@pytest.mark.parametrize(("kind", "value", "answer"), TOLD)
def test_an_answer_tells_a_fact_in_any_common_notation(kind: FactKind, value: JsonValue, answer: str) -> None:
    assert tells(answer, Fact(label="available", kind=kind, value=value), CLOCK)


@pytest.mark.parametrize(("kind", "value", "answer"), NOT_TOLD)
def test_an_answer_does_not_tell_what_merely_looks_alike(kind: FactKind, value: JsonValue, answer: str) -> None:
    assert not tells(answer, Fact(label="available", kind=kind, value=value), CLOCK)


@pytest.mark.parametrize(
    ("value", "unit", "answer", "told"),
    [
        (1500, "g", "It weighs 1.5 kg.", True),
        (1500, "g", "It weighs 1,500 grams.", True),
        (1500, "g", "It weighs 1500.", True),
        (1500, "g", "It weighs 1500 kg.", False),
        (90, "minutes", "It takes 1.5 hours.", True),
        (90, "minutes", "It takes 90 min", True),
        (90, "minutes", "It takes 90 hours.", False),
        (90, "minutes", "It is 90 km long.", False),
        (12, "%", "12 percent", True),
        (3, "nights", "It is 3 nights.", True),
    ],
)
def test_a_number_with_a_unit_is_compared_in_that_unit(value: int, unit: str, answer: str, told: bool) -> None:
    fact = Fact(label="size", kind="number", value=value, unit=unit)
    assert tells(answer, fact, CLOCK) is told


def test_two_properties_are_told_apart_by_their_names() -> None:
    answer = "It is refundable, but it is not giftable."
    assert tells(answer, Fact(label="is_refundable", kind="boolean", value=True), CLOCK)
    assert tells(answer, Fact(label="giftable", kind="boolean", value=False), CLOCK)
    assert not tells(answer, Fact(label="giftable", kind="boolean", value=True), CLOCK)


def test_a_denied_value_is_mentioned_though_not_told() -> None:
    text = "I cannot find ORD-3."
    assert mentions(text, "text", "ORD-3", CLOCK)
    assert not tells(text, Fact(label="order", kind="text", value="ORD-3"), CLOCK)


PIECES = st.sampled_from(
    (
        *(
            "5",
            "1 000",
            "1.000",
            "9" * 30,
            "1e999",
            ",",
            ".",
            "-",
            "−",
            " ",
            "\n",
            "\t",
            "$",
            "€",
            " usd",
            "minus ",
            "one ",
            "a ",
        ),
        *(
            "two hundred",
            " thousand",
            " and ",
            "half",
            " point ",
            "(",
            ")",
            "½",
            "10²",
            "x10^",
            "万",
            "三百",
            "本",
            "第",
            "5月",
        ),
        *(
            "March 5",
            " 2026",
            " in ",
            " days",
            " ago",
            " from today",
            "14:30",
            " pm",
            "%",
            "kg",
            "m",
            "not ",
            "不是",
            "北京",
        ),
        *(
            "*",
            "_",
            "\\",
            "\u0301",
            "が",
            "서울",
            "เ",
            "\u200b",
            "﷼",
            "①",
            "\ud800",
            "٣",
            "/",
            "+",
            "~",
            "'",
            "http://",
            "@",
        ),
    )
)
VALUES: tuple[tuple[FactKind, JsonValue], ...] = (
    *(("integer", 5), ("number", 5.25), ("cents", 500), ("date", "2026-03-05"), ("datetime", "2026-03-05T14:30:00")),
    *(("text", "A-"), ("text", "北京"), ("text", []), ("boolean", True)),
)


@given(
    pieces=st.lists(PIECES, max_size=25), clock=st.sampled_from((CLOCK, "9999-12-31T00:00:00", "0001-01-01T00:00:00"))
)
def test_every_answer_can_be_judged(pieces: list[str], clock: str) -> None:
    for kind, value in VALUES:
        assert tells("".join(pieces), Fact(label="x", kind=kind, value=value), clock) in (True, False)
