"""Days and times of day in the notations of several languages, and near the ends of the calendar."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.facts import tells
from envs.task import Fact

CLOCK = "2026-03-02T09:00:00"


def tells_day(answer: str, day: str, clock: str = CLOCK) -> bool:
    return tells(answer, Fact(label="x", kind="date", value=day), clock)


def row_id(value: object) -> str:
    return ascii(value).strip("'\"")


MARCH_5 = (
    *(
        "2026-03-05",
        "2026/3/5",
        "2026.03.05",
        "2026. 3. 5.",
        "05.03.2026",
        "5. 3. 2026",
        "3/5/2026",
        "2026–03–05",
        "２０２６－０３－０５",
    ),
    *("2026年3月5日", "2026年03月05日", "3月5日", "于2026-03-05到", "在2026年3月5日发货", "2026년 3월 5일", "3월 5일"),
    *(
        "March 5",
        "Mar. 5, 2026",
        "5 March",
        "the 5th of March, 2026",
        "5-Mar-2026",
        "2026-Mar-05",
        "2026 March 5",
        "March 5, ’26",
    ),
    *(
        "5. März 2026",
        "am 5. März",
        "5 mars 2026",
        "5 de marzo de 2026",
        "5 marzo 2026",
        "5 de março de 2026",
        "5 maart 2026",
    ),
    *(
        "5 марта 2026",
        "March\u00a05",
        "March 5—the last day",
        "in 3 days",
        "in three days",
        "3 days from today",
        "2026-03-05T10:00:00Z",
    ),
)
OTHER_DAYS = ("2026-03-04", "2026-03-06", "2026-03-15", "2026-05-03", "2025-03-05")


@pytest.mark.parametrize("notation", MARCH_5, ids=row_id)
def test_a_date_is_told_in_any_notation(notation: str) -> None:
    assert tells_day(f"It comes {notation}.", "2026-03-05")
    assert not [day for day in OTHER_DAYS if tells_day(f"It comes {notation}.", day)]


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "March 15",
            "March 5, 2025",
            "March 5, '25",
            "2025 March 5",
            "5 de marzo de 2025",
            "2025年3月5日",
            "March 5-7",
        ),
        *("March 50", "March 5,000 people", "March 5.5", "05-03-2026", "2026-03-05-1", "ORD-2026-03-05", "12026-03-05"),
        *("not on March 5", "nicht am 5. März", "March 5, 20261", "five days ago", "twenty-three days from today"),
    ],
)
def test_what_looks_like_a_date_is_not_told(answer: str) -> None:
    assert not tells_day(answer, "2026-03-05")


@pytest.mark.parametrize(
    ("day", "answer"),
    [
        ("2026-03-04", "the day after tomorrow"),
        ("2026-02-28", "the day before yesterday"),
        ("2026-03-16", "in a fortnight"),
        ("2026-03-09", "a week from today"),
        ("2026-02-27", "3 days ago"),
        ("2026-03-24", "twenty-two days from now"),
        ("2026-03-12", "in 1 week and 3 days"),
        ("2026-03-03", "demain"),
        ("2026-03-04", "übermorgen"),
        ("2026-03-01", "昨天"),
        ("2026-03-25", "25-03-2026"),
    ],
    ids=row_id,
)
def test_a_day_counted_from_the_clock_is_told_and_no_day_near_it_is(day: str, answer: str) -> None:
    near = [(date.fromisoformat(day) + timedelta(days=step)).isoformat() for step in range(-25, 26)]
    assert [other for other in near if tells_day(f"It comes {answer}.", other)] == [day]


@pytest.mark.parametrize("clock", ["9999-12-30T09:00:00", "0001-01-01T00:00:00"])
@pytest.mark.parametrize(
    "answer",
    [
        "in 2 weeks",
        "yesterday",
        "in 999 weeks",
        "the day before yesterday",
        "in 99999999999999999999 days",
        "1e300 days ago",
    ],
)
def test_no_day_is_told_beyond_the_ends_of_the_calendar(clock: str, answer: str) -> None:
    assert not tells_day(f"It is due {answer}.", "9999-12-30", clock)


def test_days_up_to_the_ends_of_the_calendar_are_told() -> None:
    assert tells_day("It is due tomorrow.", "9999-12-31", "9999-12-30T09:00:00")
    assert tells_day("It was due yesterday.", "0001-01-01", "0001-01-02T09:00:00")


@pytest.mark.parametrize(
    "answer", ["2026-02-30", "February 29, 2026", "31.04.2026", "0000-01-01", "March 0", "99/99/2026"]
)
def test_a_day_that_does_not_exist_tells_nothing(answer: str) -> None:
    assert not tells_day(answer, "2026-03-01")
    assert not tells_day("2026-03-01", answer)


HALF_PAST_TWO = (
    *(
        "2026-03-05 14:30",
        "March 5 at 2:30 pm",
        "March 5 at 2:30\u202fPM",
        "at 14:30 on 5 March",
        "5. März um 14.30 Uhr",
    ),
    *(
        "le 5 mars à 14h30",
        "2026年3月5日14时30分",
        "2026年3月5日下午2点30分",
        "2026-03-05 14：30",
        "2026-03-05T14:30:00+02:00",
    ),
    *("March 6 at 9:00, March 5 at 14:30", "March 5 at 14:30, March 6 at 9:00", "March 5, 14:30; March 6, 9:00"),
    *("at 9:00 on 6 March and at 14:30 on 5 March", "March 5, from 14:30 to 15:30"),
)
OTHER_TIMES = (
    *(
        "March 5",
        "March 5 at 2:30",
        "March 6 at 14:30",
        "2026年3月5日2点30分",
        "2026-03-05 12:00:00+14:30",
        "2026-03-05 14:30:05",
    ),
    *("March 5 at 9:00, March 6 at 14:30", "March 6 at 14:30, March 5 at 9:00", "March 5, 9:00; March 6, 14:30"),
    *("at 9:00 on 5 March and at 14:30 on 6 March",),
)


@pytest.mark.parametrize(
    ("answer", "told"),
    [*((answer, True) for answer in HALF_PAST_TWO), *((answer, False) for answer in OTHER_TIMES)],
    ids=row_id,
)
def test_a_time_of_day_belongs_to_the_date_it_stands_at(answer: str, told: bool) -> None:
    assert tells(answer, Fact(label="x", kind="datetime", value="2026-03-05T14:30:00"), CLOCK) is told


SPANISH = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()  # noqa: SIM905
GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905
FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()  # noqa: SIM905
WRITERS: dict[str, Callable[[date], str]] = {
    "iso": date.isoformat,
    "slashes": lambda day: f"{day.month}/{day.day}/{day.year:04}",
    "year first": lambda day: f"{day.year:04}/{day.month}/{day.day}",
    "points": lambda day: f"{day.day:02}.{day.month:02}.{day.year:04}",
    "american": lambda day: f"{day:%B} {day.day}, {day.year:04}",
    "british": lambda day: f"{day.day} {day:%B} {day.year:04}",
    "german": lambda day: f"{day.day}. {GERMAN[day.month - 1]} {day.year:04}",
    "french": lambda day: f"{day.day} {FRENCH[day.month - 1]} {day.year:04}",
    "spanish": lambda day: f"{day.day} de {SPANISH[day.month - 1]} de {day.year:04}",
    "chinese": lambda day: f"{day.year:04}年{day.month}月{day.day}日",
    "korean": lambda day: f"{day.year:04}년 {day.month}월 {day.day}일",
    "indian digits": lambda day: "".join(chr(ord("०") + int(c)) if c.isdigit() else c for c in day.isoformat()),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@given(
    day=st.dates(), frame=st.sampled_from(("{}", "It comes {}.", "on {} at noon", "({})", "**{}**")), other=st.dates()
)
def test_every_date_is_told_in_every_notation_and_no_other_is(
    writer: Callable[[date], str], day: date, frame: str, other: date
) -> None:
    answer = frame.format(writer(day))
    assert tells_day(answer, day.isoformat())
    if other != day:
        assert not tells_day(answer, other.isoformat())
    assert not tells(answer, Fact(label="x", kind="integer", value=day.day), CLOCK)
