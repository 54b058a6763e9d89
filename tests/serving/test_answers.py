"""Answers are checked before they are used: an odd one is tried again or named, never believed."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from serving.answers import answer_object, chat_answer, completion_answer, model_names, scores
from serving.client import Client
from serving.endpoint import ChatAnswer, Completion, CompletionRequest, Endpoint
from serving.errors import EndpointError
from tests.serving.odd import Reply, chat, replying, sampled, without
from tests.serving.provider import request

PROMPT = CompletionRequest(prompt_ids=(1, 2), max_tokens=4, seed=0, stop_token_ids=(9,))
PAGE = Reply("<html>Sign in</html>", headers={"Content-Type": "text/html"})
HALF = Reply(json.dumps(chat())[:40])
BROKEN = {
    "half": HALF,
    "empty body": Reply(""),
    "page": PAGE,
    "page with 502": Reply("<html>Bad gateway</html>", 502, {"Content-Type": "text/html"}),
    "null": Reply("null"),
    "list": Reply("[]"),
    "number": Reply("7"),
    "deep": Reply("[" * 100_000),
    "no text": Reply(b"\xff\xfe\x00"),
    "error with 200": Reply({"error": {"message": "overloaded", "code": 503}}),
    "no choices": Reply({"choices": []}),
    "null choices": Reply({"choices": None}),
    "choices of null": Reply({"choices": [None]}),
    "choices of text": Reply({"choices": "none"}),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.patience._SHORTEST_S", 0.001)


@pytest.fixture(params=BROKEN.values(), ids=BROKEN.keys())
def broken(request: pytest.FixtureRequest) -> Iterator[Reply]:
    return request.param


def ask(endpoint: Endpoint, **settings: Any) -> ChatAnswer:
    async def chat() -> ChatAnswer:
        async with Client(endpoint, timeout_s=10, **settings) as client:
            return await client.chat(request("hello"))

    return asyncio.run(chat())


def sample(endpoint: Endpoint, **settings: Any) -> Completion:
    async def complete() -> Completion:
        async with Client(endpoint, timeout_s=10, **settings) as client:
            return await client.complete(PROMPT)

    return asyncio.run(complete())


def read(reply: dict[str, Any]) -> ChatAnswer:
    return chat_answer(answer_object(json.dumps(reply).encode(), "chat completion"), "m", seconds=0.0)


def read_tokens(reply: dict[str, Any], vocabulary: int | None = 10) -> Completion:
    return completion_answer(
        answer_object(json.dumps(reply).encode(), "completion"), PROMPT, "m", vocabulary, seconds=0.0
    )


def test_a_broken_answer_is_asked_again(broken: Reply) -> None:
    with replying(broken, Reply(chat())) as (endpoint, bodies):
        assert ask(endpoint).text == "fine"
    assert len(bodies) == 2 and bodies[0] == bodies[1]


def test_an_endpoint_that_stays_broken_is_named_for_every_kind_of_question(broken: Reply) -> None:
    async def everything(endpoint: Endpoint) -> list[object]:
        async with Client(endpoint, timeout_s=10, retries=1) as client:
            asking = client.chat(request("hello")), client.complete(PROMPT), client.score([1], [2]), client.models()
            return list(await asyncio.gather(*asking, return_exceptions=True))

    with replying(broken) as (endpoint, _):
        errors = asyncio.run(everything(endpoint))
    assert [type(error) for error in errors] == [EndpointError] * 4
    assert all(endpoint.base_url in str(error) and len(str(error)) < 600 for error in errors)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (without(chat(), "choices", 0, "message"), "no chat completion"),
        (chat(None), "the answer is empty"),
        (chat(""), "the answer is empty"),
        (chat("  \n"), "the answer is empty"),
        (chat([]), "the answer is empty"),
        (chat(7), "the answer is empty"),
        (chat(None, reasoning_content="They want…"), r"reasoning \(`reasoning_content`\)"),
        (chat("", "length", reasoning="They want…"), "extra_tokens"),
        (chat([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), r"reasoning \(`thinking`\)"),
        (chat(None, tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]), "calls a tool"),
        (chat(None, "content_filter"), "content filter"),
        (chat("", "length"), "extra_tokens"),
        (chat("\ud800"), "UTF-16"),
        (chat("x" * 1_000_001), "1000001 characters"),
    ],
)
def test_an_answer_without_words_is_none_and_is_called_what_it_is(reply: dict[str, Any], words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        read(reply)


def test_thinking_that_was_cut_is_not_paid_for_twice() -> None:
    with replying(Reply(chat(None, "length", reasoning_content="…"))) as (endpoint, bodies):
        with pytest.raises(EndpointError, match="extra_tokens"):
            ask(endpoint)
        assert len(bodies) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>no</think> yes", "<think>no</think> yes"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "output_text", "text": "b"}, "c", None], "bc"),
        ({"title": "é"}, '{"title": "é"}'),
    ],
    ids=["as sent", "parts", "parts with thinking", "parsed already"],
)
def test_the_text_of_an_answer_is_kept_as_it_was_sent(content: object, text: str) -> None:
    assert read(chat(content)).text == text


def test_a_refusal_in_words_is_an_answer() -> None:
    answer = read(chat(None, refusal="I cannot."))
    assert (answer.text, answer.finish_reason) == ("I cannot.", "refusal")


@pytest.mark.parametrize("choice", [{"error": {"message": "it died"}}, {"finish_reason": "error"}])
def test_half_an_answer_with_an_error_is_none(choice: dict[str, Any]) -> None:
    reply = chat("half an ans")
    reply["choices"][0] |= choice
    with pytest.raises(EndpointError, match="ended with an error"):
        read(reply)


def test_a_text_that_no_database_stores_is_none() -> None:
    with pytest.raises(EndpointError, match="NUL"):
        read(chat("half\0"))


@pytest.mark.parametrize("reason", [None, 7, ""])
def test_a_missing_finish_reason_is_unknown(reason: object) -> None:
    assert read(chat(finish_reason=reason)).finish_reason == "unknown"


def test_a_byte_order_mark_is_no_part_of_an_answer() -> None:
    with replying(Reply(b"\xef\xbb\xbf" + json.dumps(chat()).encode())) as (endpoint, _):
        assert ask(endpoint).text == "fine"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -5, "completion_tokens": "many"},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": True, "completion_tokens": 2.5},
        {"prompt_tokens": 2**40, "completion_tokens": 10**30},
    ],
)
def test_tokens_that_are_not_told_are_unknown_and_not_zero(usage: object) -> None:
    answer = read(chat() | {"usage": usage})
    assert (answer.prompt_tokens, answer.completion_tokens) == (None, None)


@pytest.mark.parametrize(("model", "kept"), [("m", None), ("m-2026-01-31", "m-2026-01-31"), (None, None), (7, None)])
def test_the_name_that_answers_is_kept_where_it_is_another(model: object, kept: str | None) -> None:
    assert read(chat() | {"model": model}).answered_by == kept


# -- tokens for training ---------------------------------------------------------------------------------------


def test_a_good_completion_is_taken_as_it_is() -> None:
    good = sampled(2, finish_reason="stop", token_ids=[7, 9], stop_reason=9)
    completion = read_tokens(good)
    assert completion.token_ids == (7, 9) and completion.logprobs == (-0.5, -0.5)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (sampled(token_ids=None, logprobs=None), "0 token ids"),
        (sampled(token_ids=[], logprobs={"token_logprobs": []}), "0 token ids"),
        (sampled(token_ids="777"), "0 token ids"),
        (sampled(logprobs=None), "0 log-probabilities"),
        (sampled(logprobs=[-1, -1, -1]), "0 log-probabilities"),
        (sampled(logprobs={"token_logprobs": 3}), "0 log-probabilities"),
        (sampled(token_ids=[7, 7]), "2 token ids and 3"),
        (sampled(5), "5 tokens where at most 4"),
        (sampled(token_ids=[7, 7, -1]), "token id -1"),
        (sampled(token_ids=[7, 7, 10]), "token id 10"),
        (sampled(token_ids=[7, 7, 10**9]), "token id 1000000000"),
        (sampled(token_ids=[7, 7, "8"]), "token id 8"),
        (sampled(token_ids=[7, 7, True]), "token id true"),
        (sampled(token_ids=[7, 7, 1.0]), r"token id 1\.0"),
        (sampled(logprobs={"token_logprobs": [-1, -1, float("nan")]}), "NaN"),
        (sampled(logprobs={"token_logprobs": [-1, -1, float("-inf")]}), "-Infinity"),
        (sampled(logprobs={"token_logprobs": [-1, -1, 0.5]}), r"0\.5"),
        (sampled(logprobs={"token_logprobs": [-1, -1, None]}), "null"),
        (sampled(logprobs={"token_logprobs": [-1, -1, -(10**400)]}), "log-probability"),
        (sampled(finish_reason=None), "unknown"),
        (sampled(finish_reason="content_filter"), "content_filter"),
        (sampled(finish_reason="stop", stop_reason=9), "stopped at token 9"),
        (sampled() | {"model": "base"}, "(?s)m was asked and base answered"),
        (without(sampled(), "model"), "m was asked and null answered"),
    ],
)
def test_a_completion_that_training_cannot_use_is_an_error(reply: dict[str, Any], words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        read_tokens(reply)


def test_a_completion_that_is_odd_once_is_sampled_again() -> None:
    with replying(Reply(sampled(token_ids=[10, 7, 7])), Reply(sampled())) as (endpoint, _):
        assert sample(endpoint, vocabulary=10).token_ids == (7, 7, 7)


@pytest.mark.parametrize(
    "positions",
    [
        None,
        [None],
        [None, None],
        [None, {}],
        [None, {"2": {}}],
        [None, {"2": {"logprob": "x"}}],
        [None, {"2": {"logprob": float("nan")}}],
        [None, {"3": {"logprob": -1.0}}],
    ],
)
def test_scores_are_checked_too(positions: object) -> None:
    with pytest.raises(EndpointError, match="log-probabilit"):
        scores(sampled(prompt_logprobs=positions), [1, 2], 1, "m")


@pytest.mark.parametrize("models", [None, "m", ["m"], [{}], [{"id": 7}]])
def test_a_list_of_models_is_one_or_an_error(models: object) -> None:
    with pytest.raises(EndpointError, match="no list of models"):
        model_names({"data": models})


def test_a_key_that_the_endpoint_repeats_is_in_no_error() -> None:
    with replying(Reply({"error": {"message": "bad key secret-7"}}, 401)) as (endpoint, _):
        with pytest.raises(EndpointError, match=r"bad key \*\*\*") as error:
            ask(endpoint.model_copy(update={"api_key": "secret-7"}))
        assert "secret-7" not in str(error.value)
