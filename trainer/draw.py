"""Which tasks an iteration rolls out. A seeded draw: the same campaign draws the same tasks again."""

import heapq
from collections.abc import Mapping, Sequence

from envs.record import derive_seed
from envs.task import Task


def draw_tasks(
    tasks: Sequence[Task], count: int, seed: int, iteration: int, weights: Mapping[str, float] | None = None
) -> list[Task]:
    """`count` different tasks (or all, if there are fewer), sorted by id.

    Every task comes in turns of its own pace, the first at a seeded moment: one of twice the weight comes twice as
    often, and each comes again and again as long as its weight, by task id, is above zero. Without weights all have
    one pace, so that a task comes again only when every other has had its turn.
    """
    by_id = {task.id: task for task in tasks}
    pace = {task_id: 1 / weights[task_id] if weights else 1.0 for task_id in by_id}
    turns = [(pace[task_id] * derive_seed("draw", seed, task_id) / 2**31, task_id) for task_id in by_id]
    heapq.heapify(turns)
    drawn: list[tuple[float, str]] = []
    for _ in range(iteration + 1):
        for moment, task_id in drawn:
            heapq.heappush(turns, (moment + pace[task_id], task_id))
        drawn = [heapq.heappop(turns) for _ in range(min(count, len(by_id)))]
    return sorted((by_id[task_id] for _, task_id in drawn), key=lambda task: task.id)
