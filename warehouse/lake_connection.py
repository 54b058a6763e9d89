"""How a lake is opened: DuckDB in memory with the lake attached, turns of writers, creation and migration.

DuckLake commits each transaction whole and readers see snapshots, so that nobody waits for a reader. But it has no
unique keys, and two inserts do not conflict: two writers that both find a key missing would store it twice. Writers
therefore take turns by an advisory lock of the catalogue's Postgres, from before they look until after they commit.
"""

import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC
from functools import lru_cache
from pathlib import Path

import duckdb
import tenacity

from serving.credentials import shown_variable
from warehouse.confined import confine
from warehouse.errors import LakeUnavailable, UnknownSnapshot, WarehouseBusy
from warehouse.lake import Lake, Snapshot
from warehouse.migrations import is_current, migrate
from warehouse.tables import creation_sql

logger = logging.getLogger(__name__)

_READER, _WRITER = "lake", "lake_writer"
_LOCK = int.from_bytes(b"envloom", "big")
"""The advisory lock's number. It is the database's, so that two lakes in one database would share it."""

_SETTINGS_OF_A_TURN = (
    "idle_in_transaction_session_timeout = 0",  # the turn idles while the ingest works
    "tcp_keepalives_idle = 30",  # a machine that vanishes gives its turn up after a minute
    "tcp_keepalives_interval = 10",
    "tcp_keepalives_count = 3",
)
_SNAPSHOTS = "See `envloom lake snapshots`."
_TRANSIENT = ("starting up", "shutting down", "too many clients", "connection slots")


class LakeDatabase:
    """A lake, made on first use. Every wait ends after `timeout_s` with `WarehouseBusy`."""

    def __init__(self, lake: Lake, timeout_s: float) -> None:
        self.lake, self.timeout_s = lake, timeout_s
        self.place = lake.data_path
        self._reader = _READER if lake.snapshot is None else f"{_READER}_at_{lake.snapshot}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock, which dies with its process. Not reentrant. The lake has this code's tables then."""
        if self.lake.snapshot is not None:
            raise UnknownSnapshot(f"{self.lake} is the past and cannot be written. Write to the lake itself.")
        with closing(self._engine().cursor()) as turn:
            self._take(turn)
            self._bring_up_to_date()
            yield

    def _take(self, turn: duckdb.DuckDBPyConnection) -> None:
        """Wait for the lock; it is held as long as the transaction of `turn` lasts."""
        settings = (f"lock_timeout = {round(self.timeout_s * 1000)}", *_SETTINGS_OF_A_TURN)
        turn.execute("BEGIN")
        turn.execute("CALL postgres_execute('catalogue', ?)", ["; ".join(f"SET LOCAL {each}" for each in settings)])
        try:
            turn.execute("CALL postgres_execute('catalogue', ?)", [f"SELECT pg_advisory_xact_lock({_LOCK})"])
        except duckdb.Error as error:
            if "lock timeout" in str(error):
                raise WarehouseBusy(f"{self.lake}: another writer's turn for {self.timeout_s:g} s. Retry.") from error
            raise

    @contextmanager
    def reading(self, *, confined: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection that sees one snapshot, without the lock; a confined one reaches nothing else."""
        if not self._is_ready():
            with self.locked():
                pass
        with self._connection(self._reader, confined) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing connection; the caller holds the lock. What is not committed is rolled back."""
        with self._connection(_WRITER) as connection:
            yield connection

    def snapshots(self) -> list[Snapshot]:
        """Every state that can still be read, the oldest first."""
        told = f"SELECT snapshot_id, make_timestamp(epoch_us(snapshot_time)) FROM ducklake_snapshots('{self._reader}')"
        with self.reading() as connection:
            found = connection.execute(f"{told} ORDER BY 1").fetchall()
        return [Snapshot(id, made.replace(tzinfo=UTC)) for id, made in found]

    def compact(self) -> None:
        """Write the many small files of many small batches as fewer large ones; every snapshot stays readable."""
        with self.locked(), self._connection(_WRITER) as connection:
            connection.execute(f"CALL ducklake_flush_inlined_data('{_WRITER}')")
            connection.execute(f"CALL ducklake_merge_adjacent_files('{_WRITER}')")

    @contextmanager
    def _connection(self, name: str, confined: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        engine = self._engine(confined)
        self._attach(engine, name)
        with closing(engine.cursor()) as connection:
            connection.execute(f"USE {name}")
            if confined:
                connection.execute("DETACH catalogue")  # it can be written
                confine(connection, self.lake.data_path)
            yield connection

    def _is_ready(self) -> bool:
        """Whether the lake has this code's tables and views; the past is taken as it was."""
        try:
            with self._connection(self._reader) as connection:
                return is_current(connection, str(self.lake)) or self.lake.snapshot is not None
        except duckdb.CatalogException as error:
            if self.lake.snapshot is not None:
                raise UnknownSnapshot(f"{self.lake}: the tables were made later. {_SNAPSHOTS}") from error
            return False  # another process has made the lake and not its tables yet
        except duckdb.Error as error:
            if "No snapshot found" in str(error):
                raise UnknownSnapshot(f"{self.lake}: there is no such snapshot. {_SNAPSHOTS}") from error
            if "creating a new DuckLake is explicitly disabled" in str(error):
                return False
            raise LakeUnavailable(f"{self.lake}: {error}") from error

    def _bring_up_to_date(self) -> None:
        """Make the tables, or migrate them; the caller holds the lock."""
        with self._connection(_WRITER) as connection:
            try:
                current = is_current(connection, str(self.lake))
            except duckdb.CatalogException:  # an empty lake
                connection.execute("BEGIN")
                for statement in creation_sql():
                    connection.execute(statement)
                connection.execute("COMMIT")
                return
            if not current:
                (newest,) = connection.execute(
                    f"SELECT max(snapshot_id) FROM ducklake_snapshots('{_WRITER}')"
                ).fetchall()
                logger.warning("%s: gets this code's tables and views; before: snapshot %s", self.lake, *newest)
                migrate(connection)

    def _attach(self, engine: duckdb.DuckDBPyConnection, name: str) -> None:
        """Attach the lake, for reading to what is there, for writing also to what is not yet."""
        options = [f"DATA_PATH {_quoted(self.lake.data_path)}"]
        if name == self._reader:
            options += ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"]
        if self.lake.password_variable:
            options.append("META_SECRET 'catalogue'")
        if self.lake.snapshot is not None:
            options.append(f"SNAPSHOT_VERSION {self.lake.snapshot}")
        target = _quoted(f"ducklake:postgres:{self.lake.catalogue}")
        engine.execute(f"ATTACH IF NOT EXISTS {target} AS {name} ({', '.join(options)})")

    def _engine(self, confined: bool = False) -> duckdb.DuckDBPyConnection:
        """This process's DuckDB for this lake, waiting for a catalogue that is starting or full.

        A new one if it is to be confined, since that holds for all of its connections and for good.
        """
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_transient),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_after_delay(self.timeout_s),
            reraise=True,
        )
        try:
            opened = _engine.__wrapped__ if confined else _engine
            return waiting(opened, self.lake.model_copy(update={"snapshot": None}), os.getpid())
        except duckdb.Error as error:
            if _is_transient(error):
                raise WarehouseBusy(f"{self.lake}: no connection for {self.timeout_s:g} s ({error}). Retry.") from error
            raise LakeUnavailable(f"{self.lake}: {error}") from error


