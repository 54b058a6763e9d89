"""The object that was asked for is read out of whatever a model wraps it in, exactly or not at all."""

import json

import pytest
from pydantic import BaseModel

from generators.reading import Unreadable, read_object


class Shop(BaseModel):
    title: str
    city: str = "Bern"
    floors: int | None = None


class Names(BaseModel):
    names: list[str]


SHOP = Shop(title="Boats </think> {and} ```more```")
TEXT = SHOP.model_dump_json()
OTHER = '{"title": "Other"}'


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f"\ufeff{TEXT}",
        f"\n {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```json {TEXT} ```",
        f"```JSON\n{TEXT}```",
        f"~~~\n{TEXT}\n~~~",
        f"```json\n{TEXT}",
        f"Here it is:\n```json\n{TEXT}\n```\nAnything else?",
        f"Here it is: {TEXT}",
        f"{TEXT}\n\nI hope that helps {{you}}.",
        f"Braces {{like these}} are none: {TEXT}",
        f"For example {OTHER}. Now:\n```json\n{TEXT}\n```",
        f"{TEXT} and once more {TEXT}",
        f"<think>\nThey want JSON.\n</think>\n\n{TEXT}",
        f"<think>Perhaps {OTHER}? No.</think>{TEXT}",
        f"<think>{TEXT[:20]}</think>{TEXT}",
        f"Perhaps {OTHER}? No. {TEXT[:9]}\n</think>\n{TEXT}",
        f"<think></think>{TEXT}",
        f"<THINKING>hm</THINKING>```json\n{TEXT}\n```",
        f"<reasoning>hm</reasoning>{TEXT}",
        f"[THINK]Perhaps {OTHER}[/THINK]{TEXT}",
        f"◁think▷hm◁/think▷{TEXT}",
        f"<think>one</think><think>{OTHER}</think>{TEXT}",
        f"<|channel|>analysis<|message|>{OTHER}<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}<|return|>",
        f"<|channel|>analysis<|message|>{OTHER}<|end|><|channel|>final <|constrain|>json<|message|>{TEXT}",
        f"<|channel|>commentary to=x <|constrain|>json<|message|>{OTHER}<|call|><|channel|>final<|message|>{TEXT}",
        f"analysisPerhaps {OTHER}assistantfinal{TEXT}",
        f"<|START_THINKING|>{OTHER}<|END_THINKING|><|START_RESPONSE|>{TEXT}<|END_RESPONSE|>",
        f"<|begin_of_thought|>{OTHER}<|end_of_thought|>\n<|begin_of_solution|>{TEXT}<|end_of_solution|>",
        f"<|channel>thought\n{OTHER}<channel|>{TEXT}",
        f"<unused94>thought\n{OTHER}<unused95>{TEXT}",
        f"<mm:think>{OTHER}</mm:think>{TEXT}<|im_end|>",
        f'<think type="long">{OTHER}</think >{TEXT}',
        f"[{TEXT}]",
    ],
)
def test_an_answer_is_read_out_of_what_stands_around_it(answer: str) -> None:
    assert read_object(Shop, answer) == SHOP


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "schema"),
        ("As an AI, I cannot.", "schema"),
        (f"{TEXT}\n{OTHER}", "ambiguous"),
        (f"```json\n{TEXT}\n```\nor\n```json\n{OTHER}\n```", "ambiguous"),
        ('{"city": "Bern"}', "schema"),
        (f"Look: {TEXT[:-5]}", "schema"),
        ('{"title": "a",}', "schema"),
        ("{'title': 'a'}", "schema"),
        (f'{{"shop": {TEXT}}}', "schema"),
        (f"[{TEXT}, {OTHER}]", "ambiguous"),
        ("<think>Hm.</think>", "thinking_only"),
        ("<think>Hm.", "thinking_only"),
        (f"<think>Perhaps {OTHER}? Or else", "thinking_only"),
        (f"{TEXT}</think>", "schema"),
        (json.dumps({"title": "x" * 9000}), "too_long"),
        (f"<think>hm</think>{json.dumps({'title': 'x' * 9000})}", "too_long"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_with_its_reason(answer: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_object(Shop, answer)
    assert refused.value.reason == reason


def test_thinking_that_is_never_closed_may_end_with_the_answer() -> None:
    assert read_object(Shop, f"<think>I shall answer now.\n{OTHER}") == Shop(title="Other")


def test_drafts_in_thinking_that_was_cut_are_no_answer() -> None:
    with pytest.raises(Unreadable, match="thinking alone"):
        read_object(Shop, f"<think>Perhaps {OTHER}", cut=True)


def test_thinking_may_be_longer_than_an_answer() -> None:
    assert read_object(Shop, f"<think>{'hm ' * 10_000}</think>{TEXT}") == SHOP


@pytest.mark.parametrize("before", ["", "```json\n", "<think>hm</think>", "Here: "])
def test_the_finished_part_of_a_list_is_read_wherever_it_stands(before: str) -> None:
    assert read_object(Names, f'{before}{{"names": ["a", "b"', partial=True).names == ["a", "b"]
    with pytest.raises(Unreadable):
        read_object(Names, f'{before}{{"names": ["a", "b"')


def test_null_is_the_default_of_what_may_be_left_out() -> None:
    assert read_object(Shop, '{"title": "a", "city": null, "floors": null}') == Shop(title="a")
    with pytest.raises(Unreadable, match="title: Input should be a valid string"):
        read_object(Shop, '{"title": null}')


def test_a_hostile_answer_is_read_in_time() -> None:
    for text in ("{" * 200_000, "<think>" * 50_000, '{"' * 100_000, "[" * 200_000, "{ }" * 60_000):
        with pytest.raises(Unreadable):
            read_object(Shop, text)
