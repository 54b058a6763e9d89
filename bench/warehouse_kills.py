"""Fifty times kill -9 at a random moment of an ingest: the warehouse opens, and in the end each row is there once.

Before each kill some parts are added to those that wait. A process begins to ingest and is killed within the time that
an undisturbed ingest takes, and somewhat later at times. Then the warehouse is opened: it holds all that waited, or
nothing of it. A last ingest takes in the rest, and every row is counted.
Run: `python bench/warehouse_kills.py [--quick] [--seed N]`.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from typing import Annotated

import duckdb
import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.ingest import TURNS_A_ROLLOUT, turns
from warehouse.errors import WarehouseUnreadable
from warehouse.warehouse import Warehouse

PARTS = 4
"""Added before each kill."""
_START_S = 300.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Found:
    """What kills did."""

    kills: int = 0
    before_commit: int = 0
    """Kills that left the parts waiting, as if nothing had been."""
    unopened: int = 0
    """Times that the warehouse did not open afterwards."""
    halves: int = 0
    """Times that it held a part of what one ingest takes in."""
    wrong: int = 0
    """Rows missing or stored twice at the end, and parts that were set aside or still wait."""
    rows: int = 0
    waits_s: list[float] = field(default_factory=list)


def warehouse_in(home: Path) -> Warehouse:
    """The warehouse that is killed."""
    return Warehouse(home / "warehouse.duckdb", home / "parts")


def ingest(home: Path, begins: Event) -> None:
    """Say that it begins, and ingest."""
    warehouse = warehouse_in(home)
    begins.set()
    warehouse.ingest()


def kill_often(home: Path, kills: int, part_rows: int, rng: Random) -> Found:
    """Kill ingests until there were enough kills, and count what is left."""
    found, warehouse, content = Found(), warehouse_in(home), np.random.default_rng(rng.getrandbits(32))
    stored = written = _add_parts(warehouse, 0, part_rows, content)
    began = time.perf_counter()
    warehouse.ingest()
    duration_s = time.perf_counter() - began
    while found.kills < kills:
        written += _add_parts(warehouse, written, part_rows, content)
        wait_s = rng.uniform(0, 1.2 * duration_s * (written - stored) / (PARTS * part_rows))
        killed = _ingest_killed_after(home, wait_s)
        try:
            [(held,)] = warehouse.query("SELECT count(*) FROM turns").rows()
        except (duckdb.Error, WarehouseUnreadable):
            found.unopened += 1
            break
        found.halves += held not in (stored, written)
        if killed:
            found.kills, found.before_commit = found.kills + 1, found.before_commit + (held == stored)
            found.waits_s.append(wait_s)
        stored, found.rows = held, written
    _compare(warehouse, found)
    return found


def _add_parts(warehouse: Warehouse, first_row: int, part_rows: int, content: np.random.Generator) -> int:
    """Write parts of rows from `first_row` on; return how many rows."""
    for number in range(PARTS):
        rows = turns((first_row + number * part_rows) // TURNS_A_ROLLOUT, part_rows, content)
        warehouse.write_part("turns", rows, f"part-{number}")
    return PARTS * part_rows


def _ingest_killed_after(home: Path, wait_s: float) -> bool:
    """Whether the process still ran when it was killed, `wait_s` after its ingest began."""
    begins = _SPAWN.Event()
    process: BaseProcess = _SPAWN.Process(target=ingest, args=(home, begins))
    process.start()
    if not begins.wait(_START_S):
        raise TimeoutError(f"the ingest did not begin within {_START_S:g} s.")
    process.join(wait_s)
    if alive := process.is_alive():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the ingest ended with exit code {process.exitcode}; see what it wrote above.")
    return alive


def _compare(warehouse: Warehouse, found: Found) -> None:
    """Ingest what still waits and count what is wrong then."""
    report = warehouse.ingest()
    [(rows, keys)] = warehouse.query("SELECT count(*), count(DISTINCT (rollout_id, turn)) FROM turns").rows()
    found.wrong = abs(rows - found.rows) + abs(keys - found.rows) + len(report.quarantined) + report.differing.total()
    found.wrong += warehouse.pending("turns").height


def main(
    quick: Annotated[bool, typer.Option(help="Five kills instead of fifty.")] = False,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
) -> None:
    """Print what fifty kills did."""
    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(Path(folder), 5 if quick else 50, 5_000, Random(seed))
    tell(
        f"{found.kills} kill -9 during ingests of {found.rows:,} turns in all",
        [
            Figure("warehouse_kills_unopened", found.unopened, f"of {found.kills} times", 0, "lower"),
            Figure("warehouse_kills_halves", found.halves, f"of {found.kills} times", 0, "lower"),
            Figure("warehouse_kills_wrong", found.wrong, "rows", 0, "lower"),
        ],
        f"{found.before_commit} before the commit; killed up to {max(found.waits_s, default=0):.1f} s after the start",
    )


if __name__ == "__main__":
    typer.run(main)
