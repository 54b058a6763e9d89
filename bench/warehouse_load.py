"""Four processes write, two read, one ingests: no error, no row lost, and no reader sees a part of a rollout or batch.

Each writer plays collections: every rollout a bundle of its own, written without the lock, then a batch that names
them, recorded under it. The readers ask in a loop for rollouts without all of their turns, batches without all of
their rows, and whether a row that was there is gone.
Run: `python bench/warehouse_load.py [--quick]`.
"""

import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.ingest import TURNS_A_ROLLOUT, turns
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

WRITERS, READERS = 4, 2
_SPAWN = multiprocessing.get_context("spawn")
SEEN = """
SELECT (SELECT count(*) FROM rollouts) AS rollouts, (SELECT count(*) FROM batches) AS batches,
  (SELECT count(*) FROM (
    SELECT r.id FROM rollouts r FULL JOIN turns t ON t.rollout_id = r.id
    GROUP BY r.id, r.n_turns HAVING r.id IS NULL OR count(t.turn) <> r.n_turns)) AS half_rollouts,
  (SELECT count(*) FROM batches b WHERE n_rows <> (SELECT count(*) FROM batch_rollouts r WHERE r.batch_id = b.batch_id)
    + (SELECT count(*) FROM batch_turns t WHERE t.batch_id = b.batch_id)) AS half_batches
"""


@dataclass(frozen=True)
class Plan:
    """What each writer writes."""

    home: Path
    batches: int
    rollouts: int
    """Of one batch."""

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home / "warehouse.duckdb", self.home / "parts", timeout_s=600)


@dataclass
class Seen:
    """What was wrong, and how much was looked at."""

    failed: int = 0
    """Processes that ended with an error."""
    lost: int = 0
    """Rows that were written and are not stored once at the end, or parts that were set aside."""
    halves: int = 0
    """Rollouts and batches that a reader saw in part."""
    vanished: int = 0
    """Times that a reader found fewer rows than before."""
    readings: int = 0
    longest_wait_s: float = 0.0


def rollout_rows(played: Any) -> list[dict[str, Any]]:
    """A row of `rollouts` for each rollout of these turns."""
    columns = dict.fromkeys(TABLES["rollouts"].columns)
    ids = played["rollout_id"].to_pylist()[::TURNS_A_ROLLOUT]
    return [columns | {"id": id, "n_turns": TURNS_A_ROLLOUT, "campaign": "load"} for id in ids]


def write(plan: Plan, worker: int) -> None:
    """Play this writer's collections."""
    warehouse, rng = plan.warehouse, np.random.default_rng(worker)
    for number in range(plan.batches):
        first = (worker * plan.batches + number) * plan.rollouts
        played = turns(first, plan.rollouts * TURNS_A_ROLLOUT, rng)
        rollouts = rollout_rows(played)
        for place, rollout in enumerate(rollouts):
            own = played.slice(place * TURNS_A_ROLLOUT, TURNS_A_ROLLOUT)
            warehouse.write_bundle(rollout["id"], {"rollouts": [rollout], "turns": own})
        rows = {"rollouts": rollouts, "turns": played}
        warehouse.record_batch("rollouts", f"{worker}-{number}", rows, run_id=str(worker), code_version="bench")


def read(plan: Plan, done: Event, told: Any) -> None:
    """Look until all is written, and tell what was seen."""
    warehouse, seen = plan.warehouse, Seen()
    before = (0, 0)
    while not done.is_set():
        began = time.perf_counter()
        rollouts, batches, half_rollouts, half_batches = warehouse.query(SEEN).row(0)
        seen.longest_wait_s = max(seen.longest_wait_s, time.perf_counter() - began)
        seen.readings += 1
        seen.halves += half_rollouts + half_batches
        seen.vanished += rollouts < before[0] or batches < before[1]
        before = rollouts, batches
        time.sleep(0.02)
    told.put(seen)


def run(plan: Plan) -> Seen:
    """Let them all work at once; return what the readers saw and what is missing in the end."""
    done, told = _SPAWN.Event(), _SPAWN.Queue()
    writers = [_SPAWN.Process(target=write, args=(plan, worker)) for worker in range(WRITERS)]
    readers = [_SPAWN.Process(target=read, args=(plan, done, told)) for _ in range(READERS)]
    for process in (*writers, *readers):
        process.start()
    warehouse, quarantined = plan.warehouse, 0
    while any(process.is_alive() for process in writers):
        quarantined += len(warehouse.ingest().quarantined)
        time.sleep(0.05)
    done.set()
    seen = Seen(lost=quarantined)
    for reader in readers:
        while reader.is_alive() and told.empty():
            reader.join(0.1)
        if told.empty():
            continue  # it failed, and its exit code tells
        found = told.get()
        seen.halves, seen.vanished = seen.halves + found.halves, seen.vanished + found.vanished
        seen.readings, seen.longest_wait_s = (
            seen.readings + found.readings,
            max(seen.longest_wait_s, found.longest_wait_s),
        )
    for process in (*writers, *readers):
        process.join()
    seen.failed = sum(process.exitcode != 0 for process in (*writers, *readers))
    seen.lost += missing(plan)
    return seen


def missing(plan: Plan) -> int:
    """Rows too few or too many, after a last ingest."""
    warehouse = plan.warehouse
    warehouse.ingest()
    batches = WRITERS * plan.batches
    expected = {"batches": batches, "rollouts": batches * plan.rollouts}
    expected["turns"] = expected["rollouts"] * TURNS_A_ROLLOUT
    expected["batch_members"] = expected["rollouts"] + expected["turns"]
    keys = {table: ", ".join(TABLES[table].key) for table in expected}
    counts = ", ".join(
        f"(SELECT abs({rows} - count(*)) + abs({rows} - count(DISTINCT ({keys[table]}))) FROM {table}) AS {table}"
        for table, rows in expected.items()
    )
    wrong = warehouse.query(f"SELECT {counts}")
    seen = warehouse.query(SEEN)
    halves = seen.select(pl.sum_horizontal("half_rollouts", "half_batches")).item()
    return int(wrong.sum_horizontal().item()) + int(halves)


def main(quick: Annotated[bool, typer.Option(help="A tenth of the batches.")] = False) -> None:
    """Print what was lost or seen in part."""
    batches, rollouts = (2 if quick else 20), 50
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        seen = run(Plan(Path(folder), batches, rollouts))
        seconds = time.perf_counter() - began
    rows = WRITERS * batches * rollouts
    tell(
        f"{WRITERS} processes write {rows:,} rollouts of {TURNS_A_ROLLOUT} turns, {READERS} read",
        [
            Figure("warehouse_load_failed", seen.failed, "processes", 0, "lower"),
            Figure("warehouse_load_lost", seen.lost, "rows", 0, "lower"),
            Figure("warehouse_load_halves", seen.halves + seen.vanished, f"in {seen.readings} readings", 0, "lower"),
        ],
        f"{rows / seconds:,.0f} rollouts/s, longest wait of a reader {seen.longest_wait_s:.1f} s",
    )


if __name__ == "__main__":
    typer.run(main)
