"""The whole way, once, on real parts: real vLLM, the real model, real Dagster, a real warehouse."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.models import ResolvedModel
from warehouse.costs import RECOMPUTED_COST_SQL
from warehouse.lineage import TRAINED_STEP_SQL, upstream
from warehouse.warehouse import Warehouse

pytestmark = pytest.mark.vllm
ENVLOOM = Path(sys.executable).with_name("envloom")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> tuple[Path, dict[str, Any]]:
    """Two iterations of the campaign `smoke` in a home of its own: (home, the summary it printed)."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(smollm2.path.parent)
    return home, envloom(home, "train", "smoke", "--steps", "2", "--json")


def envloom(home: Path, *arguments: str) -> dict[str, Any]:
    run = subprocess.run(
        [str(ENVLOOM), *arguments],
        env={**os.environ, "ENVLOOM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


def warehouse_of(home: Path) -> Warehouse:
    return Warehouse(home / "warehouse.duckdb", home / "parts")


def test_each_checkpoint_grows_out_of_the_one_before(campaign: tuple[Path, dict[str, Any]]) -> None:
    _, summary = campaign
    training = summary["training"]
    assert [row["iteration"] for row in training] == [None, 0, 1]
    assert training[1]["parent"] == training[0]["checkpoint"]
    assert training[2]["parent"] == training[1]["checkpoint"]


def test_an_iteration_rolls_out_with_the_checkpoint_just_written(campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = campaign
    used = warehouse_of(home).query(
        "SELECT DISTINCT iteration, policy_id FROM rollouts WHERE purpose = 'training' ORDER BY iteration"
    )
    assert used["policy_id"].to_list() == [row["checkpoint"] for row in summary["training"][:2]]


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
    kinds = set()

    def walk(node: Any) -> None:
        kinds.add(node.kind)
        for child in node.nodes:
            walk(child)

    walk(upstream(warehouse_of(home), summary["training"][-1]["checkpoint"], depth=6))
    assert {"checkpoint", "update", "rollout", "task", "environment", "llm_call"} <= kinds


def test_a_second_run_does_nothing_again(campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = campaign
    evaluated = [row["policy"] for row in summary["held_out"]]
    assert evaluated == ["base model", "after warm start", "after iteration 0", "after iteration 1"]
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
