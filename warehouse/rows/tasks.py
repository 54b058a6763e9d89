"""Tasks, their splits and the rejected proposals as rows, and back."""

from collections.abc import Iterable
from typing import Any

from envs.task import Rejection, Task
from warehouse.warehouse import Batch, Warehouse


def task_rows(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """One row per task. The shape of a task is the sequence of its golden tools."""
    return [
        {
            "id": task.id,
            "environment_id": task.environment_id,
            "domain": task.domain,
            "instruction": task.instruction,
            "shape": " > ".join(call.tool for call in task.golden),
            "difficulty": task.difficulty,
            "n_writes": len(task.goal.changeset),
            "n_facts": len(task.goal.facts),
            "record": task.canonical(),
        }
        for task in tasks
    ]


def rejection_rows(rejections: Iterable[Rejection]) -> list[dict[str, Any]]:
    """One row per distinct rejection."""
    distinct = {rejection.id: rejection for rejection in rejections}
    return [
        {
            "id": rejection.id,
            "domain": rejection.domain,
            "stage": rejection.stage,
            "reason": rejection.reason,
            "detail": rejection.detail,
            "record": rejection.canonical(),
        }
        for rejection in distinct.values()
    ]


def read_tasks(warehouse: Warehouse, batch: Batch) -> list[Task]:
    """The tasks of a batch, in order."""
    return [Task.model_validate_json(record) for record in warehouse.records(batch.batch_id, "tasks")]


def split_of(warehouse: Warehouse, data: Batch, split: str) -> list[Task]:
    """The tasks of one split of a dataset, sorted by id."""
    rows = warehouse.read_batch(data.batch_id, "splits").to_dicts()
    wanted = {row["task_id"] for row in rows if row["split"] == split}
    return sorted((task for task in read_tasks(warehouse, data) if task.id in wanted), key=lambda task: task.id)
