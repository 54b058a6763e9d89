"""The DuckDB file: its creation, its changes and short-lived connections. What is stored in it is not known here.

DuckDB lets one process write and keeps readers out meanwhile, so that readers and writers take turns under a file lock
(`locking`). No write may cost a file that opens: a small file is changed in a copy that then replaces it
(`replacement`). To a large one a transaction appends its log alone, which DuckDB replays when it opens the file; a copy
takes the log in when it has grown to a share of the file.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import tenacity

from warehouse.confined import confine
from warehouse.errors import (
    DiskFull,
    SchemaVersionMismatch,
    UnusablePath,
    WarehouseBusy,
    WarehouseReadOnly,
    WarehouseUnreadable,
    naming_full_disk,
    naming_read_only,
)
from warehouse.locking import closed_to_other_programs, exclusive_lock, reader_lock
from warehouse.migrations import back_up, is_current, lacking, migrate, version_of
from warehouse.replacement import log_of, replacement, settle, sync, whole
from warehouse.tables import SCHEMA_VERSION, creation_sql, temporary_view_sql

logger = logging.getLogger(__name__)

_SMALL_BYTES = 2**24
"""Up to this size a file is copied for every transaction, which takes some hundredths of a second. It then has no log,
so that the file alone is the warehouse."""

_LOG_SHARE, _LOG_BYTES = 8, 2**26
"""A larger file's log is taken in at an eighth of the file, so that copying costs at most eight bytes for a logged one,
and at 64 MiB at the latest: replaying a MiB takes each reader 3 ms (measured)."""

_NO_CHECKPOINT = {"checkpoint_threshold": "1 TB", "auto_checkpoint_skip_wal_threshold": str(2**62)}
"""DuckDB would make one in place as the log grows, and instead of logging a large transaction."""


class DatabaseFile:
    """One DuckDB file, made on first use. Every wait ends after `timeout_s` with `WarehouseBusy`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Raises `UnusablePath` for a name that is not Unicode."""
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise UnusablePath(f"{str(path)!r}: not UTF-8, which DuckDB needs. Rename the folder.") from error
        self.path, self.timeout_s = path.resolve(), timeout_s
        self.place = self.path.parent
        self._lock = self.path.with_name(f"{self.path.name}.lock")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file lock, which dies with its process. Not reentrant."""
        with exclusive_lock(self._lock, self.timeout_s):
            yield

    @contextmanager
    def reading(self, *, confined: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection under the lock; a confined one reaches nothing beside the file.

        Where nothing can be written, the file is read as it is.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.locked())
                connection = self._connect_current()
            except WarehouseReadOnly as refusal:
                stack.close()  # the lock alone can be had where the folder cannot be written
                stack.enter_context(reader_lock(self._lock, self.timeout_s))
                connection = self._connect_unwritable(refusal)
            stack.enter_context(closing(connection))
            if confined:
                confine(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing connection; the caller holds the lock. Uncommitted rows are rolled back.

        Once this ends without an error, committed rows are on the disk and the file has been opened again.
        """
        self._connect_current().close()
        if self.path.stat().st_size <= _SMALL_BYTES or "?" in str(self.path):
            with self._replacing() as connection:
                yield connection
            return
        with closing(self._connect(self.path, writable=True)) as connection:
            yield connection
        sync(self.place)  # DuckDB makes the log and syncs its content, not its name
        self._connect_current().close()
        self._take_log_in()

    @contextmanager
    def _replacing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing connection to a copy of the file, which replaces it unless there is an error."""
        with (
            closed_to_other_programs(self.path, self.timeout_s) as file,
            replacement(self.path, file) as copy,
            self._changing(copy) as connection,
        ):
            yield connection

    @contextmanager
    def _changing(self, copy: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing connection to a copy; then all of it is in the file, without a log, and opens."""
        with closing(self._connect(copy, writable=True)) as connection:
            yield connection
            connection.execute("CHECKPOINT")
        with closing(self._connect(copy)) as connection:
            version_of(connection)

    def _take_log_in(self) -> None:
        log = log_of(self.path)
        if not log.exists() or log.stat().st_size < min(self.path.stat().st_size / _LOG_SHARE, _LOG_BYTES):
            return
        try:
            with self._replacing():
                pass
        except DiskFull as error:
            logger.warning("%s stays beside the file, and every reader replays it, until there is room: %s", log, error)

    def _connect_current(self) -> duckdb.DuckDBPyConnection:
        """A read-only connection to a file of this code's schema: made, mended or migrated first; under the lock."""
        with naming_read_only(self.place):
            settle(self.path, self._is_whole)
        if not self.path.exists():
            self._create()
        elif not self.path.stat().st_size:  # DuckDB opens no empty file
            logger.warning("%s: was a file of 0 bytes; it is made anew, and earlier batches are not in it", self.path)
            self._create()
        connection = self._connect_mended()
        try:
            current = is_current(connection, self.path)
        except SchemaVersionMismatch:
            connection.close()
            raise
        except duckdb.CatalogException:
            self._refuse_unless_empty(connection)
            connection.close()
            logger.warning("%s: holds nothing, since its creation was interrupted; it is made anew", self.path)
            self._create()
        else:
            if current:
                return connection
            connection.close()
            self._bring_up_to_date()
        return self._connect(self.path)

    def _connect_unwritable(self, refusal: WarehouseReadOnly) -> duckdb.DuckDBPyConnection:
        """A read-only connection to the file as it is; views are this code's. Raises `WarehouseReadOnly`."""
        path = whole(self.path, self._is_whole)
        if not path.exists():
            raise WarehouseReadOnly(f"{self.path}: there is no warehouse, and none can be made: {refusal}") from refusal
        connection = self._connect(path)
        if is_current(connection, path):
            return connection
        version = version_of(connection)
        older = f"schema {version}" if version != SCHEMA_VERSION else lacking(connection, path)
        if older:
            connection.close()
            raise WarehouseReadOnly(
                f"{path}: {older}, this code reads {SCHEMA_VERSION} and cannot migrate it here: {refusal}"
            ) from refusal
        for statement in temporary_view_sql():
            connection.execute(statement)
        return connection

    def _is_whole(self, copy: Path) -> bool:
        try:
            with closing(self._connect(copy)) as connection:
                version_of(connection)
        except (WarehouseUnreadable, duckdb.CatalogException):
            return False
        return True

    def _create(self) -> None:
        """Make an empty warehouse: there whole, or not at all."""
        with replacement(self.path) as copy, self._changing(copy) as connection:
            connection.execute("BEGIN")  # else each statement is synced
            for statement in creation_sql():
                connection.execute(statement)
            connection.execute("COMMIT")

    def _refuse_unless_empty(self, connection: duckdb.DuckDBPyConnection) -> None:
        tables = [
            name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        ]
        if tables:
            connection.close()
            raise WarehouseUnreadable(
                f"{self.path}: not a warehouse: it has the tables {', '.join(tables)} and no `meta`. Move it away."
            )

    def _bring_up_to_date(self) -> None:
        """Migrate the file; the caller holds the lock, so that every reader and writer finds the new tables."""
        if log_of(self.path).exists():
            with self._replacing():
                pass  # the file alone is the whole warehouse now
        with closing(self._connect(self.path)) as connection:
            version = version_of(connection)
            older = f"schema {version}" if version < SCHEMA_VERSION else lacking(connection, self.path)
        if older:
            backup = back_up(self.path, version)
            logger.warning("%s: %s, becomes schema %d; backup: %s", self.path, older, SCHEMA_VERSION, backup)
        with self._replacing() as connection:
            migrate(connection)

    def _connect_mended(self) -> duckdb.DuckDBPyConnection:
        """A read-only connection. The end of a log that cannot be read is left out, and set aside."""
        try:
            return self._connect(self.path)
        except WarehouseUnreadable:
            log = log_of(self.path)
            if not log.exists() or not log.stat().st_size:
                raise
            content, kept = log.read_bytes(), log.with_name(f"{log.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        with closed_to_other_programs(self.path, self.timeout_s) as file, replacement(self.path, file) as copy:
            size = self._readable(copy, content)
            shutil.copyfile(log, kept)
            sync(kept)
            with self._changing(copy):
                pass
        logger.warning(
            "%s: the last %d of %d bytes cannot be read, as after a power cut. Every transaction before them is kept; "
            "the one they belong to comes back with the next ingest if its parts still wait. The whole log: %s",
            *(log, len(content) - size, len(content), kept),
        )
        return self._connect(self.path)

    def _readable(self, copy: Path, content: bytes) -> int:
        """Leave the copy with the longest beginning of a log that it opens with; its bytes.

        DuckDB replays whole transactions and passes over one that is cut off. So each beginning opens that ends before
        the damage, and none that ends after it.
        """

        def connect(size: int) -> None:
            log_of(copy).write_bytes(content[:size])
            self._connect(copy).close()

        connect(0)  # raises where the file itself is damaged
        good, bad = 0, len(content)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                connect(middle)
                good = middle
            except WarehouseUnreadable:
                bad = middle
        connect(good)
        return good

    def _connect(self, path: Path, *, writable: bool = False) -> duckdb.DuckDBPyConnection:
        """Connect, waiting for programs that hold the file without our lock, such as a DuckDB shell.

        No checkpoint is made unless it is asked for. Raises `WarehouseUnreadable` and `DiskFull`.
        """
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_held_elsewhere),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            stop=tenacity.stop_after_delay(self.timeout_s),
            reraise=True,
        )
        settings = _NO_CHECKPOINT if writable else {}
        try:
            with naming_full_disk(path.parent):
                connection = waiting(duckdb.connect, str(path), read_only=not writable, config=settings)
            connection.execute("SET enable_progress_bar = false")  # it would draw itself into a program's output
            if writable:
                connection.execute("PRAGMA disable_checkpoint_on_shutdown")
            return connection
        except duckdb.Error as error:
            if _held_elsewhere(error):
                raise WarehouseBusy(
                    f"{path}: open in another program for {self.timeout_s:g} s ({error}). Close it and retry."
                ) from error
            raise WarehouseUnreadable(
                f"{path}: DuckDB cannot open it: {error}. The file is left as it is, and parts that wait are kept. "
                "If it is damaged, put a copy of it in its place, such as a backup that lies beside it."
            ) from error


def _held_elsewhere(error: BaseException) -> bool:
    message = str(error)
    return isinstance(error, duckdb.Error) and ("Could not set lock" in message or "different configuration" in message)
