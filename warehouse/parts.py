"""Parts: Arrow files that wait to be ingested, written by any process without a lock.

A part is one file (`<table>/<key>-<hash of its bytes>.arrow`) or one bundle (a folder `bundles/<name>/` with a
`<table>-<hash>.arrow` for each of several tables, which appear together or not at all). Validating rows against the
schema lives here; DuckDB does not.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from envs.record import canonical_json
from warehouse.errors import PartUnreadable, RowsRejected, naming_full_disk
from warehouse.replacement import sync
from warehouse.tables import TABLES, Table, table_named

Rows: TypeAlias = "Iterable[Mapping[str, Any]] | pa.Table | pl.DataFrame"

_BUNDLES, _QUARANTINE = "bundles", "quarantine"
_LONGEST_NAME = 200
"""Bytes of a part's own name in its name in quarantine: a name has at most 255."""
_STALE_S = 24 * 3600.0

_OWN_FAULT = {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.EISDIR}
"""Why a file cannot be read that is the file's own fault, and not that of a machine out of memory or handles."""

_DAMAGED = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
"""What PyArrow raises for bytes that are no table: a damaged length asks for memory, a damaged name is no UTF-8."""

REUSED = pa.system_memory_pool()
"""Memory for rows on their way: what is freed is used again, where Arrow's own pool gives it back to the system and
fetches it anew, which takes a fifth of an ingest (measured)."""


def to_arrow(table: Table, rows: Rows) -> pa.Table:
    """Rows in the table's columns, order and types. Raises `RowsRejected` that names the table and the column.

    Every column must be given and no other; null is allowed outside the key. In dictionaries a JSON column may hold any
    JSON value (written canonically) and a map column a dictionary.
    """
    if isinstance(rows, pl.DataFrame):
        return _cast(table, rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
    if isinstance(rows, pa.Table):
        return _cast(table, rows)
    listed = list(rows)
    for number, row in enumerate(listed):
        _check_columns(table, list(row), f"row {number}")
    columns = {}
    for field in table.schema:
        values = [_value(table, field.name, row[field.name]) for row in listed]
        try:
            columns[field.name] = pa.array(values, type=field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise RowsRejected(_wrong_type(table, field, error)) from error
    return _with_keys(table, columns)


def _value(table: Table, column: str, value: Any) -> Any:
    """A dictionary's value as Arrow takes it: JSON as canonical text, a map as pairs sorted by key."""
    kind = table.columns[column].kind
    if kind == "json" and value is not None and not isinstance(value, str):
        return (value if isinstance(value, bytes) else canonical_json(value)).decode()
    if kind == "map" and isinstance(value, Mapping):
        return sorted(value.items())
    return value


def _check_columns(table: Table, names: Sequence[str], place: str) -> None:
    counts = Counter(names)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise RowsRejected(f"{table.name}: {place}: columns {repeated} stand there more than once.")
    missing, unknown = sorted(set(table.columns) - set(counts)), sorted(set(counts) - set(table.columns))
    if missing or unknown:
        said = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
        raise RowsRejected(
            f"{table.name}: {place}: columns {' and '.join(said)}. The columns are {', '.join(table.columns)}."
        )


def _cast(table: Table, rows: pa.Table) -> pa.Table:
    _check_columns(table, rows.column_names, "rows")
    columns = {}
    for field in table.schema:
        try:
            columns[field.name] = rows.column(field.name).cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise RowsRejected(_wrong_type(table, field, error)) from error
    return _with_keys(table, columns)


def _wrong_type(table: Table, field: pa.Field, error: Exception) -> str:
    return f"{table.name}.{field.name}: not {field.type}: {error}. Give values of that type, or null."


def _with_keys(table: Table, columns: dict[str, Any]) -> pa.Table:
    for column in table.key:
        if nulls := columns[column].null_count:
            raise RowsRejected(f"{table.name}.{column}: null in {nulls} rows, but it is part of the key.")
    return pa.table(columns, schema=table.schema)


def record_ids(table: Table, rows: pa.Table) -> list[str]:
    """The name of each row among a batch's members: its key, the columns of a composite one joined by a slash."""
    keys = [rows.column(column).to_pylist() for column in table.key]
    return ["/".join(map(str, key)) for key in zip(*keys, strict=True)]


def _as_of_now(table: Table, rows: pa.Table) -> pa.Table:
    """A part of this or an earlier version of the schema, with the columns added since."""
    for name, column in table.columns.items():
        if column.added and name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows))
    return rows


