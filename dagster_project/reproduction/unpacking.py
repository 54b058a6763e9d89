"""A bundle's archive, read from front to back into a folder: only the files of its header, and never more than bounded.

Links, devices, sparse files, names in use and names outside the header are refused at sight, before their content.
"""

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from dagster_project.reproduction.containment import BundleBroken, path_inside, shortened
from dagster_project.reproduction.header import HEADER, BundleHeader, read_header
from warehouse.errors import naming_full_disk

GIB = 2**30
MOST_BYTES = 20 * GIB
"""What an archive may unpack to unless more is allowed; half of the free disk if that is less."""
RATIO, UNBOUNDED_BYTES = 100, 256 * 2**20
"""What an archive may unpack to for each of its bytes, beyond the second: Parquet and weights hardly shrink at all."""
HEADER_BYTES = 256 * 2**20
_NAME_BYTES = 2**20
"""What may stand before a member's content: its tar header, with a long name."""
_CHUNK = 2**20


def default_most_bytes(folder: Path) -> int:
    """The bound for an archive that is unpacked into `folder`."""
    return min(MOST_BYTES, shutil.disk_usage(folder).free // 2)


def unpack(path: Path, folder: Path, most_bytes: int) -> BundleHeader:
    """The header of the archive, once every file it names is in `folder` with its sha256.

    Raises BundleBroken, and DiskFull for what the archive is not to blame for.
    """
    try:
        with (
            naming_full_disk(folder),
            _opened(path, most_bytes) as stream,
            tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive,
        ):
            header = _header(archive, stream)
            _extract(archive, stream, header, folder)
            return header
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, BundleBroken):
            raise
        raise BundleBroken(f"cannot be unpacked whole ({type(error).__name__}: {error})") from error


class _Bounded:
    """A stream that gives as many bytes as were allowed, and fails at the next one."""

    def __init__(self, stream: BinaryIO, most_bytes: int, compressed_bytes: int) -> None:
        self._stream = stream
        self._rest, self._allowed = most_bytes, 0
        self._ratio = compressed_bytes * RATIO + UNBOUNDED_BYTES

    def allow(self, size: int) -> None:
        """Give so many more bytes, and the header of the next member. Raises BundleBroken beyond the bounds."""
        if size > self._rest:
            raise BundleBroken(
                f"would take more than {self._rest / GIB:.1f} GiB that are left for it here. Free some disk, or allow "
                "more (--max-gib)"
            )
        if size > self._ratio:
            raise BundleBroken(f"would unpack to more than {RATIO} times its size, as no history does")
        self._rest, self._ratio = self._rest - size, self._ratio - size
        self._allowed = size + _NAME_BYTES

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._allowed -= len(content)
        if self._allowed < 0:
            raise BundleBroken("has a member with a header that does not end")
        return content


@contextmanager
def _opened(path: Path, most_bytes: int) -> Iterator[_Bounded]:
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file, mode="rb") if magic == b"\x1f\x8b" else file
        bounded = _Bounded(cast(BinaryIO, stream), most_bytes, path.stat().st_size)
        bounded.allow(0)
        yield bounded


def _header(archive: tarfile.TarFile, stream: _Bounded) -> BundleHeader:
    member = archive.next()
    if member is None or member.name != HEADER or not _is_file(member):
        raise BundleBroken(f"does not begin with {HEADER}")
    if member.size > HEADER_BYTES:
        raise BundleBroken(f"{HEADER} is larger than {HEADER_BYTES >> 20} MiB")
    stream.allow(member.size)
    file = archive.extractfile(member)
    return read_header(file.read() if file else b"")


def _extract(archive: tarfile.TarFile, stream: _Bounded, header: BundleHeader, folder: Path) -> None:
    missing = dict(header.files)
    while member := archive.next():
        sha256 = missing.pop(member.name, None)
        if sha256 is None or not _is_file(member):
            raise BundleBroken(f"{shortened(member.name)} does not belong to it, or is no plain file, or comes twice")
        stream.allow(member.size)
        if _written(archive, member, path_inside(folder, member.name)) != sha256:
            raise BundleBroken(f"{member.name} was altered")
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps what it has read
    if missing:
        raise BundleBroken(f"{min(missing)} is missing")


def _is_file(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _written(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> str:
    """The sha256 of a member's content, which is in `target` then."""
    source = archive.extractfile(member)
    assert source is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
