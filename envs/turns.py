"""On which processor cores a call of a program runs: all that take turns in it on one, as long as the call is alone.

Caller, pool threads and worker hand over to each other about ten times a call and never compute at once. Left to
itself the kernel wakes each on a core that idles, and waking a core that sleeps takes longer than the turn. On the
caller's core nothing sleeps, and nothing has to spin to stay awake: on an idle virtual machine of two cores a read took
608 µs before and takes 318 µs (`bench/tier2_calls.py`, any core); where others keep the cores awake it is all the same.
Several calls in flight do compute at once: they
may use every core the caller may.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_POOL_THREAD = "tokio-rt-worker"
_WORKERS_KEPT = 64
_Cores = frozenset[int]


class Turns:
    """The calls of one pool: who takes turns in them, where those were put last, and how many are in flight."""

    def __init__(self, others: Collection[int]) -> None:
        """`others`: the threads that were there before the pool, by the kernel's ids."""
        self._others = frozenset(others)
        self._in_flight = 0
        self._lock = threading.Lock()
        self._carriers: tuple[int, ...] = ()
        """The pool's threads, which carry the messages."""
        self._carried_on: _Cores | None = None
        self._workers: dict[int, tuple[frozenset[int], _Cores]] = {}
        """Per worker's process id its threads and their cores."""

    @contextmanager
    def together(self) -> Iterator[Callable[[int], None]]:
        """Keep what is done inside on one core if no other call is in flight; the worker joins by its process id."""
        allowed = frozenset(os.sched_getaffinity(0))
        with self._lock:
            self._in_flight += 1
            cores = frozenset([_sched_getcpu()()]) if self._in_flight == 1 else allowed
            self._carry_on(cores)
        try:
            if cores != allowed:
                os.sched_setaffinity(0, cores)
            yield lambda worker: self._join(worker, cores)
        finally:
            if cores != allowed:
                os.sched_setaffinity(0, allowed)
            with self._lock:
                self._in_flight -= 1

    def _join(self, worker: int, cores: _Cores) -> None:
        with self._lock:
            threads, where = self._workers.get(worker, (frozenset(), None))
            if where is None:
                if len(self._workers) >= _WORKERS_KEPT:
                    self._workers.clear()  # they are replaced now and then
                threads = threads_of(worker)
                # Not sooner: the pool's threads start when they are needed, and name themselves after that.
                self._carriers = tuple(_named(threads_of(os.getpid()) - self._others))
                self._carried_on = None
                self._carry_on(cores)
            if where != cores:
                _put(threads, cores)
                self._workers[worker] = threads, cores

    def _carry_on(self, cores: _Cores) -> None:
        if cores != self._carried_on:
            _put(self._carriers, cores)
            self._carried_on = cores


def threads_of(process: int) -> frozenset[int]:
    """The kernel's ids of a process's threads; none of one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return frozenset(int(task.name) for task in Path(f"/proc/{process}/task").iterdir())
    return frozenset()


def _named(threads: Collection[int]) -> Iterator[int]:
    """Those that are the pool's by their name: others may have started since, and are none of our business."""
    for thread in threads:
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended
            if Path(f"/proc/self/task/{thread}/comm").read_text().strip() == _POOL_THREAD:
                yield thread


def _put(threads: Collection[int], cores: _Cores) -> None:
    """Let these threads run on these cores only. One that has ended needs none."""
    for thread in threads:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cores)


@cache
def _sched_getcpu() -> Callable[[], int]:
    """The C library's, for Python has none yet. It keeps the GIL: it takes less than giving that up."""
    found: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    return found
