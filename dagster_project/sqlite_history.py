"""Dagster's history in a home, as `dagster.yaml` names it for every process that opens the home.

Dagster's own SQLite storage with four differences: one process at a time makes its tables, the folder may have any
name, a run that has started holds a lock, and a step that waits for a pool sleeps and names the holder.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as db
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import check_alembic_revision, get_alembic_config, safe_commit, stamp_alembic_rev
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from dagster._utils.concurrency import ConcurrencyClaimStatus
from dagster._utils.interrupts import check_captured_interrupt
from filelock import FileLock
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from dagster_project.home import Home, HomeError
from dagster_project.orphans import Ownership, fail_orphans, holders
from serving.waiting import held

logger = logging.getLogger(__name__)

_NAP_S = 0.1
_NAPS = 10
"""Between two looks at a pool: short naps, since Dagster's own handler of signals ends none of them."""
_ANNOUNCE_EVERY_S = 60.0
_MAKING_S = 120.0
"""How long one waits for another process that makes tables, which takes it a second."""


def database_url(file: Path) -> str:
    """SQLAlchemy's address of an SQLite file; in a plain path `%` and `?` would have a meaning of their own."""
    return f"sqlite:///{quote(str(file))}"


class History(DagsterSqliteStorage):
    """The three storages of a home's `dagster` folder."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        folder = Path(base_dir)
        home = Home(folder.parent)
        runs, events, schedules = folder / "history", folder / "history" / "runs", folder / "schedules"
        for subfolder in (events, schedules):
            subfolder.mkdir(parents=True, exist_ok=True)
        making = FileLock(folder / ".making.lock")
        self.base_dir = base_dir
        self._inst_data = inst_data
        self.ownership = Ownership(home.running)
        with _alone(making):
            self._run_storage = Runs.at(runs / "runs.db", self.ownership)
            self._event_log_storage = Events(events, making, home.running)
            self._schedule_storage = Schedules.at(schedules / "schedules.db")
        super(DagsterSqliteStorage, self).__init__()  # its own would make Dagster's storages

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "History":
        """The storage that `dagster.yaml` configures."""
        return cls(inst_data=inst_data, **config_value)

    def dispose(self) -> None:
        """Close the storages. Runs that this process had started and not ended are left without an owner."""
        self.ownership.release_all()
        super().dispose()


class Runs(sqlite_run_storage.SqliteRunStorage):
    """A run is marked as started only after its process holds a lock, and the lock is held until the run has ended."""

    ownership: Ownership

    @classmethod
    def at(cls, file: Path, ownership: Ownership) -> "Runs":
        """The storage in that file, which is made if it is not there; the caller holds the lock."""
        new = _ensure_tables(file, RunStorageSqlMetadata, sqlite_run_storage.__file__)
        storage = cls(database_url(file))
        storage.ownership = ownership
        if new:
            storage.migrate()
            storage.optimize()
        return storage

    def handle_run_event(self, run_id: str, event: DagsterEvent, *args: Any, **options: Any) -> None:
        """Follow a run's beginning and end."""
        if event.event_type is DagsterEventType.PIPELINE_START:
            self.ownership.take(run_id)
        super().handle_run_event(run_id, event, *args, **options)
        if event.event_type in _ENDS:
            self.ownership.release(run_id)


_ENDS = {DagsterEventType.PIPELINE_SUCCESS, DagsterEventType.PIPELINE_FAILURE, DagsterEventType.PIPELINE_CANCELED}


class Schedules(sqlite_schedule_storage.SqliteScheduleStorage):
    """Schedules and sensors."""

    @classmethod
    def at(cls, file: Path) -> "Schedules":
        """The storage in that file, which is made if it is not there; the caller holds the lock."""
        new = _ensure_tables(file, ScheduleStorageSqlMetadata, sqlite_schedule_storage.__file__)
        storage = cls(database_url(file))
        if new:
            storage.migrate()
            storage.optimize()
        return storage


