"""Calls of programs: a lone one stays on one core, several use all, and nobody is left where a call has put them."""

import os
import threading
from pathlib import Path

import pytest

from envs import workers
from envs.turns import Turns

ALL = os.sched_getaffinity(0)
needs_cores = pytest.mark.skipif(len(ALL) < 2, reason="one core is all there is")


def cores_of(process: int) -> list[set[int]]:
    """Per thread of a process where it may run."""
    return [os.sched_getaffinity(int(task.name)) for task in Path(f"/proc/{process}/task").iterdir()]


@needs_cores
@pytest.mark.skipif(workers.refusal() is not None, reason="this machine cannot confine a worker")
def test_a_lone_call_and_its_worker_share_one_core_and_the_caller_is_free_afterwards() -> None:
    with workers.session() as session:
        worker = session.worker_pid
        assert worker is not None
        assert len(os.sched_getaffinity(0)) == 1
        assert all(cores == os.sched_getaffinity(0) for cores in cores_of(worker))
        assert session.feed_run("1 + 1") == 2
    assert os.sched_getaffinity(0) == ALL


@needs_cores
@pytest.mark.skipif(workers.refusal() is not None, reason="this machine cannot confine a worker")
def test_a_second_call_in_flight_is_free_to_use_every_core() -> None:
    seen: list[set[int]] = []

    def second() -> None:
        with workers.session() as session:
            worker = session.worker_pid
            assert worker is not None
            seen.extend((os.sched_getaffinity(0), *cores_of(worker)))

    with workers.session():
        other = threading.Thread(target=second)
        os.sched_setaffinity(0, ALL)  # a new thread begins where the one that starts it may run
        other.start()
        other.join()
    assert len(seen) > 1 and all(cores == ALL for cores in seen)


@needs_cores
def test_the_caller_is_free_again_when_a_call_fails() -> None:
    with pytest.raises(ValueError, match="mistake"), Turns(()).together():
        raise ValueError("a mistake")
    assert os.sched_getaffinity(0) == ALL


def test_a_worker_that_has_ended_is_no_obstacle() -> None:
    gone = threading.Thread(target=int)
    gone.start()
    gone.join()
    assert gone.native_id is not None
    with Turns(()).together() as join:
        join(gone.native_id)
    assert os.sched_getaffinity(0) == ALL
