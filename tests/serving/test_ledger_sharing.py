"""Killed runs and concurrent ones: an answered question is never asked again, whoever asked it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from generators.discovery import BUILT_IN
from serving import ledger as ledger_module
from serving.endpoint import ServedModel
from serving.ledger import Ledger
from tests.serving.provider import MODEL, Provider, Recorded, request, serving, shouting

REPOSITORY = Path(ledger_module.__file__).parents[1]
RECORDING = BUILT_IN / "library" / "calls.jsonl"
SYNTHESIS = """
import sys
from pathlib import Path
from dagster_project.home import Home
from dagster_project.synthesist import Synthesist
from envs.environment import Environment
from generators.brief import load_brief
from generators.discovery import domain_folder
from generators.candidates import propose_candidates
from generators.domain import synthesise
from generators.hooked import load_hooks

ledger = Synthesist(mode="live", model="m", base_url=sys.argv[2]).ledger("library", Home(Path(sys.argv[1])))
page, hooks = load_brief(domain_folder("library")), load_hooks("library")
spec = synthesise(page, "library", ledger, hooks).spec
print(len(spec.tools), len(propose_candidates(page, Environment.load(spec), ledger, hooks).tasks))
"""
ASKING = """
import sys
from pathlib import Path
from serving.endpoint import Endpoint, ServedModel
from serving.ledger import Ledger
from tests.serving.provider import MODEL, request

model = ServedModel(MODEL, Endpoint(base_url=sys.argv[2], model="m"))
calls = Ledger(Path(sys.argv[1]), model, concurrency=4).ask_many([request(f"question {i}") for i in range(40)])
print(" ".join(call.id for call in calls))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    out, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return out


def test_a_synthesis_killed_in_the_middle_goes_on_without_repeating_an_answered_call(tmp_path: Path) -> None:
    recorded = Recorded(RECORDING)
    half = len(recorded.calls) // 2
    held, killed, counting = threading.Event(), threading.Event(), threading.Lock()
    delivered: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        """Half of the answers to the first run; then nothing until it is dead."""
        with counting:
            hold = len(delivered) >= half and not killed.is_set()
            if not hold:
                delivered.append((body["messages"], body["seed"]))
        if hold:
            held.set()
            killed.wait(timeout=300)
        return recorded(body)

    with serving(answer) as provider:
        first = start(SYNTHESIS, tmp_path, provider.base_url)
        assert held.wait(timeout=300), first.communicate()
        wait_until_stored(tmp_path / "ledger.sqlite", half, first)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        killed.set()
        asked_before = len(provider.bodies)
        tools, tasks = map(int, finished(start(SYNTHESIS, tmp_path, provider.base_url)).split())
    assert tools > 10 and tasks > 10
    assert len(delivered) == len(recorded.calls), "each recorded call is answered once, over both runs"
    assert len({str(each) for each in delivered}) == len(delivered)
    assert len(provider.bodies) - asked_before == len(recorded.calls) - half


def wait_until_stored(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    import sqlite3

    while True:
        assert process.poll() is None, process.communicate()
        with sqlite3.connect(path) as db:
            if db.execute("SELECT count(*) FROM calls").fetchone()[0] >= count:
                return
        threading.Event().wait(0.05)


def test_four_processes_with_the_same_questions_ask_each_once(tmp_path: Path, provider: Provider) -> None:
    running = [start(ASKING, tmp_path / "l.sqlite", provider.base_url) for _ in range(4)]
    assert len({finished(process) for process in running}) == 1
    assert sorted(provider.asked) == sorted(f"question {i}" for i in range(40))


def test_the_claims_of_a_dead_process_hold_nobody_up(tmp_path: Path, provider: Provider) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path, ServedModel(MODEL, provider.endpoint))
    question = request("who claims this")
    claim = "import sys; from pathlib import Path; from serving.store import CallStore\n"
    claim += "assert CallStore(Path(sys.argv[1])).claim(sys.argv[2])"
    finished(start(claim, path, ledger._id(question)))
    assert ledger.ask_many([question])[0].text == "WHO CLAIMS THIS"


def test_a_question_whose_asker_fails_is_asked_by_the_one_who_waits(tmp_path: Path) -> None:
    asked, may_fail = threading.Event(), threading.Event()

    def answer(body: dict[str, Any]) -> str:
        if not asked.is_set():
            asked.set()
            may_fail.wait(timeout=60)
            return shouting({"messages": [{"content": "bad"}]})
        return shouting(body)

    with serving(answer) as provider:
        served = ServedModel(MODEL, provider.endpoint)
        failures: list[Exception] = []

        def unlucky() -> None:
            with pytest.raises(Exception, match="too long") as error:
                Ledger(tmp_path / "l.sqlite", served).ask_many([request("hello")])
            failures.append(error.value)

        thread = threading.Thread(target=unlucky)
        thread.start()
        assert asked.wait(timeout=60)
        threading.Timer(0.5, may_fail.set).start()
        assert Ledger(tmp_path / "l.sqlite", served).ask_many([request("hello")])[0].text == "HELLO"
        thread.join()
    assert len(failures) == 1 and len(provider.asked) == 2
