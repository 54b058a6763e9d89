"""A history in one archive: batches with their rows, what they were given, briefs, hooks, adapters with manifests.

Another machine opens it as a home and verifies or makes it again; the base model is fetched there by its name. Equal
histories give equal archives. `bundle.json` comes first and has the sha256 of every file.
"""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.home import Home
from dagster_project.reproduction.scratch import NotHere
from dagster_project.reproduction.target import Target
from envs.record import canonical_json, content_id
from warehouse.copying import edges_of, givens_of, inputs_of, runtime_of
from warehouse.givens import Given
from warehouse.lineage import Edge
from warehouse.parts import to_arrow
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

VERSION = 1
HEADER = "bundle.json"
REMEDY = "Write it again where it came from (envloom bundle), and copy it whole."


class BundleBroken(ValueError):
    """A file is no bundle, or not whole, or altered: what, and what to do."""


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
            files |= _pages(home, batch.data_version) if batch.asset == "brief" else {}
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


def open_bundle(path: Path, root: Path) -> tuple[Home, str]:
    """A home in the empty folder `root` with what the archive holds, and the checkpoint's id. Raises BundleBroken."""
    home = Home(root)
    header = _unpacked(path, root)
    for folder in (home.parts, home.artefacts):
        folder.mkdir(exist_ok=True)
    givens = {identity: Given(*told) for identity, told in header["givens"].items()}
    warehouse = Warehouse(home.warehouse, home.parts)
    for told in header["batches"]:
        tables: dict[str, pa.Table] = {
            table: pq.read_table(root / "rows" / told["id"] / f"{table}.parquet") for table in told["tables"]
        }
        batch = warehouse.record_batch(
            told["asset"],
            told["partition"],
            tables,
            [Edge(**edge) for edge in told["edges"]],
            run_id=told["run_id"],
            code_version=told["code_version"],
            data_version=told["data_version"],
            inputs=[warehouse.batch(each) for each in told["inputs"]],
            runtime=told["runtime"],
            givens=[givens[each] for each in told["givens"]],
        )
        if batch.batch_id != told["id"]:
            raise BundleBroken(f"{path}: batch {told['id']} of {told['asset']} comes out as {batch.batch_id}. {REMEDY}")
    return home, header["checkpoint"]


def _unpacked(path: Path, root: Path) -> dict[str, Any]:
    """The header, when every file is in `root` and has the sha256 that it says."""
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            archive.extractall(root, filter="data")  # nothing outside of it, no links out, no devices
        header = json.loads((root / HEADER).read_bytes())
        wrong = "its contents do not have the hash it says" if _identity(header) != header["id"] else ""
    except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as error:
        raise BundleBroken(f"{path}: cannot be unpacked whole ({type(error).__name__}: {error}). {REMEDY}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleBroken(f"{path}: {HEADER} is not one of a bundle ({error}). {REMEDY}") from error
    if header["bundle"] != VERSION:
        raise BundleBroken(
            f"{path}: version {header['bundle']}, this code reads {VERSION}. Use the code that wrote it."
        )
    names = {member.name for member in members}
    missing, extra = {HEADER, *header["files"]} - names, names - {HEADER, *header["files"]}
    if missing or extra:
        wrong = f"{min(missing)} is missing" if missing else f"{min(extra)} does not belong to it"
    altered = [name for name, told in header["files"].items() if not wrong and _sha256(root / name) != told]
    if wrong or altered:
        raise BundleBroken(f"{path}: {wrong or f'{altered[0]} was altered'}. {REMEDY}")
    return dict(header)


def _identity(header: dict[str, Any]) -> str:
    return content_id({name: value for name, value in header.items() if name != "id"})


def _weights(home: Home, rows: list[dict[str, Any]]) -> dict[str, Path]:
    """The files of the checkpoints among a batch's rows; base models are not carried."""
    files: dict[str, Path] = {}
    for row in rows:
        folder = home.artefacts / Path(row["path"]).name
        if row["kind"] == "base":
            continue
        if not folder.is_dir():
            raise NotHere(f"the checkpoint {folder} is gone; without it there is nothing to carry")
        files |= {f"artefacts/{folder.name}/{file.name}": file for file in sorted(folder.iterdir())}
    return files


def _pages(home: Home, version: str) -> dict[str, Path]:
    """A brief, and all hooks: which of them are its own is told by its hash."""
    page = home.artefacts / f"brief-{version}.json"
    if not page.is_file():
        raise NotHere(f"the brief {page} is gone; without it there is nothing to carry")
    return {f"artefacts/{file.name}": file for file in (page, *sorted(home.artefacts.glob("hooks-*.json")))}


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
