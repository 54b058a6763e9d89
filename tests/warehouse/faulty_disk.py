"""Runs one change of a warehouse again and again, with a fault at each of its writes, and looks at what is left.

Started with the library of `faults.c` preloaded: `python faulty_disk.py <folder> <change>`. Every try is a fork that
works on a copy of the same home. Prints each fault after which something is missing, and exits 1 then.
"""

import ctypes
import importlib
import logging
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import duckdb

from warehouse import connection
from warehouse.errors import DiskFull, WarehouseUnreadable
from warehouse.replacement import log_of
from warehouse.warehouse import Warehouse

FAULTS = {"torn": 1, "blank": 2, "full": 3, "broken": 4}
EVERY_ROW = "SELECT task_id FROM splits ORDER BY ALL"
OLD_SCHEMA = Path(__file__).with_name("schema_v3.sql")
library = ctypes.CDLL(None)
for module in ("pandas", "pyarrow.dataset", "dateutil.parser"):
    with suppress(ImportError):  # DuckDB imports these when it is handed a table: once here, not in every fork
        importlib.import_module(module)


def warehouse_in(home: Path) -> Warehouse:
    return Warehouse(home / "warehouse.duckdb", home / "parts", timeout_s=20)


def add(home: Path, *tasks: str) -> None:
    warehouse_in(home).write_part("splits", [{"task_id": task, "split": "train"} for task in tasks], "part")


def stored(home: Path) -> list[str]:
    with warehouse_in(home).reading() as connection:
        return [task for (task,) in connection.execute(EVERY_ROW).fetchall()]


def nothing(home: Path) -> None:
    home.mkdir()


def two_rows(home: Path) -> None:
    """Two transactions; in a large file, both are in the log."""
    for task in ("first", "second"):
        add(home, task)
        warehouse_in(home).ingest()


def many_rows(home: Path) -> None:
    """A transaction whose rows DuckDB writes into free blocks of the file; the log only refers to them."""
    stored(home)
    add(home, *STORED_MANY)
    warehouse_in(home).ingest()


def old_schema_with_a_log(home: Path) -> None:
    home.mkdir()
    with duckdb.connect(str(home / "warehouse.duckdb")) as old:
        old.execute(OLD_SCHEMA.read_text())
        old.execute("DELETE FROM splits")
        old.execute("CHECKPOINT")
        old.execute("PRAGMA disable_checkpoint_on_shutdown")
        for task in ("first", "second"):
            old.execute("INSERT INTO splits VALUES (?, 'train')", [task])


def damaged_log(home: Path) -> None:
    two_rows(home)
    with log_of(home / "warehouse.duckdb").open("ab") as log:
        log.write(bytes(5000))


@dataclass(frozen=True)
class Change:
    """One change of a warehouse."""

    home: Callable[[Path], None]
    before: list[str]
    """The rows that are stored before it."""
    faults: tuple[str, ...]
    sizes: dict[str, float] = field(default_factory=dict)
    """Constants of `connection`, to have a file taken for a large one."""
    new: tuple[str, ...] = ("third a", "third b")


STORED = ["first", "second"]
STORED_MANY, NEW_MANY = ([f"{name} {number:06}" for number in range(125_000)] for name in ("first", "second"))
LOGGED = {"_SMALL_BYTES": 0, "_LOG_SHARE": 1e-9}
CHANGES = {
    "creation": Change(nothing, [], ("torn", "full")),
    "ingest into a small file": Change(two_rows, STORED, ("torn", "full")),
    "ingest into a large file": Change(two_rows, STORED, ("torn", "blank", "full", "broken"), LOGGED),
    "ingest of many rows into a large file": Change(many_rows, STORED_MANY, ("torn",), LOGGED, tuple(NEW_MANY)),
    "ingest that takes in the log": Change(two_rows, STORED, ("torn", "broken"), {"_SMALL_BYTES": 0, "_LOG_BYTES": 0}),
    "migration": Change(old_schema_with_a_log, STORED, ("torn",)),
    "ingest after a damaged log": Change(damaged_log, STORED, ("torn",), LOGGED),
}


def forked(function: Callable[[], Any]) -> int:
    """Run it in a process of its own; 0, the exit code or the negative signal."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        function()
        os._exit(0)
    except BaseException:  # noqa: BLE001 (the fork ends here, whatever it was)
        traceback.print_exc()
        os._exit(1)


def try_it(home: Path, fault: str, at: int) -> None:
    """Ingest, or create, with a fault. A full disk is named, and any other failure is told as it is."""
    library.faults_begin(str(home).encode(), at, FAULTS.get(fault, 0))
    try:
        if (home / "warehouse.duckdb").exists():
            warehouse_in(home).ingest()
        else:
            stored(home)
    except DiskFull:
        assert fault == "full"
    except (OSError, duckdb.Error, WarehouseUnreadable):
        assert fault == "broken"
    if not fault:
        library.faults_begin(b"", 0, 0)
        (home / "count").write_text(str(library.faults_count()))


def look(home: Path, before: list[str], new: tuple[str, ...]) -> None:
    """After the next ingest, which adds both new rows or neither, every row is there once and nothing lies about."""
    report = warehouse_in(home).ingest()
    assert report.inserted["splits"] in (0, len(new)) and not report.quarantined, report
    assert stored(home) == [*before, *new], len(stored(home))
    assert not list((home / "parts").rglob("*.arrow")), "a part is left"
    leftovers = [path.name for path in home.iterdir() if path.name.startswith(".") or path.name.endswith(".next")]
    assert not leftovers, leftovers


def state_of(home: Path) -> int:
    """Equal for homes that differ in an unfinished copy alone, which no opening reads: one look serves for them."""
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and not path.name.startswith(".replacing-")]
    return hash(tuple((re.sub(r"-\d+T\d+", "", str(path)), path.read_bytes()) for path in files))


def main(folder: Path, name: str) -> int:
    change = CHANGES[name]
    for constant, size in change.sizes.items():
        setattr(connection, constant, size)
    logging.disable()
    base, home = folder / "base", folder / "home"
    assert forked(lambda: (change.home(base), add(base, *change.new))) == 0
    shutil.copytree(base, home)
    assert forked(lambda: try_it(home, "", 0)) == 0
    count, failures = int((home / "count").read_text()), 0
    assert count, "the library is not preloaded"
    sound: set[int] = set()
    for fault, at in product(change.faults, range(1, count + 1)):
        shutil.rmtree(home)
        shutil.copytree(base, home)
        code = forked(partial(try_it, home, fault, at))
        state = state_of(home)
        if code in (0, -signal.SIGKILL) and (
            state in sound or not forked(lambda: look(home, change.before, change.new))
        ):
            sound.add(state)
        else:
            print(f"FAILED: {name}: {fault} at change {at} of {count}, which ended with {code}", flush=True)
            failures += 1
    print(f"{name}: {count} changes of files, each {' and '.join(change.faults)}: {failures} failures")
    return failures


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]), sys.argv[2])))
