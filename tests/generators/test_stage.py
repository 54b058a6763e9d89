"""What a model answers is not to be trusted: hostile answers are refused with a reason, none gets through."""

import json

import pytest

from generators.brief import Brief
from generators.domain import synthesise
from generators.lifecycles import propose_lifecycles
from generators.stage import StageFailed
from generators.tables import propose_tables
from serving.endpoint import ChatRequest
from tests.generators.scripted import Scripted

BRIEF = Brief(
    title="Bike rental",
    description="A shop lends bikes by the day. Riders book, fetch and bring back bikes, and ask what is free.",
    entities={"rider": "a person with a name and an email", "bike": "a bike with a status"},
)
COLUMNS = {
    "columns": [
        {"name": "title", "kind": "text"},
        {"name": "status", "kind": "choice", "values": ["free", "rented", "broken"]},
        {"name": "daily_price", "kind": "money"},
    ]
}


def answer_with(text: str) -> Scripted:
    return Scripted(lambda _: text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"columns": [{"name": "title", "ki',
        "null",
        "[]",
        json.dumps({"columns": "all of them"}),
        json.dumps({"columns": [{"name": "x" * 1_000_000, "kind": "text"}] * 3}),
        json.dumps({"columns": [{"name": 'a"; DROP TABLE bike; --', "kind": "text"}] * 3}),
        json.dumps({"columns": [{"name": "tіtle", "kind": "text"}] * 3}),  # a Cyrillic letter
        json.dumps({"columns": [{"name": "title", "kind": "text"}] * 5}),
        json.dumps({"columns": [{"name": "status", "kind": "choice", "values": []}, *COLUMNS["columns"][:1]] * 2}),
        json.dumps({"columns": [{"name": "bike_id", "kind": "reference", "refers_to": "moon"}] * 3}),
    ],
)
def test_hostile_tables_are_refused_and_kept_and_the_stage_fails_saying_so(text: str) -> None:
    llm = answer_with(text)
    with pytest.raises(StageFailed, match="stage columns"):
        propose_tables(BRIEF, "bikes", llm)
    attempts = [request for request in llm.requests if "Table bike" in request.messages[1].content]
    assert len(attempts) == 3, "one question and two repairs"
    assert "cannot be used" in attempts[-1].messages[-1].content


def test_one_bad_answer_is_repaired_and_its_rejection_stored() -> None:
    def answer(request: ChatRequest) -> str:
        return json.dumps(COLUMNS) if len(request.messages) > 2 else "{"

    schema, rejections, used = propose_tables(BRIEF, "bikes", Scripted(answer))
    assert [table.name for table in schema.tables] == ["rider", "bike"]
    assert {rejection.reason for rejection in rejections} == {"schema"}
    assert all(rejection.made_from and rejection.subject["answer"] == "{" for rejection in rejections)  # type: ignore[index,call-overload]
    assert len(used) == 2


def test_an_entity_that_never_parses_is_dropped_and_the_run_goes_on() -> None:
    def answer(request: ChatRequest) -> str:
        return "nonsense" if "Table rider" in request.messages[1].content else json.dumps(COLUMNS)

    schema, rejections, _ = propose_tables(BRIEF, "bikes", Scripted(answer))
    assert [table.name for table in schema.tables] == ["bike"]
    assert len(rejections) == 3


def test_references_never_form_a_cycle() -> None:
    def answer(request: ChatRequest) -> str:
        other = "bike" if "Table rider" in request.messages[1].content else "rider"
        reference = {"name": f"{other}_id", "kind": "reference"}
        return json.dumps({"columns": [reference, *COLUMNS["columns"]]})

    schema, _, _ = propose_tables(BRIEF, "bikes", Scripted(answer))
    assert {(t.name, c.references) for t in schema.tables for c in t.columns if c.references} == {("bike", "rider")}


def test_a_model_that_is_all_nonsense_never_yields_an_environment() -> None:
    with pytest.raises(StageFailed, match=r"stronger synthesist|say more"):
        synthesise(BRIEF, "bikes", answer_with("As an AI, I cannot"))


def test_entities_left_open_are_proposed_and_refer_only_backwards() -> None:
    def answer(request: ChatRequest) -> str:
        if request.template == "entities":
            names = ("riders", "bike", "booking", "repair")
            return json.dumps({"entities": [{"name": name, "description": f"A {name}."} for name in names]})
        earlier = request.messages[1].content.split("Other tables: ")[-1].strip(".\n ").split(", ")
        references = [{"name": f"{name}_id", "kind": "reference"} for name in earlier if name != "none"]
        return json.dumps({"columns": [*references, *COLUMNS["columns"]][:7]})

    brief = BRIEF.model_copy(update={"entities": {}})
    schema, _, used = propose_tables(brief, "bikes", Scripted(answer))
    assert [table.name for table in schema.tables] == ["rider", "bike", "booking", "repair"]
    assert [c.references for c in schema.tables[2].columns if c.references] == ["rider", "bike"]
    assert len(used) == 5


def test_a_correction_is_kept_as_a_rejection_of_its_call_and_asks_nothing_again() -> None:
    actions = [{"verb": "repair", "allowed_from": ["free", "rented"], "becomes": "broken"}]
    answer = json.dumps({"actions": actions, "editable_while": ["free"]})
    llm = answer_with(answer)
    brief = BRIEF.model_copy(update={"rules": ("A rented bike can be reported broken.",)})
    schema, _, _ = propose_tables(brief, "bikes", Scripted(lambda _: json.dumps(COLUMNS)))
    lifecycles, rejections, used = propose_lifecycles(brief, schema, "bikes", llm)
    assert [step.sources for step in lifecycles["bike"].transitions] == [("rented",)]
    [contradiction] = [r for r in rejections if r.reason == "contradicts_a_rule"]
    assert "“A rented bike can be reported broken”" in contradiction.detail
    assert contradiction.made_from[0] in used and len(llm.requests) == 2, "one question a table, no repair"


@pytest.mark.parametrize("fenced", ["```json\n{}\n```", "```\n{}\n```", "\n```json\n{}```\n"])
def test_json_in_a_fence_is_read(fenced: str) -> None:
    schema, rejections, _ = propose_tables(BRIEF, "bikes", answer_with(fenced.replace("{}", json.dumps(COLUMNS))))
    assert [table.name for table in schema.tables] == ["rider", "bike"] and not rejections


@pytest.mark.parametrize(
    ("text", "finish_reason", "remedy"),
    [
        ("<think>They want columns.", "length", "only thinks.*extra_tokens"),
        ("<think>They want columns.</think>", "stop", "only thinks.*extra_tokens"),
        ('{"columns": [{"name": "title", "ki', "length", "cut at their bound.*extra_tokens"),
        ("I cannot help with that.", "refusal", "refuses: reword the brief"),
        ('{"columns": [{', "content_filter", "content filter"),
        ("I like bikes.", "stop", "stronger synthesist"),
        (json.dumps({"columns": []}), "length", "cut"),
    ],
)
def test_the_remedy_fits_the_cause(text: str, finish_reason: str, remedy: str) -> None:
    with pytest.raises(StageFailed, match=remedy):
        propose_tables(BRIEF, "bikes", Scripted(lambda _: text, finish_reason))


def test_a_repair_shows_the_model_its_answer_without_the_thinking() -> None:
    llm = answer_with("<think>They want columns.</think>I like bikes.")
    with pytest.raises(StageFailed):
        propose_tables(BRIEF, "bikes", llm)
    assert {request.messages[2].content for request in llm.requests if len(request.messages) > 2} == {"I like bikes."}
    silent = answer_with("<think>They want columns.</think>")
    with pytest.raises(StageFailed):
        propose_tables(BRIEF, "bikes", silent)
    assert all(message.content.strip() for request in silent.requests for message in request.messages)


def test_an_answer_of_a_megabyte_is_not_read_and_not_repeated() -> None:
    llm = answer_with(json.dumps({"columns": [{"name": "title", "kind": "x" * 1_000_000}] * 3}))
    with pytest.raises(StageFailed, match="too_long") as failed:
        propose_tables(BRIEF, "bikes", llm)
    assert all(len(rejection.canonical()) < 20_000 for rejection in failed.value.rejections)
    assert all(len(message.content) < 5_000 for request in llm.requests for message in request.messages)
