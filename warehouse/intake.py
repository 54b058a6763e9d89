"""Taking rows in: staged until they can be inserted well, what is stored already left out, everything counted.

The transaction around it and its lock are the warehouse's, the files that rows come from are `parts`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from warehouse.parts import REUSED
from warehouse.tables import TABLES, Table

_ROW_GROUP = 122_880
"""Rows that DuckDB compresses at a time. Given in batches of just as many, and at least two of them in an insert, they
are compressed once; given as they come, they are copied together first, which takes half as long again (measured)."""

_ENOUGH_BYTES, _MOST_BYTES = 2**28, 2**29
"""Beyond the first size, what makes whole row groups is inserted: less would look for keys too often. Beyond the
second, where rows are large, everything is inserted, so that never all is in memory."""

_ABOUT_RECORDING = {"batches": ("created_at",), "lineage_edges": ("batch_id",)}
"""Columns that tell when a row was recorded and not what it is."""


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did, counted per table."""

    inserted: Counter[str] = field(default_factory=Counter)
    already_present: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    """Rows whose key was present with other content. The first one is kept: records never change."""
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    """Where unreadable parts were moved, and why."""


class Intake:
    """Rows on their way into one transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, report: IngestReport) -> None:
        self._connection, self._report = connection, report
        self._staged: dict[str, list[pa.Table]] = {}
        self._rows: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def stage(self, tables: Mapping[str, pa.Table]) -> None:
        """Take rows of these tables; they are inserted now or later, in this order."""
        for name, rows in tables.items():
            self._staged.setdefault(name, []).append(rows)
            self._rows[name] += rows.num_rows
            self._bytes[name] += rows.nbytes
        if self._bytes.total() > _ENOUGH_BYTES:
            for name in [name for name, rows in self._rows.items() if rows >= 2 * _ROW_GROUP]:
                self._insert(name, self._rows[name] // _ROW_GROUP * _ROW_GROUP)
        if self._bytes.total() > _MOST_BYTES:
            self.finish()

    def finish(self) -> None:
        """Insert what is still staged."""
        for name in list(self._staged):
            self._insert(name, self._rows[name])

    def _insert(self, name: str, count: int) -> None:
        """Insert the first `count` of a table's staged rows, but for those whose key is stored: these are counted."""
        rows = pa.concat_tables(self._staged.pop(name))
        self._rows[name] = self._bytes[name] = 0
        inserted = _insert_new(self._connection, TABLES[name], staged := rows.slice(0, count))
        self._report.inserted[name] += inserted
        if present := count - inserted:
            self._report.already_present[name] += present
            if differing := _differing(self._connection, TABLES[name], staged):
                self._report.differing[name] += differing
        if count < rows.num_rows:
            self.stage({name: rows.slice(count)})


def refusal(tables: Mapping[str, pa.Table]) -> str:
    """DuckDB's reason to refuse rows that are sound as Arrow, such as a key twice in a map; empty if there is none."""
    with duckdb.connect() as memory:
        try:
            for name, rows in tables.items():
                memory.execute(TABLES[name].create_sql)
                memory.register("rows", rows)
                memory.execute(f"INSERT INTO {name} SELECT * FROM rows")
        except duckdb.Error as error:
            return f"{name}: {error}"
    return ""


def first_of_each_key(table: Table, rows: pa.Table) -> pa.Table:
    """The rows without those whose key came before, in order. Most often all of them, as they are."""
    keys = _first_keys(table, rows)
    return rows if keys.height == rows.num_rows else rows.take(keys["place"].to_arrow())


def _first_keys(table: Table, rows: pa.Table) -> pl.DataFrame:
    """Each key once, in order, with its row's `place`."""
    keys = pl.from_arrow(rows.select(table.key))
    assert isinstance(keys, pl.DataFrame)
    placed = keys.with_row_index("place")
    if keys.hash_rows().n_unique() == keys.height:  # equal keys have equal hashes: there are none
        return placed
    return placed.unique(subset=list(table.key), keep="first", maintain_order=True)


def _new_rows(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> pa.Table:
    """The first rows of keys that the table does not hold, in order.

    Keys alone are joined: joined whole, rows are copied into a hash table as soon as the table is the larger side.
    """
    connection.register("candidates", _first_keys(table, rows).to_arrow())
    anti_join = f"SELECT place FROM candidates ANTI JOIN {table.name} USING ({', '.join(table.key)}) ORDER BY place"
    new = connection.execute(anti_join).to_arrow_table()["place"]
    return rows if len(new) == rows.num_rows else rows.take(new)


def _insert_new(connection: duckdb.DuckDBPyConnection, table: Table, staged: pa.Table) -> int:
    """Insert the rows that are new; return how many they are."""
    new = _new_rows(connection, table, staged)
    batches = new.combine_chunks(memory_pool=REUSED).to_batches(max_chunksize=_ROW_GROUP)
    connection.register("new_rows", pa.Table.from_batches(batches, schema=new.schema))
    connection.execute(f"INSERT INTO {table.name} SELECT * FROM new_rows")
    connection.unregister("new_rows")
    return int(new.num_rows)


def _differing(connection: duckdb.DuckDBPyConnection, table: Table, staged: pa.Table) -> int:
    """How many of the rows are stored with other content under their key."""
    same = [column for name, column in table.columns.items() if name not in _ABOUT_RECORDING.get(table.name, ())]
    ours = ", ".join(f's."{column.name}"' for column in same)
    stored = (f't."{c.name}"' if not c.added else f'coalesce(t."{c.name}", s."{c.name}")' for c in same)
    theirs = ", ".join(stored)  # a row may be older than an added column
    connection.register("staged", staged)
    compare = f"SELECT count(*) FROM staged s JOIN {table.name} t USING ({', '.join(table.key)}) WHERE "
    [(found,)] = connection.execute(f"{compare} row({ours}) IS DISTINCT FROM row({theirs})").fetchall()
    connection.unregister("staged")
    return int(found)
