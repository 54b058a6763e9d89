"""The warehouse: immutable rows in one DuckDB file, in batches, written under a file lock and read at any time.

A batch is what one materialisation of an asset produced. Rows are stored once; batches name them in order, so that
every batch stays readable. The schema lives in `tables`, the waiting files in `parts`, how their rows
are taken in, in `intake`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from envs.record import content_id
from warehouse.batch import Batch
from warehouse.connection import DatabaseFile
from warehouse.errors import PartUnreadable, UnknownBatch, UnknownTable, naming_full_disk
from warehouse.givens import Given
from warehouse.intake import IngestReport, Intake, first_of_each_key, refusal
from warehouse.lake import Lake
from warehouse.lake_connection import LakeDatabase
from warehouse.lineage import Edge
from warehouse.parts import Part, Parts, Rows, record_ids, to_arrow
from warehouse.tables import RECORD_TABLES, TABLES, Table, table_named

logger = logging.getLogger(__name__)


class Warehouse:
    """One DuckDB file or lake, and the folder of parts that wait for it. Holds no connection between calls.

        warehouse = Warehouse(Path(".envloom/warehouse.duckdb"), Path(".envloom/parts"))
        warehouse.query("SELECT domain, count(*) FROM tasks GROUP BY domain")  # a polars DataFrame

    Any number of processes may read and write it: they wait for each other, and WarehouseBusy is raised when one waits
    too long.
    """

    def __init__(self, path: Path | Lake, parts_dir: Path, *, timeout_s: float = 120.0) -> None:
        """`timeout_s`: how long any call waits for other processes before it raises `WarehouseBusy`."""
        self.path, self.parts_dir = path, parts_dir
        self._file = LakeDatabase(path, timeout_s) if isinstance(path, Lake) else DatabaseFile(path, timeout_s)
        self._parts = Parts(parts_dir)

    def write_part(self, table: str, rows: Rows, key: str) -> Path:
        """Write rows as a part, without the lock, from any process; `ingest` takes them in.

        Raises `UnknownTable`, `RowsRejected` (a missing or unknown column, a wrong type) and `DiskFull`.
        """
        return self._parts.write(table, rows, key)

    def write_bundle(self, name: str, tables: Mapping[str, Rows]) -> None:
        """Write rows of several tables that are there together or not at all; otherwise as `write_part`.

        A bundle of this name that already waits is kept: as with rows, the first one counts.
        """
        self._parts.write_bundle(name, {table: to_arrow(table_named(table), rows) for table, rows in tables.items()})

    def pending(self, table: str) -> pl.DataFrame:
        """Rows of parts not yet ingested, such as the finished rollouts of a killed collection; one row per key.

        A part may be ingested between two calls: ask for pending rows first and for stored rows second.
        """
        schema = table_named(table)
        found = [schema.schema.empty_table()]
        for part in self._parts.waiting():
            if part.holds(table):
                try:
                    found.append(part.read()[table])
                except FileNotFoundError:
                    continue  # ingested meanwhile, and so visible to a query
                except PartUnreadable as error:
                    logger.warning("skipped a part that the next ingest will quarantine: %s", error)
        frame = pl.from_arrow(first_of_each_key(schema, pa.concat_tables(found)))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def ingest(self) -> IngestReport:
        """Take in every waiting part, in one transaction under the lock.

        Parts are removed once the transaction is on the disk and the file has been opened again. Those that cannot be
        read, or whose rows DuckDB refuses, are moved to `quarantine/` with the reason, and the rest is ingested.
        Interrupted at any moment, the next ingest finishes the work. Raises `DiskFull`, `WarehouseBusy` and
        `WarehouseReadOnly`; then nothing has changed.
        """
        report = IngestReport()
        with naming_full_disk(self._file.place), self._file.locked():
            try:
                taken = self._take_in(report)
            except (duckdb.DataError, duckdb.ProgrammingError, duckdb.IntegrityError, duckdb.InternalError):
                if not self._quarantine_refused(report):
                    raise
                report = IngestReport(quarantined=report.quarantined)
                taken = self._take_in(report)
            for part in taken:
                self._parts.remove(part)
            self._parts.sweep()
        if report.differing:
            logger.warning("rows present with other content were not replaced: %s", dict(report.differing))
        return report

    def _take_in(self, report: IngestReport) -> list[Part]:
        """Store the rows of waiting parts in one transaction; the parts that may be removed now."""
        waiting = list(self._parts.waiting())
        if not waiting:
            return []
        taken: list[Part] = []
        with self._file.writing() as connection:
            connection.execute("BEGIN")
            intake = Intake(connection, report)
            for part in waiting:
                try:
                    intake.stage(part.read())
                except FileNotFoundError:
                    continue  # taken away by hand
                except PartUnreadable as error:
                    self._quarantine(part, str(error), report)
                else:
                    taken.append(part)
            intake.finish()
            connection.execute("COMMIT")
        return taken

    def _quarantine_refused(self, report: IngestReport) -> bool:
        """Move parts aside whose rows, each part's alone, DuckDB refuses. Whether there are any."""
        before = len(report.quarantined)
        for part in self._parts.waiting():
            try:
                reason = refusal(part.read())
            except PartUnreadable as error:
                self._quarantine(part, str(error), report)
            else:
                if reason:
                    self._quarantine(part, f"{part.path}: {reason}", report)
        return len(report.quarantined) > before

    def _quarantine(self, part: Part, reason: str, report: IngestReport) -> None:
        report.quarantined.append((self._parts.quarantine(part, reason), reason))
        logger.warning("quarantined a part: %s", reason)

    def record_batch(
        self,
        asset: str,
        partition: str | None,
        tables: Mapping[str, Rows],
        edges: Iterable[Edge] = (),
        *,
        run_id: str,
        code_version: str,
        data_version: str | None = None,
        inputs: Sequence[Batch] = (),
        runtime: Mapping[str, Any] | None = None,
        givens: Sequence[Given] = (),
    ) -> Batch:
        """Store what one materialisation produced: rows, their order, edges and the batch, together or not at all.

        Rows already stored are named again, not stored again. `data_version` defaults to the hash of the ordered row
        ids of each table. `inputs` are the batches it was made from; `runtime` is the row of `runtimes` that tells
        what code made it and on what, `givens` what else it was made with. The batch's id is the hash of asset,
        partition, data version and run, so that a repeated call of one run is the same batch.
        Raises `UnknownTable`, `RowsRejected`, `DiskFull`, `WarehouseBusy`.
        """
        arrow = {name: to_arrow(_record_table(name), rows) for name, rows in sorted(tables.items())}
        members = {name: record_ids(TABLES[name], rows) for name, rows in arrow.items()}
        data_version = data_version or content_id({name: ids for name, ids in members.items() if ids})
        batch_id = content_id([asset, partition, data_version, run_id])
        batch = {
            "batch_id": batch_id,
            "asset": asset,
            "partition": partition,
            "data_version": data_version,
            "code_version": code_version,
            "run_id": run_id,
            "created_at": datetime.now(UTC).replace(tzinfo=None),
            "n_rows": sum(map(len, members.values())),
            "runtime_id": runtime and runtime["id"],
        }
        told = [*edges, *(Edge("batch", used.batch_id, "batch", batch_id, "input") for used in inputs)]
        told += [given.edge(batch_id) for given in givens]
        book: dict[str, list[Mapping[str, Any]]] = {
            "runtimes": [runtime] if runtime else [],
            "givens": [given.row for given in givens],
            "batches": [batch],
            "batch_members": [
                {"batch_id": batch_id, "position": position, "table_name": name, "record_id": record_id}
                for name, ids in members.items()
                for position, record_id in enumerate(ids)
            ],
            "lineage_edges": [asdict(edge) | {"batch_id": batch_id} for edge in told],
        }
        arrow |= {name: to_arrow(TABLES[name], rows) for name, rows in book.items() if rows}
        self._parts.write_bundle(batch_id, arrow)
        self.ingest()
        return self.batch(batch_id)

    def latest_batch(self, asset: str, partition: str | None = None) -> Batch | None:
        """The newest batch of an asset (and partition), or None if there is none."""
        where = "SELECT * FROM current_batches WHERE asset = ? AND partition IS NOT DISTINCT FROM ?"
        with self._file.reading() as connection:
            return _batch(connection.execute(where, [asset, partition]).fetchone())

    def batch(self, batch_id: str) -> Batch:
        """The batch of this id; raises `UnknownBatch`."""
        with self._file.reading() as connection:
            return _find(connection, batch_id)

    def read_batch(self, batch_id: str, table: str) -> pl.DataFrame:
        """The batch's rows of one table, with the table's columns, in the order they were recorded; maybe none.

        Raises `UnknownBatch` and `UnknownTable`.
        """
        _record_table(table)
        with self._file.reading() as connection:
            _find(connection, batch_id)
            rows = f"SELECT * EXCLUDE (batch_id, position) FROM batch_{table} WHERE batch_id = ? ORDER BY position"
            return connection.execute(rows, [batch_id]).pl()

    def read_whole(self, batch_id: str) -> dict[str, pl.DataFrame]:
        """The batch's rows of every table that it has rows of, as `read_batch` gives them; raises `UnknownBatch`."""
        with self._file.reading() as connection:
            _find(connection, batch_id)
            named = "SELECT DISTINCT table_name FROM batch_members WHERE batch_id = ? ORDER BY table_name"
            tables = [name for (name,) in connection.execute(named, [batch_id]).fetchall()]
            rows = "SELECT * EXCLUDE (batch_id, position) FROM batch_{} WHERE batch_id = ? ORDER BY position"
            return {name: connection.execute(rows.format(name), [batch_id]).pl() for name in tables}

    def records(self, batch_id: str, table: str) -> list[str]:
        """The canonical JSON of the batch's records of one table, in order."""
        if "record" not in _record_table(table).columns:
            raise UnknownTable(f'table "{table}" has no column "record"; read its typed columns with read_batch.')
        return self.read_batch(batch_id, table)["record"].to_list()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, for several questions to one state; writers wait until it is closed.

        Raises `WarehouseBusy`.
        """
        with self._file.reading() as connection:
            yield connection

    @contextmanager
    def confined(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """As `reading`, for SQL of strangers: it reaches no file, no network and no setting (`warehouse.confined`)."""
        with self._file.reading(confined=True) as connection:
            yield connection

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Run one SELECT on a read-only connection. Parameters are `?` with a sequence or `$name` with a mapping.

        Raises `duckdb.Error` for wrong SQL and `WarehouseBusy`.
        """
        with self._file.reading() as connection:
            return connection.execute(sql, params).pl()


def _record_table(name: str) -> Table:
    table = table_named(name)
    if table not in RECORD_TABLES:
        raise UnknownTable(f'table "{name}" is kept by the warehouse itself; batches hold rows of the other tables.')
    return table


def _batch(row: tuple[Any, ...] | None) -> Batch | None:
    if row is None:
        return None
    values = dict(zip(TABLES["batches"].columns, row, strict=True))
    return Batch(**values | {"created_at": values["created_at"].replace(tzinfo=UTC)})


def _find(connection: duckdb.DuckDBPyConnection, batch_id: str) -> Batch:
    batch = _batch(connection.execute("SELECT * FROM batches WHERE batch_id = ?", [batch_id]).fetchone())
    if batch is None:
        raise UnknownBatch(f"batch {batch_id} is not in the warehouse. List what is there: SELECT * FROM batches.")
    return batch
