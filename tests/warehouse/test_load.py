"""Writers, readers and an ingest at once, and ingests that are killed: small, and that what is looked for is found."""

from pathlib import Path
from random import Random

import numpy as np

from bench import warehouse_kills, warehouse_load
from bench.ingest import TURNS_A_ROLLOUT, turns
from bench.warehouse_load import Plan


def test_four_processes_write_while_two_read_and_nobody_sees_a_part_or_misses_a_row(tmp_path: Path) -> None:
    seen = warehouse_load.run(Plan(tmp_path, batches=2, rollouts=4))
    assert (seen.failed, seen.lost, seen.halves, seen.vanished) == (0, 0, 0, 0)
    assert seen.readings > 0


def test_a_part_of_a_rollout_and_a_missing_row_are_found(tmp_path: Path) -> None:
    plan = Plan(tmp_path, batches=0, rollouts=0)
    played = turns(0, TURNS_A_ROLLOUT, np.random.default_rng(0))
    plan.warehouse.write_part("rollouts", warehouse_load.rollout_rows(played), "rollout")
    plan.warehouse.write_part("turns", played.slice(1), "turns")
    plan.warehouse.ingest()
    halves, batches = plan.warehouse.query(warehouse_load.SEEN).row(0)[2:]
    assert (halves, batches) == (1, 0)
    wrong = 2 * (1 + TURNS_A_ROLLOUT - 1) + 1
    assert warehouse_load.missing(plan) == wrong


def test_ingests_killed_at_random_leave_all_or_nothing_and_a_rerun_completes(tmp_path: Path) -> None:
    found = warehouse_kills.kill_often(tmp_path, 2, 1_000, Random(0))
    assert found.kills == 2 and found.rows >= 3 * 4_000
    assert (found.unopened, found.halves, found.wrong) == (0, 0, 0)
