"""A history in one archive: batches with their rows, what they were given, briefs, hooks, adapters with manifests.

Another machine opens it as a home and verifies or makes it again; the base model is fetched there by its name. Equal
histories give equal archives. `bundle.json` comes first and has the sha256 of every file. How an archive is unpacked is
in `unpacking`.
"""

import gzip
import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagster_project.home import Home
from dagster_project.reproduction.containment import BundleBroken, path_inside
from dagster_project.reproduction.header import HEADER, VERSION, BundledBatch, BundleHeader
from dagster_project.reproduction.scratch import NotHere, hooks_file, page_file
from dagster_project.reproduction.unpacking import default_most_bytes, unpack
from envs.record import canonical_json, content_id
from warehouse.copying import edges_of, givens_of, inputs_of, runtime_of
from warehouse.errors import DiskFull, WarehouseBusy, WarehouseError
from warehouse.givens import Given
from warehouse.lineage import Edge
from warehouse.parts import to_arrow
from warehouse.queries.checkpoint_history import Target
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse

__all__ = ["BundleBroken", "open_bundle", "write_bundle"]
REMEDY = "Write it again where it came from (envloom bundle), and copy it whole."


def write_bundle(home: Home, target: Target, out: Path) -> dict[str, int]:
    """Write the archive, through a temporary name; compressed if it is called `.gz`. Batches, files and bytes of it.

    Raises NotHere for an artefact that is missing.
    """
    warehouse = Warehouse(home.warehouse, home.parts)
    with TemporaryDirectory(prefix="envloom-bundle-") as folder:
        files: dict[str, Path] = {}
        batches = []
        for batch in target.batches:
            frames = warehouse.read_whole(batch.batch_id)
            for table, frame in frames.items():
                name = f"rows/{batch.batch_id}/{table}.parquet"
                files[name] = Path(folder) / name
                files[name].parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(to_arrow(TABLES[table], frame.to_dicts()), files[name], compression="zstd")
            files |= _weights(home, frames["checkpoints"].to_dicts() if "checkpoints" in frames else [])
            files |= _pages(home, batch) if batch.asset == "brief" else {}
            batches.append(
                {
                    "id": batch.batch_id,
                    "asset": batch.asset,
                    "partition": batch.partition,
                    "data_version": batch.data_version,
                    "code_version": batch.code_version,
                    "run_id": batch.run_id,
                    "runtime": runtime_of(warehouse, batch),
                    "inputs": inputs_of(warehouse, batch.batch_id),
                    "edges": [asdict(edge) for edge in edges_of(warehouse, batch.batch_id)],
                    "givens": [given.id for given in givens_of(warehouse, batch.batch_id)],
                    "tables": sorted(frames),
                }
            )
        givens = {
            given.id: [given.kind, given.name, given.record]
            for batch in target.batches
            for given in givens_of(warehouse, batch.batch_id)
        }
        header = {
            "bundle": VERSION,
            "checkpoint": target.checkpoint_id,
            "batches": batches,
            "givens": givens,
            "files": {name: _sha256(path) for name, path in sorted(files.items())},
        }
        unfinished = out.with_name(f".{out.name}.unfinished")
        with _opened(unfinished, out.suffix == ".gz") as archive:
            _add(archive, HEADER, canonical_json(header | {"id": content_id(header)}))
            for name, path in sorted(files.items()):
                _add(archive, name, path.read_bytes())
        unfinished.replace(out)
    return {"batches": len(batches), "files": len(files), "bytes": out.stat().st_size}


def open_bundle(path: Path, root: Path, most_bytes: int | None = None) -> tuple[Home, str]:
    """A home in the empty folder `root` with what the archive holds, and the checkpoint's id.

    `most_bytes` bounds what is unpacked; None: `default_most_bytes`. Raises BundleBroken, which names the archive.
    """
    home = Home(root)
    most_bytes = default_most_bytes(root) if most_bytes is None else most_bytes
    try:
        header = unpack(path, root, most_bytes)
        for folder in (home.parts, home.artefacts):
            folder.mkdir(exist_ok=True)
        warehouse = Warehouse(home.warehouse, home.parts)
        for batch in header.batches:
            identity = _recorded(warehouse, root, header, batch, most_bytes).batch_id
            if identity != batch.id:
                raise BundleBroken(f"batch {batch.id} of {batch.asset} comes out as {identity}")
    except BundleBroken as error:
        raise BundleBroken(f"{path}: {str(error).rstrip('.')}. {REMEDY}") from error
    return home, header.checkpoint


