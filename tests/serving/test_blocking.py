"""Coroutines run to their end by code that is none: without a loop, inside a running one, and when interrupted."""

import asyncio
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from serving.blocking import run_blocking
from serving.elsewhere import ServerElsewhere
from tests.serving.odd import Reply, replying

REPOSITORY = Path(__file__).parents[2]


async def answer() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


async def notebook() -> str:
    """What a cell does: call, without awaiting."""
    return run_blocking(answer())


def test_the_result_is_the_same_with_a_running_loop_and_without() -> None:
    assert run_blocking(answer()) == threading.current_thread().name
    assert asyncio.run(notebook()) != threading.current_thread().name


def test_an_error_is_that_of_the_coroutine() -> None:
    async def failing() -> None:
        raise ValueError("nothing to do")

    async def calling() -> None:
        run_blocking(failing())

    for run in (lambda: run_blocking(failing()), lambda: asyncio.run(calling())):
        with pytest.raises(ValueError, match="nothing to do"):
            run()


class Waiting:
    """A coroutine that waits for a minute, and whether it was cancelled before."""

    def __init__(self) -> None:
        self.began, self.cancelled = threading.Event(), threading.Event()

    async def wait(self) -> None:
        self.began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_ctrl_c_in_a_notebook_ends_the_coroutine() -> None:
    waiting = Waiting()

    def interrupt() -> None:
        waiting.began.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    async def calling() -> None:
        run_blocking(waiting.wait())

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(calling())
    thread.join()
    assert waiting.cancelled.is_set()


def test_ctrl_c_ends_the_coroutine_also_where_the_loop_leaves_it_to_python() -> None:
    """As in a notebook's kernel, whose loop handles no signal: KeyboardInterrupt is raised in the waiting call."""
    waiting, loop = Waiting(), asyncio.new_event_loop()

    def interrupt() -> None:
        waiting.began.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    async def calling() -> None:
        run_blocking(waiting.wait())

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(calling())
    thread.join()
    loop.close()
    assert waiting.cancelled.is_set()


@pytest.mark.parametrize("started", [True, False])
def test_ctrl_c_while_the_thread_starts_leaves_nothing_running(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Thread):
        def start(self) -> None:
            if started:
                super().start()
            raise KeyboardInterrupt

    waiting = Waiting()

    async def calling() -> None:
        monkeypatch.setattr("serving.blocking.Thread", Interrupted)
        run_blocking(waiting.wait())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(calling())
    assert waiting.cancelled.is_set() == waiting.began.is_set()


def test_cancelling_the_calling_task_ends_the_coroutine() -> None:
    waiting = Waiting()

    async def calling() -> None:
        run_blocking(waiting.wait())

    async def cancelled() -> None:
        task = asyncio.create_task(calling())
        # The loop is blocked, so another thread cancels the task.
        threading.Thread(target=lambda: (waiting.began.wait(30), task.cancel())).start()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert waiting.cancelled.is_set()


def test_a_server_elsewhere_is_waited_for_inside_a_running_loop() -> None:
    with replying(Reply({"data": []})) as (endpoint, _):

        async def calling() -> None:
            assert ServerElsewhere(endpoint).start() == endpoint

        asyncio.run(calling())


def test_no_other_call_of_the_product_starts_a_loop_of_its_own() -> None:
    # `asyncio.run` fails where a loop runs. A server of MCP over stdio is a process of its own.
    rooms = ("envs", "serving", "generators", "trainer", "warehouse", "dagster_project")
    files = [file for room in rooms for file in (REPOSITORY / room).rglob("*.py")]
    starts = [file.name for file in files if re.search(r"asyncio\.run\(|run_until_complete", file.read_text())]
    assert sorted(starts) == ["blocking.py", "mcp.py"]
