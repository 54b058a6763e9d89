"""Runs whose process was killed: Dagster keeps their places in the pools, and whoever came next would wait for ever.

A process that executes a run holds a lock that is named after both; the system takes it from a process that dies.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Say, as long as this lasts and the process lives, that it executes the run."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run_id}.{os.getpid()}"
    with FileLock(file):
        try:
            yield
        finally:
            file.unlink()


def fail_orphans(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Mark runs as failed that every process has left by dying, and free their places in pools. Their ids.

    A run that never got to its first step is not known here.
    """
    held, left = set(), set()
    for file in sorted(folder.glob("*.*")):
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            held.add(file.stem)
        else:
            left.add(file.stem)
            file.unlink()
            lock.release()
    orphans = [run for run in map(instance.get_run_by_id, sorted(left - held)) if run and not run.is_finished]
    for run in orphans:
        instance.report_run_failed(run, "the process that executed this run is gone")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in orphans]
