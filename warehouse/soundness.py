"""What assets leave out because it is under quarantine, and what they say of it. Batches of before stay as they are.

Evaluations keep the tasks of their dataset, so that policies stay comparable: a new dataset has none of them.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from envs.task import Rejection, Task
from warehouse.quarantine import (
    Mark,
    checkpoints_under_quarantine,
    rollouts_under_quarantine,
    tasks_under_quarantine,
)
from warehouse.warehouse import Warehouse

QUARANTINED = "quarantined"
"""The reason of a rejection, and the name under which rollouts left out of an update are counted."""


class Attempt(Protocol):
    """A rollout, as far as quarantine looks at it."""

    @property
    def id(self) -> str: ...
    @property
    def task_id(self) -> str: ...


AttemptType = TypeVar("AttemptType", bound=Attempt)


class Quarantined(RuntimeError):
    """A policy that nothing may be trained from."""


def sound_tasks(warehouse: Warehouse, tasks: Iterable[Task]) -> tuple[list[Task], list[Rejection]]:
    """The tasks that are not under quarantine, in order, and a rejection for each of the others."""
    marked = tasks_under_quarantine(warehouse)
    kept, rejections = [], []
    for task in tasks:
        if mark := marked.get(task.id):
            rejections.append(_rejection(task, mark))
        else:
            kept.append(task)
    return kept, rejections


def _rejection(task: Task, mark: Mark) -> Rejection:
    return Rejection(
        domain=task.domain,
        stage="dataset",
        reason=QUARANTINED,
        detail=f"{mark.kind} {mark.record_id}: {mark.reason}",
        subject={"task": task.id},
    )


def sound_rollouts(
    warehouse: Warehouse, rollouts: Iterable[AttemptType]
) -> tuple[list[AttemptType], list[AttemptType]]:
    """(kept, left out): those that are marked, or whose task is under quarantine, are left out.

    Raises Quarantined if none is left.
    """
    tasks, marked = tasks_under_quarantine(warehouse), rollouts_under_quarantine(warehouse)
    kept: list[AttemptType] = []
    left_out: list[AttemptType] = []
    for rollout in rollouts:
        (left_out if rollout.id in marked or rollout.task_id in tasks else kept).append(rollout)
    if left_out and not kept:
        raise Quarantined(f"all {len(left_out)} rollouts are quarantined, or their tasks are. Collect new ones.")
    return kept, left_out


def refuse_quarantined(warehouse: Warehouse, policy_id: str) -> None:
    """Raises Quarantined if the checkpoint is marked, or descends from one that is."""
    if mark := checkpoints_under_quarantine(warehouse).get(policy_id):
        descends = "" if mark.record_id == policy_id else f" descends from checkpoint {mark.record_id}, which"
        raise Quarantined(
            f"checkpoint {policy_id}{descends} is quarantined: {mark.reason}. Materialise `rollouts` and `checkpoint` "
            f"of the iterations from it on anew, or lift it: envloom quarantine {mark.record_id} --lift --reason ..."
        )


def training_tasks(warehouse: Warehouse, train: Iterable[Task]) -> tuple[list[Task], int]:
    """The tasks of a split that are not under quarantine, and how many are. Raises Quarantined if none is left."""
    tasks, rejections = sound_tasks(warehouse, train)
    if rejections and not tasks:
        raise Quarantined(f"all {len(rejections)} training tasks are quarantined, such as {rejections[0].detail}.")
    return tasks, len(rejections)


def counted(left_out: Sequence[object]) -> dict[str, int]:
    """Their number by name, as an update counts what became of its rollouts; nothing if there are none."""
    return {QUARANTINED: len(left_out)} if left_out else {}
