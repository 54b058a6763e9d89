"""Answers as chat models write them: markup around values, bounds, and words of the user's language."""

import pytest
from pydantic import JsonValue

from envs.facts import tells
from envs.task import Fact, FactKind

CLOCK = "2026-03-02T09:00:00"


def states(answer: str, kind: FactKind, value: JsonValue, label: str = "x", unit: str = "") -> bool:
    return tells(answer, Fact(label=label, kind=kind, value=value, unit=unit), CLOCK)


MARKUP: tuple[tuple[str, FactKind, JsonValue], ...] = (
    (r"The total is $1{,}000$.", "integer", 1000),
    (r"\(1\,000\) seats", "integer", 1000),
    ("1&nbsp;000 seats", "integer", 1000),
    (r"$\boxed{40}$", "integer", 40),
    (r"It costs \$5{,}000.", "cents", 500000),
    (r"$1.5\,\text{kg}$", "number", 1.5),
    ("120.50 &euro;", "cents", 12050),
    ("~~$150.00~~ $120.50", "cents", 12050),
    ("AT&amp;T", "text", "AT&T"),
    ("O&#39;Brien", "text", "O'Brien"),
    ("Dr Smith", "text", "Dr. Smith"),
    ("on March&nbsp;5, 2026", "date", "2026-03-05"),
)


@pytest.mark.parametrize(("answer", "kind", "value"), MARKUP)
def test_markup_around_a_value_does_not_hide_it(answer: str, kind: FactKind, value: JsonValue) -> None:
    assert states(answer, kind, value)


OTHER_VALUES: tuple[tuple[str, FactKind, JsonValue], ...] = (
    (r"$1{,}000$", "integer", 1),
    (r"\frac{40}{2}", "integer", 40),
    ("x_{40}", "integer", 40),
    ("~~40~~ 41", "integer", 40),
    ("<del>A1</del> B2", "text", "A1"),
    ("It is 20 °C.", "text", "C"),
    ("neither red nor blue", "text", "red"),
    ("neither red nor blue", "text", "blue"),
    ("weder Berg noch Tal", "text", "Tal"),
    ("минус 5", "integer", 5),
    ("零下5度", "integer", 5),
    ("Your total ($120.50) is due.", "cents", -12050),
    ("Your balance ($120.50) is due.", "cents", 12050),
    ("auf dem 5. Platz", "integer", 5),
    ("It costs 10.05.", "date", "2026-05-10"),
    ("10-May-25", "date", "2026-05-10"),
    ("10 may be enough", "date", "2026-05-10"),
)


@pytest.mark.parametrize(("answer", "kind", "value"), OTHER_VALUES)
def test_what_an_answer_states_otherwise_is_not_told(answer: str, kind: FactKind, value: JsonValue) -> None:
    assert not states(answer, kind, value)


@pytest.mark.parametrize(
    "bound",
    (
        *(
            "more than 40",
            "over 40 seats",
            "less than 40",
            "fewer than 40",
            "under 40",
            "almost 40",
            "nearly 40",
            "> 40",
        ),
        *("<40", "mehr als 40", "plus de 40", "más de 40", "超过40个", "不到40个", "40未満"),
    ),
)
def test_a_bound_that_excludes_the_number_does_not_tell_it(bound: str) -> None:
    assert not states(bound, "integer", 40)


@pytest.mark.parametrize("bound", ("up to 40", "at least 40", "no more than 40", "about 40", "-> 40", "<b>40</b>"))
def test_a_bound_that_includes_the_number_tells_it(bound: str) -> None:
    assert states(bound, "integer", 40)


WORDS = (
    ("vierzig Plätze", 40),
    ("vierundzwanzig", 24),
    ("vingt-deux commandes", 22),
    ("treinta y cinco", 35),
    ("quaranta posti", 40),
    ("duas encomendas", 2),
    ("сорок мест", 40),
    ("двадцать два заказа", 22),
    ("hay dos pedidos", 2),
    ("há três pedidos", 3),
    ("ci sono due ordini", 2),
    ("책 세 권", 3),
    ("四十席あります", 40),
    ("40টি আসন", 40),
    ("Only one seat is left.", 1),
    ("One.", 1),
    ("I found one order: ORD-3", 1),
)


