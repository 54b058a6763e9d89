"""The whole way, once, on real parts: real vLLM, the real model, real Dagster, a real warehouse."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_project.campaign import load_campaign
from dagster_project.home import Home
from dagster_project.resources import Engines
from trainer.canary import TOLERANCE_NATS
from trainer.engine import ServedPolicy
from warehouse.costs import RECOMPUTED_COST_SQL
from warehouse.lineage import TRAINED_STEP_SQL, upstream
from warehouse.warehouse import Warehouse

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def campaign(smoke_campaign: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """Three iterations of the campaign `smoke`: (home, the summary it printed)."""
    return smoke_campaign


def warehouse_of(home: Path) -> Warehouse:
    return Warehouse(home / "warehouse.duckdb", home / "parts")


def test_each_checkpoint_grows_out_of_the_one_before(campaign: tuple[Path, dict[str, Any]]) -> None:
    _, summary = campaign
    training = summary["training"]
    assert [row["iteration"] for row in training] == [None, 0, 1, 2]
    assert training[1]["parent"] == training[0]["checkpoint"]
    assert training[2]["parent"] == training[1]["checkpoint"]
    assert training[3]["parent"] == training[2]["checkpoint"]


def test_an_iteration_rolls_out_with_the_checkpoint_just_written(campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = campaign
    used = warehouse_of(home).query(
        "SELECT DISTINCT iteration, policy_id FROM rollouts WHERE purpose = 'training' ORDER BY iteration"
    )
    assert used["policy_id"].to_list() == [row["checkpoint"] for row in summary["training"][:3]]


def test_stored_tokens_and_logprobs_are_aligned_and_costs_can_be_recomputed(
    campaign: tuple[Path, dict[str, Any]],
) -> None:
    warehouse = warehouse_of(campaign[0])
    crooked = warehouse.query("SELECT 1 FROM turns WHERE len(completion_ids) <> len(logprobs) OR len(logprobs) = 0")
    assert crooked.is_empty()
    wrong = warehouse.query(f"SELECT id FROM ({RECOMPUTED_COST_SQL}) WHERE abs(stored_usd - recomputed_usd) > 1e-9")
    assert wrong.is_empty()


def test_a_trained_step_is_answered_in_sql_down_to_prompt_and_call(campaign: tuple[Path, dict[str, Any]]) -> None:
    answer = warehouse_of(campaign[0]).query(TRAINED_STEP_SQL, {"campaign": "smoke", "iteration": 0})
    assert answer.height > 0
    assert answer["advantage"].null_count() == 0
    # A task whose tools were all worded by rule has no call of its own, only those of its environment.
    assert answer["template_sha256"].null_count() < answer.height / 2


def test_a_checkpoint_leads_back_to_llm_calls(campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = campaign
    found = upstream(warehouse_of(home), summary["training"][-1]["checkpoint"], depth=8, batches=True)
    kinds = {kind for kind, _ in found.nodes}
    assert {"checkpoint", "update", "rollout", "task", "proof", "environment", "llm_call", "prompt", "model"} <= kinds
    assert {"batch", "run", "code", "runtime", "lock"} <= kinds


def test_a_second_run_does_nothing_again(campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = campaign
    evaluated = [row["policy"] for row in summary["held_out"]]
    assert evaluated == [
        "base model",
        "after warm start",
        *(f"after iteration {number}" for number in range(3)),
    ]
    before = warehouse_of(home).query("SELECT count(*) AS n FROM batches")["n"][0]
    script = (
        "from dagster_project.campaign import load_campaign\n"
        "from dagster_project.home import Home\n"
        "from dagster_project.runner import iteration_steps, preparation_steps, run_steps\n"
        "home = Home.here().prepare()\n"
        "steps = [*preparation_steps('smoke', load_campaign('smoke')), *iteration_steps('smoke', 0)]\n"
        "assert all(ran.seconds is None for ran in run_steps(steps, home))\n"
    )
    environment = {**os.environ, "ENVLOOM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)
    assert warehouse_of(home).query("SELECT count(*) AS n FROM batches")["n"][0] == before


def test_a_policy_merged_into_its_base_is_served_as_the_policy_it_is(campaign: tuple[Path, dict[str, Any]]) -> None:
    """What `engine.adapters: auto` does on a processor; the campaign itself serves adapters, with one start for all."""
    home, summary = Home(campaign[0]), campaign[1]
    settings = load_campaign("smoke")
    merging = settings.model_copy(update={"engine": settings.engine.model_copy(update={"adapters": "merged"})})
    engine = Engines(idle_timeout_s=5.0).policy(merging, home)
    checkpoint = summary["training"][-1]["checkpoint"]
    policy = ServedPolicy(policy_id=checkpoint, adapter_path=str(home.artefacts / checkpoint))
    assert engine.merge and engine.check(policy).largest_difference_nats < TOLERANCE_NATS
    engine.server(policy).stop()
