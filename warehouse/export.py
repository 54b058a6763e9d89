"""A batch of tasks as a folder that Hugging Face `datasets` loads: Parquet files and a card. Nothing is uploaded."""

from pathlib import Path

import polars as pl
import yaml

from warehouse.errors import WarehouseError
from warehouse.warehouse import Warehouse

_CARD = """\
# {title}

Requests to an assistant with tools, each in an executable environment, with a golden program and a checkable goal.
Written by EnvLoom from batch `{batch_id}` of asset `{asset}` (data version `{data_version}`).

| split | domain | tasks | mean golden calls |
|---|---|---|---|
{counts}

- Configuration `tasks` (default): one row per task. The column `record` is the whole task as canonical JSON.
- Configuration `environments`: one row per environment that the tasks name in `environment_id`; `record` is its
  specification, enough to rebuild it.
"""


def export_tasks(warehouse: Warehouse, batch_id: str, folder: Path) -> Path:
    """Write the batch's tasks, by split, with their environments, into `folder` and return it.

    `datasets.load_dataset(str(folder))` gives the tasks, offline; with `"environments"` their environments. A batch
    without splits is all `train`. Raises `UnknownBatch`, and `WarehouseError` when there is nothing that can be used.
    """
    batch = warehouse.batch(batch_id)
    tasks = warehouse.read_batch(batch_id, "tasks")
    if tasks.is_empty():
        raise WarehouseError(f"batch {batch_id} of {batch.asset} has no tasks to export. Name a batch of task_dataset.")
    environments = _environments(warehouse, tasks)
    splits = warehouse.read_batch(batch_id, "splits").rename({"task_id": "id"})
    tasks = tasks.join(splits, on="id", how="left", maintain_order="left").with_columns(
        pl.col("split").fill_null("train")
    )

    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    names = tasks["split"].unique(maintain_order=True).to_list()
    for name in names:
        tasks.filter(pl.col("split") == name).drop("split").write_parquet(folder / "tasks" / f"{name}.parquet")
    environments.write_parquet(folder / "environments.parquet")

    counts = tasks.group_by("split", "domain", maintain_order=True).agg(pl.len(), pl.col("difficulty").mean())
    card = _CARD.format(
        title=folder.name,
        batch_id=batch_id,
        asset=batch.asset,
        data_version=batch.data_version,
        counts="\n".join(
            f"| {split} | {domain} | {n} | {calls:.1f} |" for split, domain, n, calls in counts.iter_rows()
        ),
    )
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(_metadata(names), sort_keys=False)}---\n\n{card}")
    return folder


def _environments(warehouse: Warehouse, tasks: pl.DataFrame) -> pl.DataFrame:
    wanted = tasks["environment_id"].unique().sort().to_list()
    found = warehouse.query("SELECT * FROM environments WHERE list_contains(?, id) ORDER BY id", [wanted])
    if missing := sorted(set(wanted) - set(found["id"])):
        raise WarehouseError(
            f"environments {missing} of the tasks are not in the warehouse, so that the dataset could not be used. "
            "Materialise `environment` for their domains first."
        )
    return found


def _metadata(splits: list[str]) -> dict[str, object]:
    """The card's YAML header: tags, and which file belongs to which configuration and split."""
    files = [{"split": name, "path": f"tasks/{name}.parquet"} for name in splits]
    return {
        "tags": ["rl-environment", "tool-use"],
        "language": ["en"],
        "configs": [
            {"config_name": "tasks", "default": True, "data_files": files},
            {"config_name": "environments", "data_files": [{"split": "train", "path": "environments.parquet"}]},
        ],
    }
