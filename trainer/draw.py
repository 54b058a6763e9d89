"""Which tasks an iteration rolls out. A seeded draw: the same campaign draws the same tasks again."""

import random
from collections.abc import Sequence

from envs.record import derive_seed
from envs.task import Task


def draw_tasks(tasks: Sequence[Task], count: int, seed: int, iteration: int) -> list[Task]:
    """`count` different tasks (or all, if there are fewer), sorted by id.

    Iterations walk through one shuffled order, so that a task comes again only when all have had their turn.
    """
    ordered = sorted(tasks, key=lambda task: task.id)
    random.Random(derive_seed("draw", seed)).shuffle(ordered)
    count = min(count, len(ordered))
    start = iteration * count
    return sorted((ordered[(start + place) % len(ordered)] for place in range(count)), key=lambda task: task.id)
