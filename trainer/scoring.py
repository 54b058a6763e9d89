"""From rollouts to what an update trains on: rewards, advantages within groups, and the file of training rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envs.record import content_id
from trainer.advantages import Advantage, advantages_of, counts, reward_rows
from trainer.rewards import Reward, measures_of, preference_or_default, score_group
from trainer.rollout import Rollout
from trainer.rows import training_rows, write_training_rows
from trainer.settings import RewardConfig


class NothingToTrainOn(RuntimeError):
    """No rollout of the batch carries a signal: why, by count."""


class Rewarding(Protocol):
    """Settings that say how rollouts are rewarded, such as a campaign."""

    @property
    def rewards(self) -> RewardConfig: ...


@dataclass(frozen=True)
class Scored:
    """A batch of rollouts with what the update needs and what the warehouse keeps."""

    rewards: list[Reward]
    reward_rows: list[dict[str, object]]
    counts: dict[str, int]
    rows_path: Path


def judge(rollouts: Sequence[Rollout], settings: Rewarding) -> tuple[list[Reward], list[Advantage]]:
    """Rewards and advantages of a batch."""
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.group_id, []).append(rollout)
    rewards = [
        reward
        for _, group in sorted(groups.items())
        for reward in score_group(
            [measures_of(rollout, settings.rewards) for rollout in group],
            preference_or_default(group[0].preference, settings.rewards),
        )
    ]
    stops = {rollout.id: rollout.stop_reason for rollout in rollouts}
    untrainable = {rollout.id for rollout in rollouts if not rollout.trainable}
    return rewards, advantages_of(rewards, stops, settings.rewards, untrainable)


def carries_signal(rollouts: Sequence[Rollout], settings: Rewarding) -> bool:
    """Whether an update could learn anything from these rollouts."""
    return any(not advantage.left_out for advantage in judge(rollouts, settings)[1])


def score(rollouts: Sequence[Rollout], settings: Rewarding, folder: Path) -> Scored:
    """`judge`, and the Parquet file that the update reads.

    The file is named by its content: no finished job answers for other rewards. Raises NothingToTrainOn.
    """
    rewards, advantages = judge(rollouts, settings)
    rows = training_rows(rollouts, [advantage for advantage in advantages if not advantage.left_out])
    if not rows:
        raise NothingToTrainOn(
            f"none of {len(rollouts)} rollouts carries a signal: {counts(advantages)}. Roll out more tasks, or tasks "
            "that the policy sometimes solves (campaign: tasks_per_iteration, redraws, rollouts.samples_per_task)."
        )
    stored = reward_rows(rewards, advantages)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_id(stored)}.parquet"
    write_training_rows(path, rows)
    return Scored(rewards, stored, counts(advantages), path)
