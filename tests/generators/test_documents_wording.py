"""The words of documents and questions: what the grammar lets through, what is refused, and what rule makes of it."""

import json
import re

import pytest

from envs.spec import Column, Table
from envs.task import Fact
from generators.documents_forms import accept, put, response, stem
from generators.documents_things import with_names
from generators.documents_wording import Ask, Link, fact_ask, link_ask, pair_ask
from generators.prompts import FOLDER
from generators.stage import Refused
from generators.tables import Schema

CLOCK = "2026-03-02T09:00:00"
COURSE = Table(
    name="course",
    id_prefix="C",
    columns=(
        Column(name="trainer_id", type="text", references="trainer"),
        Column(name="start_date", type="date"),
        Column(name="price_cents", type="cents"),
        Column(name="level", type="enum", values=("easy", "hard")),
    ),
)
TRAINER = Table(name="trainer", id_prefix="T", columns=(Column(name="home_city", type="text"),))
ROOM = Table(name="room", id_prefix="R", columns=(Column(name="locker_count", type="integer"),))
LOCKER = Table(name="locker", id_prefix="L", columns=(Column(name="room_id", type="text", references="room"),))


def ask_of(table: Table, column: str, value: str, fact: Fact, kind: str = "") -> Ask:
    slot = column.removesuffix("_cents")
    return fact_ask(table, table.column(column), kind, ({table.name: "Early Bird", slot: value}, fact))


def start_ask() -> Ask:
    return ask_of(COURSE, "start_date", "4 May 2025", Fact(label="start", kind="date", value="2025-05-04"))


def gym_asks() -> dict[str, list[Ask]]:
    """What the examples in the prompts answer, in their order."""
    facts = [
        start_ask(),
        ask_of(COURSE, "price_cents", "$12.50", Fact(label="price", kind="cents", value=1250)),
        ask_of(COURSE, "level", "easy", Fact(label="level", kind="text", value="easy")),
        ask_of(TRAINER, "home_city", "Lund", Fact(label="home city", kind="text", value="Lund"), "city"),
        ask_of(ROOM, "locker_count", "1,200", Fact(label="lockers", kind="integer", value=1200)),
    ]
    name = Fact(label="name", kind="text", value="Ada Byron")
    links = [
        link_ask(Link(one.name, f"{many}_id", many), hint, ({one.name: "Early Bird", many: "Ada Byron"}, name))
        for one, many, hint in (
            (COURSE, "trainer", "a course with a title (long, short) and a price, given by one trainer"),
            (LOCKER, "room", "a locker in one room, with a number"),
        )
    ]
    pairs = [
        pair_ask(COURSE, COURSE.column("start_date")),
        pair_ask(COURSE, COURSE.column("price_cents")),
        pair_ask(ROOM, ROOM.column("locker_count")),
    ]
    return {"document_facts": facts, "document_links": links, "document_pairs": pairs}


@pytest.mark.parametrize("template", ["document_facts", "document_links", "document_pairs"])
def test_the_examples_of_a_prompt_keep_the_rules_they_teach_and_its_grammar(template: str) -> None:
    examples = [
        json.loads(line) for line in (FOLDER / f"{template}.j2").read_text().splitlines() if line.startswith('{"')
    ]
    for ask, example in zip(gym_asks()[template], examples, strict=True):
        answer = response(ask.forms, 3).model_validate(example)
        kept = accept(ask.forms, answer, CLOCK)
        assert not kept.corrections, kept.corrections
        for form in ask.forms:
            plain = form.plainly if template != "document_links" or form.name == "statements" else ()
            for text in (*example[form.name], *plain):
                assert re.fullmatch(form.pattern(), text), (text, form.pattern())


@pytest.mark.parametrize(
    "text",
    [
        "The start of {course} is on 4 May.",
        "{start_date} {course}",
        "Start: {course}",
        "{course} began on {start_date}, which is the start.",
        "The start of {course} that so very many people like so much is {start_date}.",
    ],
)
def test_the_grammar_lets_nothing_else_through(text: str) -> None:
    form = start_ask().forms[0]
    schema = response((form,), 3).model_json_schema()
    assert schema["properties"][form.name]["items"]["pattern"] == form.pattern()
    assert not re.fullmatch(form.pattern(), text)


