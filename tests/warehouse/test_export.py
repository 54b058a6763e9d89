"""A task dataset leaves as a folder that `datasets` loads without a network."""

from pathlib import Path

import pytest
import yaml

from warehouse.errors import WarehouseError
from warehouse.export import export_tasks
from warehouse.warehouse import Warehouse


@pytest.fixture
def folder(campaign: Warehouse, tmp_path: Path) -> Path:
    batch = campaign.latest_batch("task_dataset")
    assert batch is not None
    return export_tasks(campaign, batch.batch_id, tmp_path / "shop-tasks")


def test_the_folder_loads_offline_with_its_splits_and_environments(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    tasks = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: split["id"] for name, split in tasks.items()} == {"train": ["task-1"], "held_out": ["task-2"]}
    environments = datasets.load_dataset(str(folder), "environments", cache_dir=str(tmp_path / "cache"))["train"]
    assert environments["record"] == ['{"domain":"retail"}']


def test_the_card_is_tagged_and_counts_what_is_inside(folder: Path) -> None:
    _, header, body = (folder / "README.md").read_text().split("---\n", 2)
    assert "rl-environment" in yaml.safe_load(header)["tags"]
    assert "| train | retail | 1 | 1.0 |" in body and "| held_out | retail | 1 | 2.0 |" in body


def test_a_dataset_that_could_not_be_used_is_refused(warehouse: Warehouse, row, tmp_path: Path) -> None:
    tasks = {"tasks": [row("tasks", id="t", environment_id="nowhere", difficulty=1)]}
    orphaned = warehouse.record_batch("task_dataset", None, tasks, run_id="1", code_version="x")
    with pytest.raises(WarehouseError, match="nowhere"):
        export_tasks(warehouse, orphaned.batch_id, tmp_path / "out")
    empty = warehouse.record_batch("task_dataset", None, {}, run_id="2", code_version="x")
    with pytest.raises(WarehouseError, match="no tasks"):
        export_tasks(warehouse, empty.batch_id, tmp_path / "out")
