"""An iteration draws more tasks as long as nothing it has rolled out can teach anything."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from envs.task import Task
from envs.verdict import Outcome
from tests.trainer.test_evaluate import rollout
from trainer.redraw import roll_out_until_signal
from trainer.rollout import Rollout
from trainer.settings import RewardConfig

LOG = logging.getLogger(__name__)


REWARDS = RewardConfig(cost=0.0, latency=0.0)


@dataclass(frozen=True)
class Settings:
    tasks_per_iteration: int = 2
    redraws: int = 2
    seed: int = 0
    rewards: RewardConfig = REWARDS


def attempts(second: Outcome) -> Callable[[list[Task]], list[Rollout]]:
    """Two attempts at each task: the first fails, and the second ends like this."""
    return lambda drawn: [
        rollout(sample, outcome, task_id=task.id)
        for task in drawn
        for sample, outcome in enumerate((Outcome.FAILED, second))
    ]


def test_rollouts_that_differ_end_the_draw(tasks: list[Task]) -> None:
    drawn, rollouts = roll_out_until_signal(tasks, Settings(), 0, None, attempts(Outcome.SOLVED), LOG)
    assert len(drawn) == 2 and len(rollouts) == 4


def test_without_any_signal_more_tasks_are_drawn_each_once_and_it_is_said(
    tasks: list[Task], caplog: pytest.LogCaptureFixture
) -> None:
    drawn, rollouts = roll_out_until_signal(tasks, Settings(), 0, None, attempts(Outcome.FAILED), LOG)
    assert len(drawn) == len({task.id for task in drawn}) == 6 and len(rollouts) == 12
    assert "no signal in the rollouts of 2 tasks; drawing more" in caplog.messages


def test_the_draw_ends_with_the_tasks(tasks: list[Task]) -> None:
    drawn, _ = roll_out_until_signal(tasks[:3], Settings(redraws=9), 0, None, attempts(Outcome.FAILED), LOG)
    assert {task.id for task in drawn} == {task.id for task in tasks[:3]}