def test_what_belongs_together_is_told_with_the_words_of_the_brief() -> None:
    course, locker = gym_asks()["document_links"]
    assert course.prompt["clause"] == "given by one trainer" and locker.prompt["clause"] == "in one room"
    assert course.forms[0].plainly == ("{course} is given by the trainer {trainer}.",)
    found = course.forms[0].fault("The trainer of {course} is {trainer}.", [], CLOCK)
    assert found is not None and found[0] == "other_meaning"


def test_a_value_that_brings_its_noun_is_not_told_twice() -> None:
    assert put("in the hall {hall} today", {"hall": "the hall of Silent Mill"}) == "in the hall of Silent Mill today"
    assert put("in the hall {hall} today", {"hall": "Old House"}) == "in the hall Old House today"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("The start of {course} is soon.", "placeholders"),
        ("The start of {course} and {course} is on {start_date}.", "placeholders"),
        ("The start of {course} is on {start_date}. It is popular.", "not_one_sentence"),
        ("The start of {course}{start_date} is there.", "not_one_sentence"),
        ("{course} ends on {start_date}.", "other_meaning"),
        ("On {start_date} they begin {course} with the start.", "shape"),
        ("The start of {course} is not on {start_date}.", "says_more"),
        ("The start of {course} is in {start_date} days.", "unit"),
        ("The start of {course} (room 7) is on {start_date}.", "not_plain"),
        ("The start, as it is, of {course} is on {start_date}.", "rambling"),
        ("The start of {course} is at {start_date} and.", "rambling"),
        ("The startofthewholecourse of {course} is at {start_date}.", "rambling"),
        (f"The start of {{course}} is{' really quite' * 1} at long last and for good on {{start_date}}.", "shape"),
    ],
)
def test_a_bad_statement_is_refused_for_its_own_reason(statement: str, reason: str) -> None:
    form = start_ask().forms[0]
    assert form.fault(form.plainly[0], [], CLOCK) is None
    found = form.fault(statement, [], CLOCK)
    assert found is not None and found[0] == reason


def test_a_statement_that_makes_another_value_of_it_is_refused() -> None:
    price = gym_asks()["document_facts"][1].forms[0]
    found = price.fault("{course} has a price of {price} million.", [], CLOCK)
    assert found is not None and found[0] == "does_not_tell"


def test_a_question_for_yes_or_no_and_a_phrase_that_ends_elsewhere_are_refused() -> None:
    questions = start_ask().forms[1]
    assert questions.fault("Is there a start of {course}?", [], CLOCK) is not None
    assert questions.fault("When is the start of {course}?", ["When is the start of {course}?"], CLOCK) is not None
    phrases = gym_asks()["document_links"][0].forms[1]
    assert phrases.fault("the trainer of {course} in town", [], CLOCK) is not None
    for adrift in (
        "When is the start, {course}?",
        "What is the start of the course by {course}?",
        "On what day is the start of {course} of term?",
        "On what day is the start and on what day is {course}?",
    ):
        fault = questions.fault(adrift, [], CLOCK)
        assert fault is not None and fault[0] == "rambling", adrift
    assert phrases.fault("the trainer of {course}", [], CLOCK) is None


def test_an_answer_of_which_nothing_is_of_use_is_asked_for_again() -> None:
    ask = start_ask()
    answer = response(ask.forms, 3).model_validate({"statements": ["No."], "questions": ["No?"]})
    with pytest.raises(Refused, match="must contain"):
        accept(ask.forms, answer, CLOCK)


@pytest.mark.parametrize(
    ("word", "said"),
    [("opening", "opened"), ("visitors", "Visitor"), ("city", "city"), ("price", "costs"), ("shown", "shows")],
)
def test_a_word_is_known_in_its_inflections(word: str, said: str) -> None:
    assert re.search(stem(word), said)
    assert not re.search(stem(word), "technique")


def test_a_thing_without_a_name_is_given_a_title_and_yes_or_no_is_left_out() -> None:
    table = Table(
        name="visit",
        id_prefix="V",
        columns=(Column(name="visit_date", type="date"), Column(name="is_paid", type="boolean")),
    )
    kinds = {("visit", "visit_date"): "past_date", ("visit", "is_paid"): "flag"}
    schema, naming = with_names(Schema((table,), kinds))
    assert [column.name for column in schema.tables[0].columns] == ["title", "visit_date"]
    assert naming == {"visit": "title"} and schema.kinds["visit", "title"] == "label"