@dataclass(frozen=True)
class Part:
    """Something waiting under the parts folder: a file or a bundle."""

    path: Path
    files: tuple[tuple[str, Path], ...]
    """Each file, with the name of the table whose rows it should hold."""

    def holds(self, table: str) -> bool:
        """Whether it has a file of this table."""
        return any(name == table for name, _ in self.files)

    def read(self) -> dict[str, pa.Table]:
        """The rows of every table. Raises `PartUnreadable`, and `FileNotFoundError` when it was ingested meanwhile."""
        tables: dict[str, pa.Table] = {}
        for name, file in self.files:
            if name in tables:
                raise PartUnreadable(f"{file}: a second file of {name} in one bundle.")
            tables[name] = self._read(name, file)
        return tables

    def _read(self, name: str, file: Path) -> pa.Table:
        if not os.path.lexists(file):
            raise FileNotFoundError(errno.ENOENT, "ingested meanwhile", str(file))
        if name not in TABLES or file.suffix not in _READ or not file.is_file():
            raise PartUnreadable(f"{file}: not a part of a table of the warehouse.")
        try:
            content = file.read_bytes()
        except OSError as error:
            if error.errno not in _OWN_FAULT:
                raise
            raise PartUnreadable(f"{file}: {error}") from error
        if file.suffix == ".arrow" and not file.stem.endswith(f"-{_checksum(content)}"):
            raise PartUnreadable(f"{file}: damaged or cut short: its bytes do not have the hash that its name ends in.")
        try:
            rows = _READ[file.suffix](pa.BufferReader(content))
            rows.validate(full=True)  # lengths, offsets, UTF-8: DuckDB and Polars take them on trust, and crash
            return to_arrow(TABLES[name], _as_of_now(TABLES[name], rows))
        except (*_DAMAGED, RowsRejected) as error:
            raise PartUnreadable(f"{file}: {error}") from error


class Parts:
    """The folder of waiting parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, rows: Rows, key: str) -> Path:
        """Write one part and return its path. It appears whole or not at all, and survives a crash after the return.

        The file's name ends in the hash of its bytes: a repeated write is the same file, a part that is being
        ingested is never replaced by another, and a damaged one is found out.
        Raises `UnknownTable`, `RowsRejected`, `DiskFull`.
        """
        table = table_named(name)
        _check_name(name, key)
        content = _encoded(to_arrow(table, rows))
        target = self.folder / name / f"{key}-{_checksum(content)}.arrow"
        with naming_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=target.parent)
            try:
                _write_synced(handle, content)
                os.replace(temporary, target)  # noqa: PTH105 (the name of the promise: atomic replacement)
            finally:
                Path(temporary).unlink(missing_ok=True)
            sync(target.parent)
        return target

    def write_bundle(self, name: str, tables: Mapping[str, pa.Table]) -> None:
        """Write the parts of several tables as one bundle, unless one of that name waits. Raises as `write`."""
        _check_name(_BUNDLES, name)
        target = self.folder / _BUNDLES / name
        with naming_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
            try:
                for table, rows in tables.items():
                    content = _encoded(rows)
                    file = temporary / f"{table}-{_checksum(content)}.arrow"
                    _write_synced(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), content)
                sync(temporary)
                _rename_unless_there(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync(target.parent)

    def waiting(self) -> Iterator[Part]:
        """Every waiting part, sorted by path. What is no part at all is listed too, so that it is quarantined."""
        for entry in _visible(self.folder):
            if entry.name == _QUARANTINE:
                continue
            if not entry.is_dir():
                yield Part(entry, (("", entry),))
                continue
            for found in _visible(entry):
                if entry.name == _BUNDLES and found.is_dir():
                    yield Part(found, tuple((file.stem.partition("-")[0], file) for file in _visible(found)))
                else:
                    yield Part(found, ((entry.name, found),))

    def remove(self, part: Part) -> None:
        """Remove a part whose rows are committed."""
        if part.path.is_dir():
            shutil.rmtree(part.path)
        else:
            part.path.unlink()

    def quarantine(self, part: Part, reason: str) -> Path:
        """Move a part aside with its reason next to it, so that it blocks nothing and is not lost."""
        relative = part.path.relative_to(self.folder)
        name = os.fsdecode(os.fsencode("-".join(relative.parts))[-_LONGEST_NAME:])
        target = self.folder / _QUARANTINE / f"{time.time_ns()}-{name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        part.path.rename(target)
        target.with_name(f"{target.name}.reason").write_text(json.dumps({"part": str(relative), "reason": reason}))
        return target

    def sweep(self) -> None:
        """Remove half-written files of writers that died more than a day ago."""
        for unfinished in self.folder.glob("*/.writing-*"):
            with suppress(FileNotFoundError):  # its writer finishes it now
                if time.time() - unfinished.stat().st_mtime > _STALE_S:
                    shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()


def _check_name(folder: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise RowsRejected(f'{folder}: part key "{name}": use letters, digits, dots, dashes and underscores only.')


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:  # none was written yet, or it was ingested meanwhile
        return []


def _encoded(rows: pa.Table) -> bytes:
    """A part lives until the next ingest: beside Parquet this is read and written several times faster (measured)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows.combine_chunks())
    return sink.getvalue().to_pybytes()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


_READ: dict[str, Callable[[pa.BufferReader], pa.Table]] = {
    ".arrow": lambda content: pa.ipc.open_file(content, memory_pool=REUSED).read_all(),
    ".parquet": pq.read_table,  # as earlier versions wrote parts
}


def _write_synced(handle: int, content: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename_unless_there(temporary: Path, target: Path) -> None:
    """Give a folder its name; where another process was first, its folder stays."""
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