class Events(sqlite_event_log.SqliteEventLogStorage):
    """Event logs, a file per run, and the pools. Who waits for a pool sleeps, and frees places that nobody holds."""

    def __init__(self, folder: Path, making: FileLock, running: Path) -> None:
        self._making, self._running, self._folder = making, running, folder
        self._announced: dict[tuple[str, str], float] = {}
        self._interrupted: tuple[str, str] | None = None
        index = folder / "index.db"
        if index.exists():
            _keep_one_head(index, sqlite_event_log.__file__)
        super().__init__(str(folder))

    def conn_string_for_shard(self, shard_name: str) -> str:
        """The address of a run's file, or of the index."""
        return database_url(self._folder / f"{shard_name}.db")

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with _alone(self._making):
            super()._initdb(engine, for_index_shard)

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        """Claim a place in a pool. If there is none, sleep for a second, and ask Dagster to try again at once.

        Between two tries Dagster's executors do not sleep, and the one in this process does not look for signals.
        """
        step = (run_id, step_key)
        if self._interrupted == step and check_captured_interrupt():
            raise DagsterExecutionInterruptedError(f"interrupted while waiting for the pool {concurrency_key}")
        claim = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if claim.is_claimed:
            self._announced.pop(step, None)
            return claim
        if fail_orphans(self._instance, self._running):
            return claim.with_sleep_interval(0.0)
        self._announce(concurrency_key, step)
        for _ in range(_NAPS):
            if check_captured_interrupt():
                self._interrupted = step  # an executor that looks for signals does so before it comes here again
                break
            time.sleep(_NAP_S)
        return claim.with_sleep_interval(0.0)

    def _announce(self, pool: str, step: tuple[str, str]) -> None:
        now = time.monotonic()
        if now - self._announced.get(step, -_ANNOUNCE_EVERY_S) < _ANNOUNCE_EVERY_S:
            return
        self._announced[step] = now
        claims = self.get_concurrency_info(pool).claimed_slots
        by = ", ".join(f"{claim.step_key} of run {holders(self._running, claim.run_id)}" for claim in claims)
        logger.warning("%s waits for a place in pool %s, held by %s", step[1], pool, by or "none yet")


@contextmanager
def _alone(making: FileLock) -> Iterator[None]:
    """Raises HomeError where another process makes tables for too long, such as a stopped one."""
    with ExitStack() as turn:
        try:
            turn.enter_context(held(making, "another process that makes the history of runs", _MAKING_S))
        except TimeoutError as error:
            raise HomeError(str(error)) from None
        yield


@contextmanager
def _connected(file: Path) -> Iterator[db.Connection]:
    engine = db.create_engine(database_url(file), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _ensure_tables(file: Path, metadata: db.MetaData, module: str) -> bool:
    """Make the tables of a storage that has none; whether it had none. The caller holds the lock."""
    if file.exists():
        _keep_one_head(file, module)
    config = get_alembic_config(module)
    with _connected(file) as connection:
        revision, _ = check_alembic_revision(config, connection)
        if revision:
            return False
        metadata.create_all(connection)
        safe_commit(connection)
        connection.execute(db.text("PRAGMA journal_mode=WAL;"))
        stamp_alembic_rev(config, connection)
        safe_commit(connection)
    return True


def _keep_one_head(file: Path, module: str) -> None:
    """Mend a history that two processes made at once: both wrote down a version, and Dagster opens it no more.

    The tables are those of the newest version, whoever made them. Raises HomeError for a damaged file.
    """
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(get_alembic_config(module)).as_revision_number("head")
    with _naming_damage(file), closing(sqlite3.connect(file)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return
        versions = {version for (version,) in connection.execute("SELECT version_num FROM alembic_version")}
        if len(versions) > 1 and head in versions:
            connection.execute("DELETE FROM alembic_version WHERE version_num != ?", (head,))
            logger.warning("%s: made by two processes at once, versions %s; kept %s", file, sorted(versions), head)


@contextmanager
def _naming_damage(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError:  # busy, read-only or full: the file may be sound
        raise
    except sqlite3.DatabaseError as error:
        raise HomeError(
            f"{file}: is damaged ({error}). Move the home's folder dagster/ away: it holds the log of runs alone and "
            "is made anew. What was materialized is in the warehouse."
        ) from error
