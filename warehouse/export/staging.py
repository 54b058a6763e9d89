"""Rows on their way out: copied from DuckDB to Parquet files in one short read, then taken from there at leisure.

So the warehouse is locked for as long as DuckDB sorts and copies, and not for as long as an export renders; what is
sorted spills to disk; and at most a few hundred rows are in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from warehouse.errors import naming_full_disk
from warehouse.warehouse import Warehouse

_ROWS = 256


def stage(warehouse: Warehouse, select: str, params: Mapping[str, Any], file: Path) -> None:
    """Copy what `select` gives to `file`. Raises `duckdb.Error`, `WarehouseBusy`, `DiskFull`."""
    with naming_full_disk(file.parent):
        warehouse.query(f"COPY ({select}) TO '{_quoted(file)}' (FORMAT parquet, ROW_GROUP_SIZE 2048)", params)


def staged(file: Path) -> str:
    """The rows of a staged file, for the FROM of another query."""
    return f"read_parquet('{_quoted(file)}')"


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a staged file, in order."""
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=_ROWS):
            yield from batch.to_pylist()


def _quoted(file: Path) -> str:
    return str(file).replace("'", "''")
