"""Every error the warehouse raises: what went wrong, where, and what to do about it. Nothing else lives here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
_FULL_WORDS = ("no space left", "disk quota exceeded", "file too large", "out of disk space")


class WarehouseError(Exception):
    """The base of every error of this room."""


class UnknownTable(WarehouseError):
    """A table name that the schema does not have."""


class RowsRejected(WarehouseError):
    """Rows whose columns or types are not those of the table. Nothing was written."""


class PartUnreadable(WarehouseError):
    """A file among the parts that is not a part: truncated, of another format, or of another schema."""


class UnknownBatch(WarehouseError):
    """A batch id that the warehouse does not have."""


class UnknownRecord(WarehouseError):
    """A name that no record has, or that several have; the message lists them."""


class NotOneQuestion(WarehouseError):
    """SQL that is more or other than one SELECT, where only questions are taken."""


class NotForQuarantine(WarehouseError):
    """A record of a kind that nothing is kept out by."""


class WarehouseBusy(WarehouseError):
    """Another program held the warehouse for longer than we wait. Nothing was changed; try again."""


class WarehouseReadOnly(WarehouseError):
    """The warehouse's folder cannot be written: a read-only medium, or another user's. Reading may still do."""


class WarehouseUnreadable(WarehouseError):
    """DuckDB cannot open the file, or it is not a warehouse. It was left as it is."""


class UnusablePath(WarehouseError):
    """A path that DuckDB cannot take. Nothing was written."""


class SchemaVersionMismatch(WarehouseError):
    """The file was written by a version of the schema that this code does not read."""


class LakeMisconfigured(WarehouseError):
    """A setting that does not describe a lake."""


class LakeUnavailable(WarehouseError):
    """The lake cannot be opened: its catalogue does not answer or refuses, or a package or secret is missing."""


class UnknownSnapshot(WarehouseError):
    """A state of the lake that cannot be read, or a past one that was to be written."""


class DiskFull(WarehouseError):
    """The disk, a quota or a file-size limit is exhausted. Stored rows are intact; parts wait for `ingest`."""


@contextmanager
def naming_full_disk(place: Path | str) -> Iterator[None]:
    """Turn the operating system's and DuckDB's ways of saying "full" into one `DiskFull` that names the place."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        said = str(error).lower()
        if getattr(error, "errno", None) in _FULL or any(words in said for words in _FULL_WORDS):
            raise DiskFull(
                f"{place}: no room to write ({error}). Stored rows are intact and finished parts are kept: "
                "free some space, then ingest again."
            ) from error
        raise


@contextmanager
def naming_read_only(place: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals to write into one `WarehouseReadOnly` that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise WarehouseReadOnly(
                f"{place}: cannot be written ({error.strerror}). Reading works; to write, copy the folder to a place "
                "of your own and set ENVLOOM_HOME to it."
            ) from error
        raise
