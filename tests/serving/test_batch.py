"""Questions leave as an OpenAI batch file, are answered elsewhere, and come back without one being lost or confused."""

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from serving.batch import BatchFile, import_answers
from serving.budget import Budget
from serving.endpoint import ChatRequest, Message, Price, ServedModel
from serving.errors import AnswersPending, BudgetExceeded, LedgerConflict
from serving.flags import run_batch_command
from serving.ledger import Ledger
from serving.models import ResolvedModel
from serving.request_format import VLLM
from serving.store import CallStore
from serving.vllm import VllmConfig
from tests.serving.provider import MODEL, Provider, completion, request

QUESTIONS = [request(f"question {i}") for i in range(3)]
SERVED = ServedModel(MODEL, name="m", batch_command="answer {requests} {answers}")


def batch_of(ledger: Ledger, questions: list[ChatRequest]) -> BatchFile:
    with pytest.raises(AnswersPending) as pending:
        ledger.ask_many(questions)
    (batch,) = pending.value.batches
    return batch


def lines_of(batch: BatchFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in batch.requests.read_text(encoding="utf-8").splitlines()]


def answer_line(line: dict[str, Any], text: str) -> dict[str, Any]:
    response = {"status_code": 200, "request_id": "r", "body": completion(text)}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
    return path


def test_a_stage_waits_for_its_answers_and_goes_on_when_they_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), [*QUESTIONS, QUESTIONS[0]])
    assert batch.count == 3
    said = batch.says()
    assert f"answer {batch.requests} {batch.answers}" in said and f"answers import {batch.answers}" in said
    # Answers come in any order, with line separators that are none in JSON.
    write(batch.answers, [answer_line(line, f"{line['custom_id']}\u2028") for line in reversed(lines_of(batch))])
    found = import_answers(CallStore(path), batch.answers)
    assert (found.stored, found.refused, found.unknown) == (3, {}, [])
    calls = Ledger(path, SERVED, "batch").ask_many(QUESTIONS)
    assert [call.text for call in calls] == [f"{call.id}\u2028" for call in calls]
    again = import_answers(CallStore(path), batch.answers)
    assert (again.stored, again.already_stored) == (0, 3)


class Shop(BaseModel):
    """Its properties are not in alphabetical order, and have to be written in this one."""

    title: str = Field(max_length=12)
    city: str


def test_a_batch_asks_what_a_live_run_asks_down_to_the_order_of_properties(tmp_path: Path, provider: Provider) -> None:
    question = request("a shop").model_copy(update={"response_schema": Shop.model_json_schema(), "seed": 7})
    Ledger(tmp_path / "live.sqlite", ServedModel(MODEL, provider.endpoint)).ask_many([question])
    (line,) = lines_of(batch_of(Ledger(tmp_path / "l.sqlite", SERVED, "batch"), [question]))
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"] == provider.bodies[0]
    schema = line["body"]["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["title", "city"]
    assert line["body"]["seed"] == 7


def test_refused_and_unknown_lines_are_named_and_the_rest_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS)
    good, provider_error, vllm_error = lines_of(batch)
    told = [
        answer_line(good, "yes"),
        # A provider's error file, and what vLLM 0.32 writes for a request it refuses.
        {
            "custom_id": provider_error["custom_id"],
            "response": {"status_code": 400, "body": {"error": {"message": "schema too deep"}}},
            "error": None,
        },
        {
            "custom_id": vllm_error["custom_id"],
            "response": {"status_code": 400, "request_id": "r", "body": None},
            "error": {"error": {"message": "prompt too long", "code": 400}},
        },
        {"custom_id": "f" * 32, "response": {"status_code": 200, "body": completion("?")}, "error": None},
    ]
    found = import_answers(CallStore(path), write(batch.answers, told))
    assert found.stored == 1
    assert found.unknown == ["f" * 32]
    assert found.refused == {
        provider_error["custom_id"]: "domain/tables: schema too deep (status 400)",
        vllm_error["custom_id"]: "domain/tables: prompt too long (status 400)",
    }
    left = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS)
    assert {line["custom_id"] for line in lines_of(left)} == set(found.refused)
    assert left.requests != batch.requests
    assert "Some were refused before: " in left.says() and "(status 400)" in left.says()


def test_an_answer_that_is_no_completion_is_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS[:1])
    (line,) = lines_of(batch)
    told = {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": {"choices": "none"}}}
    found = import_answers(CallStore(path), write(batch.answers, [told]))
    assert "no chat completion" in found.refused[line["custom_id"]]


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 502, "body": "upstream is gone"},
        {"status_code": 200, "body": "data: {}"},
        {"status_code": None, "body": None},
        {"status_code": 200, "body": completion("half of a pair: \ud800")},
    ],
    ids=["text", "events", "nothing", "no Unicode"],
)
def test_one_odd_line_is_refused_and_the_rest_is_stored(tmp_path: Path, response: dict[str, Any]) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS)
    first, *others = lines_of(batch)
    answers = [{"custom_id": first["custom_id"], "response": response}, *(answer_line(line, "yes") for line in others)]
    batch.answers.write_text("\n".join(map(json.dumps, answers)))
    imported = import_answers(CallStore(path), batch.answers)
    assert (imported.stored, list(imported.refused)) == (len(others), [first["custom_id"]])


