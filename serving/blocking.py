"""Running a coroutine to its end from code that is no coroutine, also where an event loop runs (a notebook)."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Event, Thread
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")
_POLL_S = 0.2  # between looks at whether the caller's task was cancelled


def run_blocking(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine. Where a loop runs in this thread, the coroutine runs in another thread meanwhile.

    Ctrl-C, and cancelling the calling task, end the coroutine before they are raised. Raises what the coroutine raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    caller, beside = asyncio.current_task(), _Beside(coroutine)
    try:
        Thread(target=beside.run, daemon=True).start()
        while not wait([beside.outcome], timeout=_POLL_S).done:
            if caller is not None and caller.cancelling():  # a loop that is blocked cannot deliver it
                raise asyncio.CancelledError
    except BaseException:  # Ctrl-C may come at any moment, also while the thread starts
        beside.end()
        raise
    return beside.outcome.result()


class _Beside(Generic[_Result]):
    """A coroutine in a thread of its own, which another thread may end."""

    def __init__(self, coroutine: Coroutine[Any, Any, _Result]) -> None:
        self.outcome: Future[_Result] = Future()
        self._coroutine = coroutine
        self._running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
        self._begun, self._ended = Event(), Event()

    def run(self) -> None:
        """Run it to its end, unless it was ended before."""
        self._begun.set()
        try:
            if self._ended.is_set():
                self._coroutine.close()
                raise asyncio.CancelledError
            self.outcome.set_result(asyncio.run(self._known()))
        except BaseException as error:  # noqa: BLE001  raised by whoever asks for the outcome
            self.outcome.set_exception(error)

    async def _known(self) -> _Result:
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        self._running.append((asyncio.get_running_loop(), task))
        if self._ended.is_set():  # before there was a task to cancel
            task.cancel()
        return await self._coroutine

    def end(self) -> None:
        """Cancel it and wait until it has ended. A thread that has not begun will not run it."""
        self._ended.set()
        if not self._begun.is_set():
            self._coroutine.close()
            return
        with suppress(RuntimeError):  # it has ended meanwhile
            for loop, task in self._running:
                loop.call_soon_threadsafe(task.cancel)
        wait([self.outcome])