def _recorded(warehouse: Warehouse, root: Path, header: BundleHeader, batch: BundledBatch, most_bytes: int) -> Batch:
    """The batch in the warehouse, with the rows that are unpacked in `root`. Raises BundleBroken."""
    tables = {table: _rows(root, f"rows/{batch.id}/{table}.parquet", table, most_bytes) for table in batch.tables}
    try:
        return warehouse.record_batch(
            batch.asset,
            batch.partition,
            tables,
            [Edge(**edge.model_dump()) for edge in batch.edges],
            run_id=batch.run_id,
            code_version=batch.code_version,
            data_version=batch.data_version,
            inputs=[warehouse.batch(each) for each in batch.inputs],
            runtime=batch.runtime,
            givens=[Given(*header.givens[each]) for each in batch.givens],
        )
    except (WarehouseBusy, DiskFull):
        raise  # of this machine, not of the archive
    except (WarehouseError, duckdb.Error, pa.ArrowException, ValueError, TypeError) as error:
        raise BundleBroken(f"batch {batch.id} of {batch.asset} cannot be recorded ({error})") from error


def _rows(root: Path, name: str, table: str, most_bytes: int) -> pa.Table:
    """The rows of a Parquet file, text as dictionaries. Raises BundleBroken, also for more than `most_bytes`."""
    texts = [column for column, kind in TABLES[table].columns.items() if kind in ("text", "json")]
    file = path_inside(root, name)
    try:
        with pq.ParquetFile(file, read_dictionary=texts) as opened:
            if _declared_bytes(opened.metadata) > most_bytes:
                raise BundleBroken(f"{name} holds more than {most_bytes} bytes of rows")
            rows = opened.read()
        # A text of megabytes may stand in a million rows: it is one dictionary entry until here.
        if sum(map(_text_bytes, rows.columns)) > most_bytes:
            raise BundleBroken(f"{name} holds more than {most_bytes} bytes of text")
    except (pa.ArrowException, OSError, MemoryError, KeyError) as error:
        raise BundleBroken(f"{name} is no Parquet file with the columns of {table} ({error})") from error
    return rows


def _declared_bytes(metadata: pq.FileMetaData) -> int:
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    return sum(max(8 * column.num_values, column.total_uncompressed_size) for column in columns)


def _text_bytes(column: pa.ChunkedArray) -> int:
    """How long the texts of a dictionary column are, written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(length.cast(pa.int64())).as_py() or 0 for length in lengths)


def _weights(home: Home, rows: list[dict[str, Any]]) -> dict[str, Path]:
    """The files of the checkpoints among a batch's rows; base models are not carried."""
    files: dict[str, Path] = {}
    for row in rows:
        if row["kind"] == "base":
            continue
        folder = path_inside(home.artefacts, row["id"])
        if not folder.is_dir():
            raise NotHere(f"the checkpoint {folder} is gone; without it there is nothing to carry")
        files |= {f"artefacts/{folder.name}/{file.name}": file for file in sorted(folder.iterdir())}
    return files


def _pages(home: Home, batch: Batch) -> dict[str, Path]:
    """A brief and its hooks."""
    page = page_file(home, batch)
    if not page.is_file():
        raise NotHere(f"the brief {page} is gone; without it there is nothing to carry")
    files = [page, hooks_file(home, batch)]
    return {f"artefacts/{file.name}": file for file in files if file is not None}


@contextmanager
def _opened(path: Path, compressed: bool) -> Iterator[tarfile.TarFile]:
    with path.open("wb") as file:
        if not compressed:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                yield archive
            return
        with (
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            yield archive


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file with nothing of this machine in it: no owner, no time."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
