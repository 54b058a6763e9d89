"""From an older schema to this one: a backup beside the file, then one transaction. The schema itself is in `tables`.

A column that is marked as added in `tables` needs no statement here: files that lack it get it at the end. Views belong
to the code and not to the file: they are made again whenever the code's differ from those it holds.
"""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from warehouse.columns import Column
from warehouse.errors import SchemaVersionMismatch, naming_full_disk, naming_read_only
from warehouse.replacement import sync
from warehouse.tables import SCHEMA_VERSION, TABLES, remembered_sql, view_sql, views_sha256

MIGRATIONS: dict[int, tuple[str, ...]] = {
    3: (
        "CREATE TABLE runtimes (id VARCHAR NOT NULL, code_version VARCHAR, dirty BOOLEAN, lock_sha256 VARCHAR, "
        "python VARCHAR, machine VARCHAR, libraries VARCHAR)",
        "CREATE TABLE quarantines (id VARCHAR NOT NULL, kind VARCHAR, record_id VARCHAR, reason VARCHAR, "
        "created_at TIMESTAMP, lifted_at TIMESTAMP)",
        "ALTER TABLE batches ADD COLUMN runtime_id VARCHAR",
        "CREATE TABLE givens (id VARCHAR NOT NULL, kind VARCHAR, name VARCHAR, record VARCHAR)",
    ),
}
"""The statements that lead from a version to the next: written out, since `tables` will go on changing.

They are for everything but a new column, which `tables` alone has to name."""


def is_current(connection: duckdb.DuckDBPyConnection, path: Path | str) -> bool:
    """Whether the file has this code's tables and views. Raises `SchemaVersionMismatch` if it cannot be given them."""
    held = _meta(connection)
    found = held.get("schema_version")
    if found == str(SCHEMA_VERSION):
        if held.get("views_sha256") == views_sha256():
            return True
        missing_columns(connection, path)
        return False
    if found not in {str(version) for version in MIGRATIONS}:
        raise SchemaVersionMismatch(
            f"{path}: schema version {found}, this code reads {SCHEMA_VERSION} and migrates from {min(MIGRATIONS)} on. "
            "Use the version of EnvLoom that wrote it, or move the file away."
        )
    return False


def missing_columns(connection: duckdb.DuckDBPyConnection, path: Path | str) -> list[tuple[str, Column]]:
    """(table, column) of each added column that the file lacks, in the order of `tables`.

    Raises `SchemaVersionMismatch` if the file has a column that this code does not know, or lacks one of always.
    """
    stored = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
    held = {(table, column) for table, column in connection.execute(stored).fetchall() if table in TABLES}
    known = {(table.name, column.name): column for table in TABLES.values() for column in table.columns.values()}
    if unknown := sorted(held - set(known)):
        names = ", ".join(".".join(name) for name in unknown)
        raise SchemaVersionMismatch(
            f"{path}: this code does not know the columns {names}. Use the version of EnvLoom that wrote it."
        )
    missing = [name for name in known if name not in held]
    if lost := [".".join(name) for name in missing if not known[name].added]:
        raise SchemaVersionMismatch(
            f"{path}: the columns {', '.join(lost)} are missing, which every version has. "
            "Put a backup in its place, or move the file away."
        )
    return [(table, known[table, column]) for table, column in missing]


def lacking(connection: duckdb.DuckDBPyConnection, path: Path | str) -> str:
    """Names the added columns that the file lacks; empty if it has all. Raises as `missing_columns`."""
    names = ", ".join(f"{table}.{column.name}" for table, column in missing_columns(connection, path))
    return f"without {names}" if names else ""


def back_up(path: Path, version: int) -> Path:
    """A copy beside the file, named by version and time; it is there whole or not at all.

    The caller holds the lock, and the file has no log. Raises `DiskFull` and `WarehouseReadOnly`.
    """
    target = path.with_name(f"{path.stem}.v{version}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}")
    temporary = path.with_name(f".backing-up-{path.name}")
    with naming_full_disk(path.parent), naming_read_only(path.parent):
        try:
            shutil.copyfile(path, temporary)
            sync(temporary)
            temporary.replace(target)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return target


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring tables and views to this code's, in one transaction: killed at any moment, the file is old or new."""
    connection.execute("BEGIN")
    for version in range(version_of(connection), SCHEMA_VERSION):
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
    for table, column in missing_columns(connection, "the migrated file"):
        connection.execute(f'ALTER TABLE {table} ADD COLUMN "{column.name}" {column.sql}')
    for statement in (*view_sql(), *remembered_sql()):
        connection.execute(statement)
    connection.execute("COMMIT")


def version_of(connection: duckdb.DuckDBPyConnection) -> int:
    """The schema's version that the file holds."""
    return int(_meta(connection)["schema_version"])


def _meta(connection: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())
