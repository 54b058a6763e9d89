"""The funnel where people look: in Dagster beside the proven tasks, and on the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.definitions import ASSETS
from dagster_project.home import Home
from dagster_project.resources import resources
from dagster_project.runner import Step, run_steps
from dagster_project.synthesist import synthesist_here
from generators.discovery import domain_folder
from tests.serving.provider import Recorded, serving
from warehouse.warehouse import Warehouse

ASSET_NAMES = ("brief", "environment", "candidate_tasks", "proven_tasks")
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0}


RECORDED = Recorded(domain_folder("library") / "calls.jsonl")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with the library, synthesised by a model that has a price."""
    root: Path = tmp_path_factory.mktemp("funnel")
    with pytest.MonkeyPatch.context() as patch, serving(RECORDED) as provider:
        patch.setenv("ENVLOOM_HOME", str(root))
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        settings = {"mode": "live", "model": "m", "base_url": provider.base_url, **PRICE}
        patch.setenv("ENVLOOM_SETTINGS", json.dumps(settings))
        found = Home.here().prepare()
        run_steps([Step(asset, "library") for asset in ASSET_NAMES], found)
        yield found


def envloom_funnel(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["funnel", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("home")
def test_every_answer_of_the_synthesis_is_in_the_funnel_with_its_cost() -> None:
    found = envloom_funnel("library")
    (cost,) = found["costs"]
    stages = {row["stage"]: row for row in found["stages"]}
    assert {"columns", "values", "policy", "phrases", "programs", "proof"} <= set(stages)
    assert sum(row["llm_calls"] for row in stages.values()) == cost["llm_calls"] == len(RECORDED.calls)
    for row in stages.values():
        assert row["proposed"] == row["rejected"] + row["accepted"]
    assert stages["programs"]["accepted"] == stages["proof"]["proposed"]
    assert cost["tasks"] == stages["proof"]["accepted"] > 0
    # The provider bills five tokens each way for any call.
    assert cost["cost_usd"] == pytest.approx(cost["llm_calls"] * (5 * 1.0 + 5 * 4.0) / 1e6)
    assert cost["usd_per_task"] == pytest.approx(cost["cost_usd"] / cost["tasks"])


@pytest.mark.usefixtures("home")
def test_the_calls_can_be_priced_as_if_asked_elsewhere() -> None:
    dear = envloom_funnel("--input-usd-per-mtok", "100", "--output-usd-per-mtok", "300")["costs"][0]
    assert dear["cost_usd"] == pytest.approx(dear["llm_calls"] * (500 + 1500) / 1e6)
    assert CliRunner().invoke(app, ["funnel", "--input-usd-per-mtok", "1"]).exit_code == 2
    nowhere = CliRunner().invoke(app, ["funnel", "moonbase"])
    assert nowhere.exit_code == 1 and "moonbase" in nowhere.output
    shown = CliRunner().invoke(app, ["funnel", "library"])
    assert shown.exit_code == 0 and "Per proven task" in shown.output


def test_dagster_shows_the_funnel_beside_the_proven_tasks(home: Home) -> None:
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey("proven_tasks")
        event = instance.get_latest_materialization_event(key)
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert "| phrases |" in str(shown["funnel"].value) and "| proof |" in str(shown["funnel"].value)
    (cost,) = envloom_funnel("library")["costs"]
    assert shown["per task/usd"].value == pytest.approx(cost["usd_per_task"])
    assert shown["per task/calls"].value == pytest.approx(cost["calls_per_task"])
    assert home.warehouse.is_file()


def test_an_asset_in_batch_mode_waits_without_failing(home: Home) -> None:
    given = {**resources(), "synthesist": synthesist_here(mode="batch", model="another")}
    warehouse = Warehouse(home.warehouse, home.parts)
    before = warehouse.latest_batch("environment", "library")
    with dg.DagsterInstance.get() as instance:
        run = dg.materialize(
            ASSETS,
            selection=["environment", "candidate_tasks"],
            partition_key="library",
            instance=instance,
            resources=given,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    assert run.success
    assert run.get_asset_materialization_events() == []
    skipped = [event.step_key for event in run.all_events if event.is_step_skipped]
    assert skipped == ["candidate_tasks"], "what depends on an asset that waits is not made of an older one"
    assert warehouse.latest_batch("environment", "library") == before
    (batch,) = (home.ledger.parent / "batches").glob("batch-*.jsonl")
    assert '"model": "another"' in batch.read_text()
