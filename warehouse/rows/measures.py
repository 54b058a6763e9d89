"""Figures about tasks as rows, and back: their diversity, and their difficulty for a policy."""

from collections.abc import Iterable, Sequence
from typing import Any

from envs.difficulty import Difficulty
from envs.diversity import ALL, Diversity, diversity_id
from envs.record import content_id
from envs.task import Task
from warehouse.warehouse import Batch, Warehouse


def diversity_rows(measured: Iterable[Diversity], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """One row per scope: all, or a domain."""
    return [
        {
            "id": diversity_id(diversity, [task for task in tasks if diversity.scope in (ALL, task.domain)]),
            **diversity.model_dump(),
        }
        for diversity in measured
    ]


def difficulty_rows(measured: Iterable[Difficulty], campaign: str) -> list[dict[str, Any]]:
    """One row per task and policy."""
    return [
        {
            "id": content_id([campaign, difficulty.id]),
            "campaign": campaign,
            **difficulty.model_dump(),
            "pass_at_k": difficulty.pass_at_k,
        }
        for difficulty in measured
    ]


def read_difficulties(warehouse: Warehouse, batch: Batch) -> list[Difficulty]:
    """What a batch of `difficulty` measured."""
    rows = warehouse.read_batch(batch.batch_id, "difficulties").select(list(Difficulty.model_fields))
    return [Difficulty.model_validate(row) for row in rows.to_dicts()]
