"""Rolling out an iteration: tasks are drawn and played, and more are drawn while no group carries a signal."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from envs.task import Task
from trainer.draw import draw_tasks
from trainer.rollout import Rollout
from trainer.scoring import Rewarding, carries_signal


class Drawing(Rewarding, Protocol):
    """Settings that say how many tasks an iteration draws, such as a campaign."""

    @property
    def tasks_per_iteration(self) -> int: ...

    @property
    def redraws(self) -> int:
        """How often as many tasks are drawn again."""
        ...

    @property
    def seed(self) -> int: ...


def roll_out_until_signal(
    tasks: Sequence[Task],
    settings: Drawing,
    iteration: int,
    weights: Mapping[str, float] | None,
    roll_out: Callable[[list[Task]], list[Rollout]],
    log: logging.Logger,
) -> tuple[list[Task], list[Rollout]]:
    """The tasks that were drawn, each once, and all their rollouts. `weights` is by task id, as `draw_tasks` has it."""
    undrawn = {task.id: task for task in tasks}
    drawn: list[Task] = []
    rollouts: list[Rollout] = []
    for _ in range(1 + settings.redraws):
        batch = draw_tasks(list(undrawn.values()), settings.tasks_per_iteration, settings.seed, iteration, weights)
        rollouts += roll_out(batch)
        drawn += [undrawn.pop(task.id) for task in batch]
        if carries_signal(rollouts, settings) or not undrawn:
            break
        log.warning("no signal in the rollouts of %d tasks; drawing more", len(drawn))
    return drawn, rollouts
