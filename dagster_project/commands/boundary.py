"""Where errors of any command end: one message and an exit code instead of a traceback.

What a command expects itself, it reports itself; here is what may happen to every one of them.
"""

import errno
import gc
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy.exc import DatabaseError
from typer.core import TyperGroup

from dagster_project.commands.console import fail, stderr
from dagster_project.home import Home, HomeError
from dagster_project.named_errors import NAMED, WRONG_SETTINGS
from warehouse.errors import DiskFull, naming_full_disk


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does, so that what it started ends too."""


class Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _boundary():
            return super().invoke(ctx)


@contextmanager
def _boundary() -> Iterator[None]:
    with _terminable():
        try:
            with naming_full_disk(os.environ.get("ENVLOOM_HOME", ".envloom")):
                yield
        except (HomeError, *WRONG_SETTINGS) as error:
            raise fail(error, 2) from error
        except NAMED as error:
            raise fail(error) from error
        except (DatabaseError, sqlite3.DatabaseError) as error:
            refusal = _sqlite_refused(error)
            if refusal is None:
                raise
            raise fail(refusal) from error
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            raise fail(_not_writable(error)) from error
        except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
            stderr.print("Interrupted. Finished steps are kept; the same command goes on from there.", highlight=False)
            gc.freeze()  # else Python looks once more through all that is imported, for seconds on a busy machine
            raise typer.Exit(128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)) from error


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM unwinds the command as Ctrl-C does; by default it would end this process and nothing that it started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise Terminated


def _not_writable(error: OSError) -> HomeError:
    where = error.filename or Home.here().root
    return HomeError(f"{where}: {error.strerror}. Make it writable, or name another place for what is to be written.")


def _sqlite_refused(error: Exception) -> Exception | None:
    """SQLite's ways of saying that a file of the home is damaged, held or not to be written; None for any other."""
    root = Home.here().root
    words = str(getattr(error, "orig", error))
    if "readonly" in words or "unable to open" in words:
        return HomeError(f"{root}: SQLite cannot write here ({words}). Make the folder writable.")
    if "disk I/O error" in words or "disk is full" in words:
        free = shutil.disk_usage(root).free // 2**20
        return DiskFull(f"{root}: SQLite cannot write ({words}); {free} MiB are free. Free some space, then go on.")
    if "is locked" in words:
        return HomeError(f"{root}: another program holds an SQLite file ({words}). Close it, then go on.")
    if "malformed" in words or "not a database" in words:
        return HomeError(
            f"{root}: an SQLite file is damaged ({words}). Move the damaged one away: `dagster/` holds the log of runs "
            "and `ledger.sqlite` the calls of models. Both are made anew; the warehouse is another file."
        )
    return None
