"""The DuckDB file: its lock, its creation, and short-lived connections. What is stored in it is not known here.

DuckDB lets one process write and keeps readers out meanwhile, so that readers and writers take turns under a file lock.
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import filelock
import tenacity

from warehouse.confined import confine
from warehouse.errors import WarehouseBusy, naming_full_disk
from warehouse.migrations import back_up, is_current, migrate, version_of
from warehouse.tables import SCHEMA_VERSION, creation_sql

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.01
"""How often a waiting process looks whether the lock is free: it is held for some hundredths of a second at a time."""


class DatabaseFile:
    """One DuckDB file, made on first use. Every wait ends after `timeout_s` with `WarehouseBusy`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path, self.timeout_s = path, timeout_s
        self.place = path.parent

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file lock, which dies with its process. Not reentrant."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{self.path}.lock", timeout=self.timeout_s, poll_interval=_LOOK_EVERY_S)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise WarehouseBusy(
                f"{lock.lock_file}: held by another process for {self.timeout_s:g} s. Retry."
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def reading(self, *, confined: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection under the lock; a confined one reaches nothing beside the file."""
        with self.locked(), self._connection(read_only=True) as connection:
            if confined:
                confine(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing connection; the caller holds the lock. What is not committed is rolled back."""
        with self._connection(read_only=False) as connection:
            yield connection

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self.path.exists():
            _create(self.path)
        connection = self._open(read_only)
        try:
            if not is_current(connection, self.path):
                connection.close()
                self._bring_up_to_date()
                connection = self._open(read_only)
            yield connection
        finally:
            connection.close()

    def _bring_up_to_date(self) -> None:
        """Migrate the file; the caller holds the lock, so that every reader and writer finds the new tables."""
        with closing(self._open(read_only=False)) as connection:
            version = version_of(connection)
            connection.execute("CHECKPOINT")  # so that the file alone is the whole warehouse
        with naming_full_disk(self.path.parent):
            if version < SCHEMA_VERSION:
                backup = back_up(self.path, version)
                logger.warning("%s: schema %d becomes %d; backup: %s", self.path, version, SCHEMA_VERSION, backup)
            with closing(self._open(read_only=False)) as connection:
                migrate(connection)

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Connect, waiting for programs that hold the file without our lock, such as a DuckDB shell."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_held_elsewhere),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            stop=tenacity.stop_after_delay(self.timeout_s),
            reraise=True,
        )
        try:
            connection = waiting(duckdb.connect, str(self.path), read_only=read_only)
            connection.execute("SET enable_progress_bar = false")  # it would draw itself into a program's output
            return connection
        except duckdb.Error as error:
            if _held_elsewhere(error):
                raise WarehouseBusy(
                    f"{self.path}: open in another program for {self.timeout_s:g} s ({error}). Close it and retry."
                ) from error
            raise


def _held_elsewhere(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, duckdb.Error) and ("Could not set lock" in said or "different configuration" in said)


def _create(path: Path) -> None:
    """Make an empty warehouse under another name first: a process killed here leaves no half-made file."""
    temporary = path.with_name(f".creating-{path.name}")
    temporary.unlink(missing_ok=True)
    connection = duckdb.connect(str(temporary))
    try:
        for statement in creation_sql():
            connection.execute(statement)
    finally:
        connection.close()
    temporary.replace(path)
