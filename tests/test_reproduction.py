"""A checkpoint of a real model comes out again: to the byte from what was recorded, token for token sampled anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_envloom
from warehouse.warehouse import Warehouse

pytestmark = pytest.mark.vllm


def reproduce(home: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and what was found by `asset[partition]`."""
    run = run_envloom(home, "reproduce", *words, "--json")
    assert run.stdout, run.stderr[-4000:]
    found = json.loads(run.stdout.splitlines()[-1])["assets"]
    return run.returncode, {f"{each['asset']}[{each['partition']}]": each for each in found}


def test_three_iterations_are_verified_and_replayed_to_the_byte(smoke_campaign: tuple[Path, dict[str, Any]]) -> None:
    home, summary = smoke_campaign
    last = summary["training"][-1]["checkpoint"]
    code, found = reproduce(home, last[:12])
    assert code == 0, [each for each in found.values() if each["status"] != "identical"]
    assert {each["status"] for each in found.values()} == {"identical"}
    made = [f"{asset}[smoke-{number:04d}]" for number in range(3) for asset in ("rollouts", "checkpoint", "evaluation")]
    assert {*made, "warm_policy[smoke]", "baseline[smoke]", "environment[library]"} <= found.keys()
    batches = Warehouse(home / "warehouse.duckdb", home / "parts").query("SELECT batch_id FROM current_batches")
    assert {each["batch_id"] for each in found.values()} == set(batches["batch_id"])


def test_sampled_anew_it_is_the_same_tokens_verdicts_rewards_and_adapter(
    smoke_campaign: tuple[Path, dict[str, Any]],
) -> None:
    """The second iteration rolls out with the checkpoint that the first has just made again."""
    code, found = reproduce(
        smoke_campaign[0], "smoke-0001", "--mode", "regenerate", "--asset", "rollouts", "--asset", "checkpoint"
    )
    assert code == 0, [each for each in found.values() if each["difference"] or each["causes"]]
    for number in range(2):
        assert "sampled again" in found[f"rollouts[smoke-000{number}]"]["told"]
        assert found[f"checkpoint[smoke-000{number}]"]["status"] == "identical"
    assert found["warm_policy[smoke]"]["status"] == "taken over"
    assert "checkpoint[smoke-0002]" not in found, "what came later is not what it was made from"
