"""A database file that is replaced as a whole: a copy is changed, checked and synced, and then takes the file's place.

DuckDB's checkpoint writes anew, in place, blocks that the file still needs. A process killed inside such a write, or a
power cut, leaves a block that no reader accepts and a file that never opens again. So no checkpoint is ever made in the
file itself: torn at any write, a copy is only a copy.
"""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from warehouse.errors import naming_full_disk, naming_read_only

logger = logging.getLogger(__name__)
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


def log_of(path: Path) -> Path:
    """DuckDB's write-ahead log of a file: transactions that are committed and not yet part of it."""
    return path.with_name(f"{path.name}.wal")


@contextmanager
def replacement(path: Path, original: BinaryIO | None = None) -> Iterator[Path]:
    """A copy of `original` and its log, or no file yet; what it has become takes the place of both in the end.

    The caller holds the lock and leaves the copy closed, without a log. If it raises, nothing has changed.
    Raises `DiskFull` and `WarehouseReadOnly`.
    """
    copy = _unfinished(path)
    with naming_full_disk(path.parent), naming_read_only(path.parent):
        try:
            with _writable_place(copy) as working:
                if original is not None:
                    _copy(original, working)
                    if log_of(path).exists():
                        shutil.copyfile(log_of(path), log_of(working))
                yield working
                if working != copy:
                    shutil.copyfile(working, copy)
            if original is not None:
                _take_owner_and_mode(original, copy)
            sync(copy)
            _put_in_place(copy, path)
        finally:
            _discard(copy)


def settle(path: Path, is_whole: Callable[[Path], bool]) -> None:
    """Finish a replacement that was interrupted once its copy was whole, and remove what others left behind.

    A finished copy that is damaged since, as by a failing disk, takes nobody's place: it is set aside and named.
    """
    for leftover in (_unfinished(path), path.with_name(f".creating-{path.name}")):  # as earlier versions named it
        if leftover.exists() or log_of(leftover).exists():
            _discard(leftover)
    copy = _finished(path)
    if copy.exists() and not is_whole(copy):
        aside = copy.rename(copy.with_name(f"{copy.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"))
        logger.warning("%s: was to replace the warehouse and is damaged; set aside as %s. %s stays", copy, aside, path)
    elif copy.exists():
        _finish(path)


def whole(path: Path, is_whole: Callable[[Path], bool]) -> Path:
    """The file to read where nothing can be written: a copy that was finished before its process died, or the file."""
    copy = _finished(path)
    return copy if copy.exists() and is_whole(copy) else path


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(copy: Path, path: Path) -> None:
    """Replace the file and remove its log, in three steps of which `settle` finishes the rest.

    DuckDB would replay the log onto a file that holds its transactions already, and so store rows twice. From its
    first rename on, the copy counts and the log does not.
    """
    copy.rename(_finished(path))
    sync(path.parent)
    _finish(path)


def _finish(path: Path) -> None:
    log_of(path).unlink(missing_ok=True)
    sync(path.parent)
    _finished(path).replace(path)
    sync(path.parent)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".replacing-{path.name}")


def _finished(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _discard(copy: Path) -> None:
    copy.unlink(missing_ok=True)
    log_of(copy).unlink(missing_ok=True)


@contextmanager
def _writable_place(copy: Path) -> Iterator[Path]:
    """Where DuckDB can work. It looks for the log of `a?b/c` in `a.wal?b/c`, whatever such a folder's links are."""
    if "?" not in str(copy):
        yield copy
        return
    with tempfile.TemporaryDirectory(prefix="envloom-warehouse-") as folder:
        yield Path(folder, copy.name)


def _copy(original: BinaryIO, target: Path) -> None:
    """Copy by the kernel, which some file systems do without copying blocks; by hand where it cannot."""
    with target.open("wb") as sink:
        try:
            while os.copy_file_range(original.fileno(), sink.fileno(), 2**30):
                pass
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            shutil.copyfileobj(original, sink, 2**20)


def _take_owner_and_mode(original: BinaryIO, copy: Path) -> None:
    before = os.fstat(original.fileno())
    with suppress(PermissionError):  # only an administrator may give a file away; the others own it then
        os.chown(copy, before.st_uid, before.st_gid)
    copy.chmod(before.st_mode & 0o7777)
