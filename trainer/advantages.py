"""From rewards to advantages: centred within the group, and every rollout that is not trained on named and counted.

Group-relative as in GRPO (arXiv 2402.03300); not divided by the standard deviation unless asked, since that weighs
groups by how alike their rewards are (arXiv 2503.20783).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean, pstdev

from envs.record import Record
from trainer.jobs import RewardConfig
from trainer.rewards import Reward
from trainer.rollout import TRUNCATED, StopReason

# Below this spread rewards are equal but for rounding.
_NO_SPREAD = 1e-9


class Left(StrEnum):
    """Why a rollout is not trained on."""

    ENVIRONMENT_ERROR = "environment_error"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    ALONE = "alone"
    """Nothing in its group is left to compare it with."""
    ZERO_VARIANCE = "zero_variance"
    """All rewards of its group are equal: constant outcome and no other signal."""


class Advantage(Record):
    """What one rollout's tokens are pushed by, or why they are not."""

    rollout_id: str
    group_id: str
    reward: float | None
    advantage: float | None = None
    left_out: Left | None = None


def advantages_of(
    rewards: Sequence[Reward], stop_reasons: Mapping[str, StopReason], config: RewardConfig
) -> list[Advantage]:
    """Advantages of all groups, sorted by group and rollout. `stop_reasons` is by rollout id.

    Rollouts that `config` masks are taken out before their group is centred.
    """
    groups: dict[str, list[Reward]] = {}
    for reward in sorted(rewards, key=lambda reward: (reward.group_id, reward.rollout_id)):
        groups.setdefault(reward.group_id, []).append(reward)
    return [advantage for group in groups.values() for advantage in _centred(group, stop_reasons, config)]


def _centred(group: list[Reward], stop_reasons: Mapping[str, StopReason], config: RewardConfig) -> list[Advantage]:
    left_out = {reward.rollout_id: _masked(reward, stop_reasons[reward.rollout_id], config) for reward in group}
    values = [reward.value for reward in group if not left_out[reward.rollout_id] and reward.value is not None]
    common: Left | None = None
    if len(values) < 2:
        common = Left.ALONE
    elif max(values) - min(values) <= _NO_SPREAD:
        common = Left.ZERO_VARIANCE
    mean = fmean(values) if values else 0.0
    scale = pstdev(values) if config.divide_by_std and not common else 1.0
    return [
        Advantage(
            rollout_id=reward.rollout_id,
            group_id=reward.group_id,
            reward=reward.value,
            advantage=None if reason or reward.value is None else (reward.value - mean) / scale,
            left_out=reason,
        )
        for reward in group
        for reason in [left_out[reward.rollout_id] or common]
    ]


def _masked(reward: Reward, stop_reason: StopReason, config: RewardConfig) -> Left | None:
    if reward.value is None:
        return Left.ENVIRONMENT_ERROR
    if config.truncated == "mask" and stop_reason in TRUNCATED:
        return Left.TRUNCATED
    if config.malformed == "mask" and stop_reason is StopReason.MALFORMED_LIMIT:
        return Left.MALFORMED
    return None


def counts(advantages: Sequence[Advantage]) -> dict[str, int]:
    """Rollouts by fate: `trained` and each reason for being left out, all named even when 0."""
    fates = Counter(str(advantage.left_out or "trained") for advantage in advantages)
    return {name: fates[name] for name in ("trained", *map(str, Left))}


def reward_rows(rewards: Sequence[Reward], advantages: Sequence[Advantage]) -> list[dict[str, object]]:
    """Rows of table `rewards` but for `update_id`: each element's contribution, reward, advantage and fate."""
    components = {reward.rollout_id: {term.name: term.product for term in reward.terms} for reward in rewards}
    return [
        {
            "rollout_id": advantage.rollout_id,
            "components": components[advantage.rollout_id],
            "reward": advantage.reward,
            "advantage": advantage.advantage,
            "status": str(advantage.left_out or "trained"),
        }
        for advantage in advantages
    ]
