"""The DuckDB file: its lock, its creation, and short-lived connections. What is stored in it is not known here.

DuckDB lets one process write and keeps readers out meanwhile, so that readers and writers take turns under a file lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import filelock
import tenacity

from warehouse.errors import SchemaVersionMismatch, WarehouseBusy
from warehouse.tables import SCHEMA_VERSION, creation_sql


class DatabaseFile:
    """One DuckDB file, made on first use. Every wait ends after `timeout_s` with `WarehouseBusy`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path, self.timeout_s = path, timeout_s

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file lock, which dies with its process. Not reentrant."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{self.path}.lock", timeout=self.timeout_s)
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
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection under the lock."""
        with self.locked(), self._connection(read_only=True) as connection:
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
            found = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            if found != (str(SCHEMA_VERSION),):
                raise SchemaVersionMismatch(
                    f"{self.path}: schema version {found and found[0]}, this code reads {SCHEMA_VERSION}. "
                    "Use the version of EnvLoom that wrote it, or move the file away."
                )
            yield connection
        finally:
            connection.close()

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Connect, waiting for programs that hold the file without our lock, such as a DuckDB shell."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_held_elsewhere),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            stop=tenacity.stop_after_delay(self.timeout_s),
            reraise=True,
        )
        try:
            return waiting(duckdb.connect, str(self.path), read_only=read_only)
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
