"""The column `config` of a checkpoint has every setting, its manifest only those that differ: both say the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from dagster_project.home import Home
from dagster_project.reproduction.deriving import DERIVED, Stored
from tests.dagster_project.foreign import sealed_adapter
from trainer.settings import UpdateConfig
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

WHOLE = UpdateConfig.model_validate({"lora": {"r": 2, "alpha": 4}}).model_dump(mode="json")


@pytest.mark.parametrize(
    ("column", "same"),
    [
        (WHOLE, True),
        ({name: value for name, value in WHOLE.items() if name != "behaviour"}, True),  # from before there was one
        (WHOLE | {"epochs": 3}, False),
        (WHOLE | {"lora": {"r": 8, "alpha": 16}}, False),
        (WHOLE | {"unheard_of": 1}, False),
    ],
)
def test_a_config_column_that_says_otherwise_than_its_manifest_is_a_difference(
    column: dict[str, Any], same: bool, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    home.parts.mkdir(parents=True)
    warehouse = Warehouse(home.warehouse, home.parts)
    manifest = sealed_adapter(tmp_path / "artefacts", "f" * 64)
    row = {"id": manifest.id, "kind": "update", "config": column, "record": manifest.canonical()}
    rows = {"checkpoints": [dict.fromkeys(TABLES["checkpoints"].columns) | row]}
    batch = warehouse.record_batch("checkpoint", "demo-0000", rows, run_id="r", code_version="c0de")
    there = Stored(home, warehouse, batch)
    [stored], [derived] = there.tables["checkpoints"], DERIVED["checkpoints"](there)
    assert (read(derived["config"]) == read(stored["config"])) == same


def read(config: Any) -> Any:
    return json.loads(config) if isinstance(config, str) else config
