"""A dataset folder in the making: Parquet shards by configuration and split, a card, hashes; there whole or not at all.

Rows are taken one by one and written in row groups, so that what is exported never has to fit in memory. The same rows
in the same order give the same bytes: nothing here depends on the clock, the machine or the folder's name.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from envs.work_folder import open_work_folder
from warehouse.errors import WarehouseError, naming_full_disk
from warehouse.export.columns import Configuration

CARD, SUMS = "README.md", "SHA256SUMS"


class ExportRefused(WarehouseError):
    """What was asked for cannot be exported: what, why, remedy."""


@dataclass(frozen=True)
class Limits:
    """How rows are cut into row groups and files."""

    group_rows: int = 256
    """What is held in memory, and what a reader that streams holds: long rollouts have tens of thousands of tokens."""
    shard_bytes: int = 256 * 2**20
    """A file that has reached this size is followed by another."""


@dataclass
class Written:
    """The files of one configuration and split."""

    rows: int = 0
    files: dict[str, str] = field(default_factory=dict)
    """Path in the folder → sha256."""
    size_bytes: int = 0
    arrow_bytes: int = 0
    """In memory, as `datasets` counts them."""


class _Shards:
    """The growing files of one configuration and split."""

    def __init__(self, root: Path, stem: str, schema: pa.Schema, limits: Limits) -> None:
        self.written = Written()
        self._root, self._stem, self._schema, self._limits = root, stem, schema, limits
        self._waiting: list[Mapping[str, Any]] = []
        self._file: BinaryIO | None = None
        self._parquet: pq.ParquetWriter | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        self._waiting.append(row)
        if len(self._waiting) >= self._limits.group_rows:
            self._flush()
            if self._file is not None and self._file.tell() >= self._limits.shard_bytes:
                self.close()

    def close(self) -> None:
        """Write what waits and end the file."""
        if self._waiting:
            self._flush()
        if self._parquet is None or self._file is None:
            return
        self._parquet.close()
        self._file.close()
        path = Path(self._file.name)
        self.written.files[path.relative_to(self._root).as_posix()] = _sha256(path)
        self.written.size_bytes += path.stat().st_size
        self._file = self._parquet = None

    def _flush(self) -> None:
        table = pa.Table.from_pylist(self._waiting, schema=self._schema)
        if self._parquet is None:
            path = self._root / f"{self._stem}-{len(self.written.files):05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._parquet = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        self._parquet.write_table(table)
        self.written.rows += table.num_rows
        self.written.arrow_bytes += table.nbytes
        self._waiting.clear()


class DatasetFolder:
    """A folder that appears when the block ends, with every row that was added and the card that was given."""

    def __init__(self, target: Path, configurations: Sequence[Configuration], limits: Limits = Limits()) -> None:
        """The first configuration is the default. An earlier export at `target` is replaced.

        Raises ExportRefused for a folder that holds anything else.
        """
        self.target, self.limits = target, limits
        self.configurations = {configuration.name: configuration for configuration in configurations}
        if target.exists() and not (target / SUMS).is_file() and not (target.is_dir() and not any(target.iterdir())):
            raise ExportRefused(f"{target} holds something that is no export. Name a new or an empty folder.")
        self._shards: dict[tuple[str, str], _Shards] = {}
        self._lines: dict[str, BinaryIO] = {}

    def __enter__(self) -> "DatasetFolder":
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._work = open_work_folder(f".{self.target.name}-unfinished-", self.target.parent)
        self.root = self._work.path
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._publish()
        finally:
            for file in self._lines.values():
                file.close()
            self._work.close()

    def add(self, configuration: str, split: str, row: Mapping[str, Any]) -> None:
        """One row more. Raises pyarrow.ArrowInvalid or ArrowTypeError for a value that is not of its column's type."""
        key = configuration, split
        if key not in self._shards:
            schema = self.configurations[configuration].schema
            self._shards[key] = _Shards(self.root, f"{configuration}/{split}", schema, self.limits)
        with naming_full_disk(self.target.parent):
            self._shards[key].add(row)

    def add_line(self, file: str, line: bytes) -> None:
        """One line more, with its line end, of a file beside the Parquet ones."""
        with naming_full_disk(self.target.parent):
            if file not in self._lines:
                self._lines[file] = (self.root / file).open("wb")
            self._lines[file].write(line)

    def finish(self) -> dict[tuple[str, str], Written]:
        """End every file: what was written, by configuration and split, in the order of the first row of each."""
        with naming_full_disk(self.target.parent):
            for shards in self._shards.values():
                shards.close()
            for file in self._lines.values():
                file.close()
        return {key: shards.written for key, shards in self._shards.items()}

    def line_files(self) -> dict[str, str]:
        """The finished files of lines, each with its sha256."""
        return {name: _sha256(self.root / name) for name in self._lines}

    def describe(self, card: str) -> None:
        """Put the card beside the data."""
        (self.root / CARD).write_text(card, encoding="utf-8")

    def _publish(self) -> None:
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        sums = "".join(f"{_sha256(path)}  {path.relative_to(self.root).as_posix()}\n" for path in files)
        (self.root / SUMS).write_text(sums, encoding="utf-8")
        self.root.chmod(0o755)  # as a folder is made without mkdtemp
        if self.target.exists():
            shutil.rmtree(self.target)
        self.root.replace(self.target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
