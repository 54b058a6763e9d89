"""Texts of no tool: what is accepted of a model's answer, and what stands in for the rest."""

import json

import pytest

from envs.task import Preference
from generators import evolutions, preferences, scenarios
from generators.stage import Refused
from generators.texts import TextAsk, accept_texts, propose_texts
from generators.wording import ASKS
from tests.generators.scripted import Scripted

BY_PURPOSE = {ask.purpose: ask for ask in ASKS}


@pytest.mark.parametrize(
    ("purpose", "text", "reason"),
    [
        ("constraint", "Do this only if {condition}, and tell me.", "placeholders"),
        ("constraint", "Do this only if {condition}, tell me {field}, or {other}, in any case.", "placeholders"),
        ("constraint", "If {condition}, do this and tell me the {field}.", "other_meaning"),
        ("constraint", "Do this only if {condition}, and tell me the {field}.", "other_meaning"),
        ("constraint", "Do not do this only if {condition}, tell me the {field} anyway.", "other_meaning"),
        ("distractor", "Please cancel {other}, and leave it.", "other_meaning"),
        ("distractor", "Please have a look at {other} now.", "other_meaning"),
        ("prefer_low_cost", "Please be cheap, I am in a hurry.", "other_meaning"),
        ("prefer_low_cost", "Please be kind and do it well.", "other_meaning"),
        ("prefer_speed", "I am in a hurry. Thank you.", "not_one_sentence"),
        ("prefer_speed", "I am in a hurry, 5 minutes at most.", "not_plain"),
        ("prefer_speed", "I am in a hurry " + "and in a hurry " * 6, "length"),
        ("prefer_tool", "Please never use {tool} for this.", "other_meaning"),
        ("persona", "the quickest answer of all", "beginning"),
        ("persona", "a quick reply to my question", "other_meaning"),
    ],
)
def test_a_text_that_says_something_else_is_refused(purpose: str, text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        accept_texts(BY_PURPOSE[purpose], [text])
    assert refused.value.reason == reason


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.purpose)
def test_our_own_texts_pass_what_the_model_must_pass(ask: TextAsk) -> None:
    assert accept_texts(ask, ask.plainly).value == ask.plainly


def test_good_texts_of_a_bad_answer_are_used_and_ours_stand_beside_them() -> None:
    ask = BY_PURPOSE["persona"]
    llm = Scripted(lambda _: json.dumps({"texts": ["a impatient customer who sighs", "an answer to my mail"]}))
    found, refused = propose_texts([ask], "club", 1, llm)
    assert found["persona"].texts == ("an impatient customer who sighs", *ask.plainly)
    assert found["persona"].call_id is not None
    [left_out] = refused
    assert left_out.reason == "other_meaning"
    assert left_out.subject["kept"]
    assert left_out.made_from == (found["persona"].call_id,)


def test_a_purpose_without_words_is_worded_by_rule_and_reported() -> None:
    llm = Scripted(lambda _: json.dumps({"texts": ["nonsense without end", "more of it"]}))
    found, refused = propose_texts(ASKS, "club", 1, llm)
    assert {name: texts.texts for name, texts in found.items()} == {ask.purpose: ask.plainly for ask in ASKS}
    assert sum(rejection.reason == "worded_plainly" for rejection in refused) == len(ASKS)
    assert all(texts.call_id is None for texts in found.values())


def test_a_preference_means_what_it_says_and_a_part_is_held_out() -> None:
    import random

    texts, _ = propose_texts(ASKS, "club", 1, Scripted(lambda _: "{}"))
    drawn = [preferences.draw(random.Random(n), texts, ("get_order", "set_city"))[0] for n in range(600)]
    wanted = [preference for preference in drawn if preference.text]
    assert 0.3 < len(wanted) / len(drawn) < 0.7
    meant = {
        "cost low": Preference(cost=0.5),
        "in a hurry": Preference(latency=0.5),
        "cheap and quick": Preference(cost=0.3, latency=0.3),
        "no mistakes": Preference(),
    }
    for words, vector in meant.items():
        said = [preference for preference in wanted if words in preference.text]
        assert said
        assert all(
            (p.accuracy, p.cost, p.latency, p.tools) == (vector.accuracy, vector.cost, vector.latency, {}) for p in said
        )
    by_tool = [preference for preference in wanted if preference.tools]
    assert by_tool
    assert all(next(iter(preference.tools)) in preference.text for preference in by_tool)
    kept = {preference.text for preference in wanted if preference.held_out}
    assert not kept & {preference.text for preference in wanted if not preference.held_out}


def test_all_purposes_are_asked_for() -> None:
    asked = {*(ask.purpose for ask in evolutions.ASKS), scenarios.PERSONAS.purpose}
    assert asked <= set(BY_PURPOSE)
