"""Runs that no process executes: Dagster keeps their places in the pools, and the next run would wait for ever.

A process that executes a run, or a step of it, holds a lock that is named after the run; the system takes it from a
process that dies. So a run that has started and not ended, and has no lock, is an orphan, whatever ended its process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
from filelock import FileLock, Timeout

_LAUNCH = timedelta(minutes=5)
"""How long a process that is to execute a run may take until it has started the run, which is when it has a lock."""
_LAUNCHING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
_UNFINISHED = [*_LAUNCHING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class Ownership:
    """The runs that this process executes, in the folder that all processes of a home look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks: dict[str, FileLock] = {}

    def take(self, run_id: str) -> None:
        """Hold the run until `release`, or until the process ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Any number of locks of one process may be on one run: its own, and those of steps it executes itself.
        lock = FileLock(self.folder / f"{run_id}.{os.getpid()}.{uuid4().hex[:8]}", thread_local=False)
        lock.acquire()
        self._locks[run_id] = lock

    def release(self, run_id: str) -> None:
        """Give the run up, if it is held."""
        lock = self._locks.pop(run_id, None)
        if lock is not None:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def release_all(self) -> None:
        """Give up every run."""
        for run_id in list(self._locks):
            self.release(run_id)


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the run as long as this lasts and the process lives."""
    ownership = Ownership(folder)
    ownership.take(run_id)
    try:
        yield
    finally:
        ownership.release(run_id)


def fail_orphans(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Mark runs without a process as failed, and free the places of runs that have ended. The ids of those runs.

    A queued run has no process yet and is none of them; one that is being launched has five minutes to start.
    """
    storage = instance.event_log_storage
    unfinished = instance.get_run_records(filters=dg.RunsFilter(statuses=_UNFINISHED))
    in_pools = _runs_in_pools(instance)
    held = _held(folder)  # after the questions: a run that has started by then has its lock
    orphans = [
        record.dagster_run.run_id
        for record in unfinished
        if record.dagster_run.run_id not in held
        and not (record.dagster_run.status in _LAUNCHING and _age(record.update_timestamp) < _LAUNCH)
    ]
    freed = []
    for run_id in [*orphans, *sorted(in_pools - held - set(orphans))]:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            if run_id not in orphans:
                continue
            instance.report_run_failed(run, "the process that executed this run is gone")
        elif run_id in orphans:
            continue  # it ended meanwhile
        storage.free_concurrency_slots_for_run(run_id)
        freed.append(run_id)
    return freed


def holders(folder: Path, run_id: str) -> str:
    """The run's id, shortened, and the processes that hold it, for a message."""
    pids = sorted({file.name.split(".")[1] for file in folder.glob(f"{run_id}.*")})
    return f"{run_id[:8]} (process {', '.join(pids)})" if pids else run_id[:8]


def _age(moment: datetime) -> timedelta:
    return datetime.now(UTC) - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _runs_in_pools(instance: dg.DagsterInstance) -> set[str]:
    """The runs that have a place in a pool, or wait for one."""
    storage = instance.event_log_storage
    pools = [storage.get_concurrency_info(pool) for pool in storage.get_concurrency_keys()]
    claimed = {slot.run_id for pool in pools for slot in pool.claimed_slots}
    return claimed | {step.run_id for pool in pools for step in pool.pending_steps}


def _held(folder: Path) -> set[str]:
    """The runs that a living process holds; what dead ones left is removed."""
    held = set()
    for file in sorted(folder.glob("*.*")):
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            held.add(file.name.split(".")[0])
        else:
            file.unlink(missing_ok=True)
            lock.release()
    return held
