"""Processes that are killed, disks that are full, writers that meet: nothing is lost and nothing is stored twice."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from warehouse.errors import DiskFull
from warehouse.warehouse import Warehouse

ROOT = Path(__file__).parents[2]

OPEN = """
import sys
from pathlib import Path
from warehouse.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), Path(sys.argv[2]), timeout_s=120)
"""
SUICIDE = """
import os, signal
from warehouse import connection as connection_module
from warehouse.intake import Intake
from warehouse.parts import Parts
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def before_the_second(function):
    calls = []
    def counted(*arguments):
        calls.append(1)
        return die() if len(calls) == 2 else function(*arguments)
    return counted
"""
MOMENTS = {
    "during the creation": """
statements = connection_module.creation_sql()
connection_module.creation_sql = lambda: (sql if n < 9 else die() for n, sql in enumerate(statements))
""",
    "in the middle of the transaction": """
insert = Intake._insert
def insert_and_die(*arguments):
    insert(*arguments)
    die()
Intake._insert = insert_and_die
""",
    "after the commit, between two removals": "Parts.remove = before_the_second(Parts.remove)",
}
LIMITED = f"""{OPEN}
import resource
from warehouse.errors import DiskFull
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    warehouse.ingest()
except DiskFull as error:
    print(error)
    sys.exit(3)
"""


def start(code: str, warehouse: Warehouse, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(warehouse.path), str(warehouse.parts_dir), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def turns(rollout: str, count: int) -> pl.DataFrame:
    """Rows that a part packs tightly and a write-ahead log does not."""
    return pl.DataFrame({"rollout_id": [rollout] * count, "turn": range(count)}).select(
        "rollout_id",
        pl.col("turn").cast(pl.Int32),
        context_ids=pl.lit([7] * 40),
        completion_ids=pl.lit([8] * 10),
        logprobs=pl.lit([-0.5] * 10),
        extends=True,
        finish_reason=pl.lit("stop"),
        prompt_tokens=40,
        completion_tokens=10,
        latency_s=0.1,
        cost_usd=0.0,
        calls=pl.lit("[]"),
        results=pl.lit("[]"),
        charges=pl.lit("[]"),
        text=pl.lit("word " * 10),
        message=pl.lit(None, dtype=pl.String),
        reply=pl.lit(None, dtype=pl.String),
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_killed_at_any_moment_leaves_a_warehouse_that_opens_and_a_rerun_completes(
    warehouse: Warehouse, moment: str
) -> None:
    for number in range(3):
        warehouse.write_part("turns", turns(f"rollout-{number}", 100), f"part-{number}")
    child = start(f"{OPEN}\n{SUICIDE}\n{MOMENTS[moment]}\nwarehouse.ingest()", warehouse)
    assert child.wait() == -signal.SIGKILL
    assert warehouse.query("SELECT count(*) FROM turns").item() == (300 if "commit" in moment else 0)
    warehouse.ingest()
    assert warehouse.query("SELECT count(*), count(DISTINCT (rollout_id, turn)) FROM turns").row(0) == (300, 300)
    assert warehouse.pending("turns").is_empty()


def test_a_full_disk_during_the_ingest_is_named_and_loses_nothing(warehouse: Warehouse) -> None:
    warehouse.record_batch("a", None, {"splits": [{"task_id": "t", "split": "train"}]}, run_id="1", code_version="x")
    part = warehouse.write_part("turns", turns("rollout", 20_000), "big")
    limit = warehouse.path.stat().st_size + 64 * 1024
    assert part.stat().st_size < limit
    child = start(LIMITED, warehouse, str(limit))
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 3, said
    assert str(warehouse.path.parent) in said and "free some space" in said
    assert warehouse.query("SELECT (SELECT count(*) FROM splits), (SELECT count(*) FROM turns)").row(0) == (1, 0)
    assert warehouse.ingest().inserted["turns"] == 20_000


def test_a_full_disk_while_writing_a_part_is_named_and_leaves_no_piece_of_it(warehouse: Warehouse) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(DiskFull, match="no room to write"):
            warehouse.write_part("turns", turns("rollout", 5000), "big")
        with pytest.raises(DiskFull, match="no room to write"):
            warehouse.record_batch("a", None, {"turns": turns("rollout", 5000)}, run_id="1", code_version="x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry for entry in warehouse.parts_dir.rglob("*") if entry.is_file()] == []
    assert warehouse.pending("turns").is_empty()