@pytest.mark.parametrize(("answer", "value"), WORDS)
def test_small_numbers_are_read_in_the_words_of_the_user(answer: str, value: int) -> None:
    assert states(answer, "integer", value)


NOT_WORDS = (
    ("C'est très bien", 3),
    ("o preço dos livros", 2),
    ("your payment is due", 2),
    ("doscientos treinta y cinco", 35),
    ("ciento treinta y cinco", 35),
    ("сто двадцать", 20),
    ("cinq cents", 5),
    ("deux mille", 2),
    ("fünf Komma zwei", 5),
    ("fünf Komma zwei", 2),
    ("trois quarts", 3),
    ("a las tres", 3),
    ("cinco de mayo", 5),
    ("Cinque Terre", 5),
    ("스물 두 개", 2),
    ("zwei bis fünf Tage", 5),
    ("one of the orders", 1),
    ("one at a time", 1),
    ("this one", 1),
    ("There is one problem: 3 orders are late", 1),
)


@pytest.mark.parametrize(("answer", "value"), NOT_WORDS)
def test_words_that_are_part_of_something_else_are_no_numbers(answer: str, value: int) -> None:
    assert not states(answer, "integer", value)


@pytest.mark.parametrize("answer", ("There are no orders.", "You have no open orders.", "None."))
def test_no_orders_tell_a_count_of_zero(answer: str) -> None:
    assert states(answer, "integer", 0, label="number of orders")


@pytest.mark.parametrize(
    "answer", ("No problem! You have 5 orders.", "I don't know; no orders were shown to me.", "No orders but one.")
)
def test_other_words_with_no_tell_no_zero(answer: str) -> None:
    assert not states(answer, "integer", 0, label="number of orders")


@pytest.mark.parametrize(
    "answer",
    (
        *("I'm not sure.", "I don't know whether it is refundable.", "I cannot tell.", "It is unclear.", "不知道"),
        *("Weiß ich nicht.", "Je ne sais pas.", "No lo sé.", "Não sei.", "Не знаю.", "わかりません。"),
    ),
)
def test_not_knowing_answers_neither_yes_nor_no(answer: str) -> None:
    assert not any(states(answer, "boolean", value, label="refundable") for value in (True, False))


@pytest.mark.parametrize("answer", ("No problem! ORD-1 is open.", "I have no idea.", "No, here they are: ORD-1"))
def test_an_empty_list_is_not_told_by_politeness_or_ignorance(answer: str) -> None:
    assert not states(answer, "text", [])


@pytest.mark.parametrize("answer", ("No.", "У вас нет заказов", "Não há pedidos.", "Sipariş yok", "لا توجد طلبات"))
def test_an_empty_list_is_told_in_the_language_of_the_user(answer: str) -> None:
    assert states(answer, "text", [])


@pytest.mark.parametrize(
    ("answer", "minutes"),
    (("1h 30m", 90), ("1h30m", 90), ("90m", 90), ("1時間30分", 90), ("1 час 30 минут", 90), ("1시간 30분", 90)),
)
def test_hours_and_minutes_are_one_amount(answer: str, minutes: int) -> None:
    assert states(answer, "integer", minutes, unit="minutes")
    assert not any(states(answer, "integer", part, unit="minutes") for part in (30, 60))


@pytest.mark.parametrize(
    "answer", ("5 مارس 2026", "5 मार्च 2026", "5 Mart 2026", "5 Maret 2026", "৫ মার্চ ২০২৬", "am 05.03.", "5-Mar-26")
)
def test_dates_are_read_in_more_languages(answer: str) -> None:
    assert states(answer, "date", "2026-03-05")


@pytest.mark.parametrize("answer", ("百分之二十", "20 процентов", "yüzde 20", "20パーセント"))
def test_percent_is_read_in_more_languages(answer: str) -> None:
    assert states(answer, "integer", 20, unit="%")