@lru_cache(maxsize=8)
def _engine(lake: Lake, _pid: int) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with the extensions and the catalogue, kept: to load the extensions takes half a second.

    One per process, since neither threads nor connections outlive a fork.
    """
    engine = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(Path(tempfile.gettempdir(), f"envloom-lake-{os.getpid()}")),
        }
    )
    for name in ("ducklake", "postgres_scanner", *["httpfs"] * lake.in_object_store):
        engine.execute(f"LOAD {_quoted(str(_extension(name)))}")
    if lake.in_object_store:
        engine.execute(_storage_secret(lake))
    secret = ""
    if lake.password_variable:
        engine.execute(f"CREATE SECRET catalogue (TYPE postgres, PASSWORD {_quoted(_secret(lake.password_variable))})")
        secret = ", SECRET catalogue"
    engine.execute(f"ATTACH {_quoted(lake.catalogue)} AS catalogue (TYPE postgres{secret})")
    return engine


def _extension(name: str) -> Path:
    """The extension's file in its package; DuckDB checks its signature and version."""
    package = f"duckdb_extension_{name}"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise LakeUnavailable(f"the package {package} is missing. Install the extra: pip install 'envloom[lake]'.")
    file = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.is_file():
        raise LakeUnavailable(
            f"{file} is missing: the package {package} is for another DuckDB than {duckdb.__version__}. "
            "Install the same version of both: pip install 'envloom[lake]'."
        )
    return file


def _storage_secret(lake: Lake) -> str:
    key, secret = _secret(lake.storage_key_variable), _secret(lake.storage_secret_variable)
    words = [f"KEY_ID {_quoted(key)}", f"SECRET {_quoted(secret)}", f"SCOPE {_quoted(lake.data_path)}"]
    if lake.storage_region:
        words.append(f"REGION {_quoted(lake.storage_region)}")
    if lake.storage_endpoint:
        scheme, _, host = lake.storage_endpoint.partition("://")
        words += [f"ENDPOINT {_quoted(host)}", "URL_STYLE 'path'", f"USE_SSL {str(scheme == 'https').lower()}"]
    return f"CREATE SECRET storage (TYPE s3, {', '.join(words)})"


def _secret(variable: str) -> str:
    if not os.environ.get(variable):
        name = shown_variable(variable)
        raise LakeUnavailable(f"the environment variable {name}, which the lake's setting names, is not set.")
    return os.environ[variable]


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, duckdb.Error) and any(words in str(error) for words in _TRANSIENT)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
