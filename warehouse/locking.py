"""Whose turn it is: one lock file beside the warehouse, which dies with the process that holds it."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import filelock
import tenacity

from warehouse.errors import WarehouseBusy, naming_full_disk, naming_read_only

_POLL_S = 0.01
"""How often a waiting process looks whether the lock is free: it is held for some hundredths of a second at a time."""

_SILENCE_S = 10.0
logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock file alone. Not reentrant. Raises `WarehouseBusy`, `WarehouseReadOnly` and `DiskFull`."""
    lock = filelock.FileLock(path, timeout=timeout_s, poll_interval=_POLL_S)
    try:
        with naming_full_disk(path.parent), naming_read_only(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            _acquire(lock, timeout_s)
    except filelock.Timeout as error:
        raise WarehouseBusy(f"{path}: held by another process for {timeout_s:g} s. Retry.") from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, timeout_s: float) -> None:
    """Wait for the lock, and say so from time to time. Raises `filelock.Timeout`."""
    while timeout_s > _SILENCE_S:
        with suppress(filelock.Timeout):
            lock.acquire(timeout=_SILENCE_S)
            return
        timeout_s -= _SILENCE_S
        logger.warning("%s: held by another process; waiting at most %.0f s more", lock.lock_file, timeout_s)
    lock.acquire(timeout=timeout_s)


@contextmanager
def reader_lock(path: Path, timeout_s: float) -> Iterator[None]:
    """Keep writers out without writing anything, where the lock file is there and may be read.

    It is for folders of other users and for read-only media. Without a lock file no writer can be waited for.
    Raises `WarehouseBusy`.
    """
    try:
        file = path.open("rb")
    except OSError:  # absent or unreadable; DuckDB's own lock on the file still holds
        yield
        return
    with file:
        _wait_for(file, fcntl.flock, timeout_s)
        yield


@contextmanager
def closed_to_other_programs(path: Path, timeout_s: float) -> Iterator[BinaryIO]:
    """The warehouse's file, locked as DuckDB locks it to read: no other program writes to it meanwhile.

    Such a lock is the process's and ends as soon as any descriptor of the file is closed: read it from this one.
    Raises `WarehouseBusy`.
    """
    with path.open("rb") as file:
        _wait_for(file, fcntl.lockf, timeout_s)
        yield file


def _wait_for(file: BinaryIO, lock: Callable[[BinaryIO, int], object], timeout_s: float) -> None:
    """Take a shared lock on an open file. Raises `WarehouseBusy`."""
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((BlockingIOError, PermissionError)),
        wait=tenacity.wait_fixed(_POLL_S),
        stop=tenacity.stop_after_delay(timeout_s),
        reraise=True,
    )
    try:
        waiting(lock, file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise WarehouseBusy(
            f"{os.fspath(file.name)}: held by another program for {timeout_s:g} s. Close it and retry."
        ) from error
