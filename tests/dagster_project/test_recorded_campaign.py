"""Which settings a batch was made with: the recorded ones, and else those of the campaign's file."""

from pathlib import Path

import pytest

from dagster_project.campaign import CampaignError, load_campaign
from dagster_project.giving import CAMPAIGN, given_campaign
from dagster_project.recorded_campaign import campaign_of
from warehouse.givens import Given
from warehouse.warehouse import Batch, Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", tmp_path / "parts")


def batch(warehouse: Warehouse, asset: str, partition: str, *givens: Given) -> Batch:
    return warehouse.record_batch(asset, partition, {}, run_id="run", code_version="x", givens=givens)


def test_recorded_settings_count_before_those_of_the_file(warehouse: Warehouse) -> None:
    now = load_campaign("demo")
    first, second = (now.model_copy(update={"seed": now.seed + more}) for more in (1, 2))
    batches = [
        batch(warehouse, "rollouts", "demo-0001", given_campaign("demo", first)),
        batch(warehouse, "rollouts", "demo-0002", given_campaign("demo", second)),
        batch(warehouse, "rollouts", "demo-0003"),
        batch(warehouse, "rollouts", "demo-0004", given_campaign("another", first)),
    ]
    assert campaign_of(warehouse, batches[:1]) == first
    assert campaign_of(warehouse, batches) == second, "those of the newest batch that has any"
    assert campaign_of(warehouse, batches[2:]) == now


def test_settings_that_are_unknown_are_refused(warehouse: Warehouse) -> None:
    with pytest.raises(CampaignError, match="the settings of then are none that this code knows"):
        campaign_of(warehouse, [batch(warehouse, "baseline", "demo", Given(CAMPAIGN, "demo", {"mood": 1}))])
    for asset, partition in (("baseline", "nobodys"), ("proven_tasks", "library")):
        with pytest.raises(CampaignError):
            campaign_of(warehouse, [batch(warehouse, asset, partition)])
