"""The warehouse: immutable rows in one DuckDB file, in batches, written under a file lock and read at any time.

A batch is what one materialisation of an asset produced. Rows are stored once; batches name them in order, so that
every batch stays readable. The schema lives in `tables`, the waiting Parquet files in `parts`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from envs.record import content_id
from warehouse.connection import DatabaseFile
from warehouse.errors import PartUnreadable, UnknownBatch, UnknownTable, naming_full_disk
from warehouse.lineage import Edge
from warehouse.parts import Part, Parts, Rows, record_ids, to_arrow
from warehouse.tables import RECORD_TABLES, TABLES, Table, table_named

logger = logging.getLogger(__name__)

_GROUP_BYTES = 2**30
"""Parts are inserted in groups of about this many Arrow bytes: never all in memory, but few groups, since DuckDB
appends more slowly to what a transaction has not committed (measured: groups of a quarter took a third longer)."""

_ABOUT_RECORDING = {"batches": ("created_at",), "lineage_edges": ("batch_id",)}
"""Columns that tell when a row was recorded and not what it is."""


@dataclass(frozen=True)
class Batch:
    """One materialisation of an asset: what it was made by, and the hash of what it holds."""

    batch_id: str
    asset: str
    partition: str | None
    data_version: str
    code_version: str
    run_id: str
    created_at: datetime
    """UTC."""
    n_rows: int


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did, counted per table."""

    inserted: Counter[str] = field(default_factory=Counter)
    already_present: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    """Rows whose key was present with other content. The first one is kept: records never change."""
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    """Where unreadable parts were moved, and why."""


class Warehouse:
    """One DuckDB file and the folder of parts that wait for it. Holds no connection between calls."""

    def __init__(self, path: Path, parts_dir: Path, *, timeout_s: float = 120.0) -> None:
        """`timeout_s`: how long any call waits for other processes before it raises `WarehouseBusy`."""
        self.path, self.parts_dir = path, parts_dir
        self._file = DatabaseFile(path, timeout_s)
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
            if table in part.files:
                try:
                    found.append(part.read()[table])
                except FileNotFoundError:
                    continue  # ingested meanwhile, and so visible to a query
                except PartUnreadable as error:
                    logger.warning("skipped a part that the next ingest will quarantine: %s", error)
        frame = pl.from_arrow(_first_of_each_key(schema, pa.concat_tables(found)))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def ingest(self) -> IngestReport:
        """Take in every waiting part, in one transaction under the lock; remove the parts after the commit.

        Unreadable parts are moved to `quarantine/` with the reason, and the rest is ingested. Interrupted at any
        moment, the next ingest finishes the work. Raises `DiskFull`, `WarehouseBusy`; then nothing has changed.
        """
        report = IngestReport()
        with naming_full_disk(self.path.parent), self._file.locked():
            waiting = list(self._parts.waiting())
            if not waiting:
                return report
            taken: list[Part] = []
            with self._file.writing() as connection:
                connection.execute("BEGIN")
                for group in self._groups(waiting, taken, report):
                    for name, tables in group.items():
                        _insert(connection, TABLES[name], tables, report)
                connection.execute("COMMIT")
            for part in taken:
                self._parts.remove(part)
            self._parts.sweep()
        if report.differing:
            logger.warning("rows present with other content were not replaced: %s", dict(report.differing))
        return report

    def _groups(
        self, waiting: list[Part], taken: list[Part], report: IngestReport
    ) -> Iterator[dict[str, list[pa.Table]]]:
        """The parts' rows by table, in groups of bounded size; what was read is added to `taken`."""
        group: dict[str, list[pa.Table]] = {}
        size = 0
        for part in waiting:
            try:
                tables = part.read()
            except PartUnreadable as error:
                report.quarantined.append((self._parts.quarantine(part, str(error)), str(error)))
                logger.warning("quarantined a part: %s", error)
                continue
            taken.append(part)
            for name, rows in tables.items():
                group.setdefault(name, []).append(rows)
                size += rows.nbytes
            if size > _GROUP_BYTES:
                yield group
                group, size = {}, 0
        yield group

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
    ) -> Batch:
        """Store what one materialisation produced: rows, their order, edges and the batch, together or not at all.

        Rows already stored are named again, not stored again. `data_version` defaults to the hash of the ordered row
        ids of each table. `inputs` are the batches it was made from. The batch's id is the hash of asset, partition,
        data version and run, so that a repeated call of one run is the same batch.
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
        }
        told = [*edges, *(Edge("batch", used.batch_id, "batch", batch_id, "input") for used in inputs)]
        book: dict[str, list[dict[str, Any]]] = {
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

    def records(self, batch_id: str, table: str) -> list[str]:
        """The canonical JSON of the batch's records of one table, in order."""
        if "record" not in _record_table(table).columns:
            raise UnknownTable(f'table "{table}" has no column "record"; read its typed columns with read_batch.')
        return self.read_batch(batch_id, table)["record"].to_list()

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


def _first_of_each_key(table: Table, rows: pa.Table) -> pa.Table:
    """The rows without those whose key came before, in order. Most often all of them, as they are."""
    keys = pl.from_arrow(rows.select(table.key))
    assert isinstance(keys, pl.DataFrame)
    if keys.n_unique() == keys.height:
        return rows
    places = keys.with_row_index("place").unique(subset=list(table.key), keep="first", maintain_order=True)["place"]
    return rows.take(places.to_arrow())


def _not_stored(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> pa.Table:
    """The rows whose key the table does not hold, in order.

    Keys alone are joined: joined whole, rows are copied into a hash table as soon as the table is the larger side.
    """
    places = pa.array(range(rows.num_rows), type=pa.int64())
    connection.register("candidates", rows.select(table.key).append_column("place", places))
    anti_join = f"SELECT place FROM candidates ANTI JOIN {table.name} USING ({', '.join(table.key)}) ORDER BY place"
    new = connection.execute(anti_join).to_arrow_table()["place"]
    return rows if len(new) == rows.num_rows else rows.take(new)


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: list[pa.Table], report: IngestReport) -> None:
    """Insert the rows whose key is not stored yet; count the others, and those of them that differ from the stored."""
    staged = pa.concat_tables(rows)
    new = _not_stored(connection, table, _first_of_each_key(table, staged))
    connection.register("new_rows", new)
    connection.execute(f"INSERT INTO {table.name} SELECT * FROM new_rows")
    inserted = new.num_rows
    report.inserted[table.name] += inserted
    if present := staged.num_rows - inserted:
        report.already_present[table.name] += present
        same = [column for column in table.columns if column not in _ABOUT_RECORDING.get(table.name, ())]
        keys = ", ".join(table.key)
        ours, theirs = (", ".join(f'{side}."{column}"' for column in same) for side in "st")
        connection.register("staged", staged)
        compare = f"SELECT count(*) FROM staged s JOIN {table.name} t USING ({keys}) WHERE "
        if differing := _count(connection, f"{compare} row({ours}) IS DISTINCT FROM row({theirs})"):
            report.differing[table.name] += differing


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
