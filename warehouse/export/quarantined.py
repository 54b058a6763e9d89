"""What of some batches is under quarantine, and by which marks: the ids to leave out, and what the card says of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from warehouse.quarantine import (
    Mark,
    checkpoints_under_quarantine,
    rollouts_under_quarantine,
    tasks_under_quarantine,
)
from warehouse.warehouse import Warehouse

_TASKS = "SELECT DISTINCT id FROM batch_tasks WHERE batch_id IN (SELECT unnest($batches)) ORDER BY id"
_ROLLOUTS = """
SELECT DISTINCT id, task_id, policy_id FROM batch_rollouts WHERE batch_id IN (SELECT unnest($batches)) ORDER BY id
"""


@dataclass(frozen=True)
class Quarantined:
    """Records under quarantine, each with the oldest mark that reaches it."""

    by_id: dict[str, Mark]

    @property
    def ids(self) -> list[str]:
        return list(self.by_id)

    @property
    def reasons(self) -> Counter[str]:
        """How many each mark keeps out, in the words of the card."""
        told = (f"under quarantine: {mark.kind} {mark.record_id}, {mark.reason}" for mark in self.by_id.values())
        return Counter(told)


def quarantined_tasks(warehouse: Warehouse, batch_ids: Sequence[str]) -> Quarantined:
    """Tasks of these batches that are marked, or came of something that is."""
    marked = tasks_under_quarantine(warehouse)
    if not marked:
        return Quarantined({})
    ids = warehouse.query(_TASKS, {"batches": list(batch_ids)})["id"]
    return Quarantined({id: marked[id] for id in ids if id in marked})


def quarantined_rollouts(warehouse: Warehouse, batch_ids: Sequence[str]) -> Quarantined:
    """Rollouts of these batches that are marked, or whose task or policy is under quarantine."""
    tasks, policies = tasks_under_quarantine(warehouse), checkpoints_under_quarantine(warehouse)
    marked = rollouts_under_quarantine(warehouse)
    if not tasks and not policies and not marked:
        return Quarantined({})
    found: dict[str, Mark] = {}
    for id, task_id, policy_id in warehouse.query(_ROLLOUTS, {"batches": list(batch_ids)}).iter_rows():
        if mark := marked.get(id) or tasks.get(task_id) or policies.get(policy_id):
            found[id] = mark
    return Quarantined(found)
