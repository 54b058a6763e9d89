"""Splits of a dataset: which tasks a policy may learn from. A task keeps its place when others come or go."""

from collections.abc import Iterable

from envs.record import Record, derive_seed
from envs.task import Task

SHARES = (("train", 0.7), ("validation", 0.1), ("test", 0.2))


class Split(Record):
    """Where a task belongs."""

    task_id: str
    split: str


def split_tasks(tasks: Iterable[Task], seed: int) -> tuple[Split, ...]:
    """Train, validation and test in the shares of `SHARES`, per domain and number of golden calls, sorted by task.

    Tasks with one instruction stay together: a request seen in training never comes back in the test.
    """
    strata: dict[tuple[str, int], dict[str, list[str]]] = {}
    for task in tasks:
        stratum = strata.setdefault((task.domain, task.difficulty), {})
        stratum.setdefault(task.instruction, []).append(task.id)
    splits = []
    for _, requests in sorted(strata.items()):
        ordered = sorted(requests, key=lambda instruction: (derive_seed(instruction, seed), instruction))
        for position, instruction in enumerate(ordered):
            name = _share(position, len(ordered))
            splits += [Split(task_id=task_id, split=name) for task_id in requests[instruction]]
    return tuple(sorted(splits, key=lambda split: split.task_id))


def _share(position: int, count: int) -> str:
    end = 0.0
    for name, share in SHARES:
        end += share * count
        if position < end - 1e-9:
            return name
    return SHARES[-1][0]
