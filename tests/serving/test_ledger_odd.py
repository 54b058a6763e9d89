"""The ledger keeps answers and nothing else: unknown stays unknown, an empty answer is asked again."""

import asyncio
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from serving.batch import import_answers
from serving.budget import Budget
from serving.endpoint import LlmCall, Price, ServedModel
from serving.errors import AnswersPending, BudgetExceeded, EndpointBusy, EndpointError
from serving.ledger import Ledger
from serving.store import CallStore
from tests.serving.odd import Reply, chat, replying
from tests.serving.provider import MODEL, request

PRICE = Price(input_usd_per_mtok=1e6, output_usd_per_mtok=1e6)
QUESTIONS = [request(f"question {i}") for i in range(40)]
UNCOUNTED = Reply(chat("x" * 400) | {"usage": None})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.patience._SHORTEST_S", 0.001)


def call(text: str, tokens: int | None = 5) -> LlmCall:
    return LlmCall(
        model=MODEL,
        request=QUESTIONS[0],
        text=text,
        finish_reason="stop",
        prompt_tokens=tokens,
        completion_tokens=tokens,
        seconds=0.0,
        price=PRICE,
    )


def test_calls_without_usage_have_no_tokens_and_no_cost_rather_than_none(tmp_path: Path) -> None:
    with replying(UNCOUNTED) as (endpoint, _):
        [answer] = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint, PRICE)).ask_many(QUESTIONS[:1])
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cost_usd) == (None, None, None)
    assert Ledger(tmp_path / "l.sqlite", MODEL).calls([answer.id]) == [answer]


@pytest.mark.parametrize("budget", [Budget(max_tokens=250), Budget(max_usd=250)], ids=["tokens", "usd"])
def test_bounds_hold_by_estimate_where_nothing_is_counted(tmp_path: Path, budget: Budget) -> None:
    with replying(UNCOUNTED) as (endpoint, bodies):
        ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint, PRICE), budget=budget, concurrency=1)
        with pytest.raises(BudgetExceeded, match="3 answers had no usage; their tokens are estimated"):
            ledger.ask_many(QUESTIONS)
        assert len(bodies) == 3


def test_an_empty_answer_is_not_stored_and_the_others_are(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        return Reply(chat("" if body["messages"][-1]["content"].endswith(" 2") else "fine"))

    with replying(reply) as (endpoint, bodies):
        ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint))
        with pytest.raises(EndpointError, match="the answer is empty"):
            ledger.ask_many(QUESTIONS[:4])
        assert len(bodies) == 3 + 4, "an empty answer is tried again, and only it"
    with replying(Reply(chat())) as (endpoint, bodies):
        answers = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint)).ask_many(QUESTIONS[:4])
        assert len(bodies) == 1 and {answer.text for answer in answers} == {"fine"}


def test_an_empty_answer_of_an_older_ledger_is_asked_again_and_a_recorded_one_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    CallStore(path).add([call("")])
    assert Ledger(path, MODEL, "replay").ask_many(QUESTIONS[:1])[0].text == ""
    with pytest.raises(AnswersPending):
        Ledger(path, MODEL, "batch").ask_many(QUESTIONS[:1])
    CallStore(path).add([call("")])
    with replying(Reply(chat())) as (endpoint, _):
        assert Ledger(path, ServedModel(MODEL, endpoint)).ask_many(QUESTIONS[:1])[0].text == "fine"


def test_the_model_that_answered_is_kept_where_it_is_another(tmp_path: Path) -> None:
    with replying(Reply(chat() | {"model": "m-2026-01-31"}), Reply(chat())) as (endpoint, _):
        ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint), concurrency=1)
        dated, asked = ledger.ask_many(QUESTIONS[:2])
    assert (dated.answered_by, asked.answered_by) == ("m-2026-01-31", None)
    assert "answered_by" not in json.loads(asked.canonical())


def test_a_busy_endpoint_ends_the_run_instead_of_being_asked_everything(tmp_path: Path) -> None:
    with replying(Reply({}, 429, {"Retry-After": "3600"})) as (endpoint, bodies):
        ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, endpoint), concurrency=1)
        with pytest.raises(EndpointBusy, match="3600 s"):
            ledger.ask_many(QUESTIONS)
        assert len(bodies) == 1


def test_an_older_ledger_takes_unknown_tokens_and_its_zeros_become_unknown(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    CallStore(path).add([call("A", tokens=0)])
    with sqlite3.connect(path) as db:
        [(table,)] = db.execute("SELECT sql FROM sqlite_master WHERE name = 'calls'").fetchall()
        db.execute("ALTER TABLE calls RENAME TO moved")
        db.execute(table.replace("_tokens INTEGER", "_tokens INTEGER NOT NULL"))
        db.execute("INSERT INTO calls SELECT * FROM moved")
        db.execute("DROP TABLE moved")
    [older] = CallStore(path).calls([call("A").id])
    assert (older.text, older.prompt_tokens, older.cost_usd) == ("A", None, None)
    other = call("B", tokens=None).model_copy(update={"request": QUESTIONS[1]})
    assert CallStore(path).add([other]) == [other]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (chat(""), "the answer is empty"),
        (chat(None, reasoning_content="…"), "reasoning"),
        ({"choices": [{}]}, "no chat completion"),
    ],
)
def test_a_batch_brings_no_empty_answer_either(tmp_path: Path, answer: dict[str, Any], reason: str) -> None:
    path = tmp_path / "l.sqlite"
    with pytest.raises(AnswersPending):
        Ledger(path, ServedModel(MODEL, name="m"), "batch").ask_many(QUESTIONS[:1])
    line = {"custom_id": call("").id, "response": {"status_code": 200, "body": answer}}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
    result = import_answers(CallStore(path), tmp_path / "answers.jsonl")
    assert result.stored == 0 and reason in result.refused[call("").id]


def test_an_interrupt_ends_the_wait_also_where_a_loop_runs_already(tmp_path: Path) -> None:
    def interrupting(_: dict[str, Any]) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return Reply(drips=True)

    with replying(interrupting) as (endpoint, _):
        ledger = Ledger(tmp_path / "l.sqlite", ServedModel("m", endpoint=endpoint, name="m"))

        async def notebook() -> None:
            ledger.ask_many([request("Hello?")])

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(notebook())
