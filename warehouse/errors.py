"""Every error the warehouse raises: what went wrong, where, and what to do about it. Nothing else lives here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
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