def test_a_byte_order_mark_is_no_part_of_a_file_and_packed_bytes_are_none(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS)
    content = write(batch.answers, [answer_line(line, "yes") for line in lines_of(batch)]).read_bytes()
    for unreadable in (gzip.compress(content), content.decode().encode("utf-16")):
        batch.answers.write_bytes(unreadable)
        with pytest.raises(LedgerConflict, match="no text in UTF-8"):
            import_answers(CallStore(path), batch.answers)
    batch.answers.write_bytes(b"\xef\xbb\xbf" + content)
    assert import_answers(CallStore(path), batch.answers).stored == len(QUESTIONS)


def test_a_file_cut_off_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    batch = batch_of(Ledger(path, SERVED, "batch"), QUESTIONS)
    complete = write(batch.answers, [answer_line(line, "yes") for line in lines_of(batch)]).read_text()
    batch.answers.write_text(complete[:-40])
    with pytest.raises(LedgerConflict, match=r"answers\.jsonl:3 is no line of a batch's answers"):
        import_answers(CallStore(path), batch.answers)
    assert Ledger(path, SERVED, "batch").calls(line["custom_id"] for line in lines_of(batch)) == []
    with pytest.raises(LedgerConflict, match="No such file"):
        import_answers(CallStore(path), tmp_path / "nowhere.jsonl")


def test_each_model_gets_a_file_of_its_own_and_a_call_the_price_it_was_asked_at(tmp_path: Path) -> None:
    path, price = tmp_path / "l.sqlite", Price(input_usd_per_mtok=1, output_usd_per_mtok=3)
    large = ServedModel("large@provider", name="large", price=price)
    ledger = Ledger(path, SERVED, "batch", stages={"phrases": large})
    phrases = request("word it", template="phrases")
    with pytest.raises(AnswersPending) as pending:
        ledger.ask_many([QUESTIONS[0], phrases])
    assert [batch.model for batch in pending.value.batches] == ["m", "large"]
    for batch in pending.value.batches:
        assert {line["body"]["model"] for line in lines_of(batch)} == {batch.model}
        import_answers(CallStore(path), write(batch.answers, [answer_line(line, "yes") for line in lines_of(batch)]))
    tables, worded = ledger.ask_many([QUESTIONS[0], phrases])
    assert (tables.model, tables.cost_usd) == (MODEL, None)
    assert (worded.model, worded.cost_usd, worded.seconds) == ("large@provider", pytest.approx(20e-6), 0.0)


def test_a_batch_is_bound_by_the_budget_too(tmp_path: Path) -> None:
    with pytest.raises(BudgetExceeded, match="2 calls"):
        Ledger(tmp_path / "l.sqlite", SERVED, "batch", budget=Budget(max_calls=2)).ask_many(QUESTIONS)
    assert not (tmp_path / "batches").exists()


@pytest.mark.vllm
def test_vllm_answers_a_batch_file_under_its_schema(tmp_path: Path, smollm2: ResolvedModel) -> None:
    config = VllmConfig(model=str(smollm2.path), served_name=smollm2.name, max_model_len=512, kv_cache_gib=1)
    command = run_batch_command(config)
    served = ServedModel(smollm2.fingerprint, name=smollm2.name, batch_command=command, requests=VLLM)
    path = tmp_path / "l.sqlite"
    questions = [
        ChatRequest(
            template="shop",
            template_sha256="ab" * 32,
            messages=(Message(role="user", content=f"Describe shop number {number}."),),
            response_schema=Shop.model_json_schema(),
            max_tokens=60,
            seed=number,
        )
        for number in range(3)
    ]
    too_long = request("word " * 2000)
    batch = batch_of(Ledger(path, served, "batch"), [*questions, too_long])
    answering = batch.command.replace(" python ", f" {shlex.quote(sys.executable)} ", 1)
    # From a folder without modules of ours, as the server is started.
    run = subprocess.run(answering, shell=True, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert run.returncode == 0, run.stderr[-3000:]
    found = import_answers(CallStore(path), batch.answers)
    assert (found.stored, len(found.refused), found.unknown) == (3, 1, [])
    assert "512" in next(iter(found.refused.values()))
    for call in Ledger(path, served, "batch").ask_many(questions):
        assert list(Shop.model_validate_json(call.text).model_dump()) == ["title", "city"]
        assert call.completion_tokens > 0
