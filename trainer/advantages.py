"""From rewards to advantages: centred within the group, and every rollout that is not trained on named and counted.

Group-relative as in GRPO (arXiv 2402.03300); not divided by the standard deviation unless asked, since that weighs
groups by how alike their rewards are (arXiv 2503.20783). `decoupled` compares every element of the reward on its own
(GDPO, arXiv 2601.05242).
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from math import fsum
from statistics import fmean, pstdev

from envs.fates import LeftOut
from envs.record import Record
from trainer.rewards import Reward
from trainer.rollout import TRUNCATED, StopReason
from trainer.settings import RewardConfig

_NO_SPREAD = 1e-9
"""Elements of a reward are between 0 and 1: below this spread rewards are equal but for rounding."""


class Advantage(Record):
    """What one rollout's tokens are pushed by, or why they are not."""

    rollout_id: str
    group_id: str
    reward: float | None
    advantage: float | None = None
    left_out: LeftOut | None = None


def advantages_of(
    rewards: Sequence[Reward],
    stop_reasons: Mapping[str, StopReason],
    config: RewardConfig,
    untrainable: Set[str] = frozenset(),
) -> list[Advantage]:
    """Advantages of all rollouts of all groups, sorted by group and rollout: each reward minus its group's mean.

    `stop_reasons` is by rollout id, `untrainable` holds rollout ids. Rollouts that `config` masks are taken out before
    their group is compared; an Advantage without a value names in `left_out` why the rollout is not trained on.
    """
    groups: dict[str, list[Reward]] = {}
    for reward in sorted(rewards, key=lambda reward: (reward.group_id, reward.rollout_id)):
        groups.setdefault(reward.group_id, []).append(reward)
    reasons = {reward.rollout_id: _masked(reward, stop_reasons[reward.rollout_id], config) for reward in rewards}
    reasons |= {name: reasons[name] or LeftOut.UNTRAINABLE for name in untrainable}
    compared = [_compared(group, reasons, config) for group in groups.values()]
    advantages = [advantage for group in compared for advantage in group]
    return _whitened(advantages) if config.advantage == "decoupled" else advantages


def _compared(group: list[Reward], left_out: Mapping[str, LeftOut | None], config: RewardConfig) -> list[Advantage]:
    """`left_out`: rollout id → why it is not compared."""
    kept = [reward for reward in group if not left_out[reward.rollout_id]]
    found = dict(zip((reward.rollout_id for reward in kept), _advantages(kept, config), strict=True))
    common: LeftOut | None = None
    if len(kept) < 2:
        common = LeftOut.ALONE
    elif max(found.values()) - min(found.values()) <= _NO_SPREAD:
        common = LeftOut.ZERO_VARIANCE
    return [
        Advantage(
            rollout_id=reward.rollout_id,
            group_id=reward.group_id,
            reward=reward.value,
            advantage=None if reason else found[reward.rollout_id],
            left_out=reason,
        )
        for reward in group
        for reason in [left_out[reward.rollout_id] or common]
    ]


def _advantages(kept: list[Reward], config: RewardConfig) -> list[float]:
    """Of the rollouts of one group that are not masked, in their order."""
    if config.advantage == "joint":
        return _centred([reward.value or 0.0 for reward in kept], scaled=config.divide_by_std)
    return [
        fsum(term.weight * element for term, element in zip(reward.terms, elements, strict=True))
        for reward, elements in zip(kept, standardised(kept), strict=True)
    ]


def standardised(kept: Sequence[Reward]) -> list[list[float]]:
    """Per rollout the elements of its reward, in the order of its terms, in standard deviations from the group's mean.

    `kept` are the rollouts of one group that are not masked.
    """
    columns = [
        _centred([reward.element(term) for reward, term in zip(kept, terms, strict=True)], scaled=True)
        for terms in zip(*(reward.terms for reward in kept), strict=True)
    ]
    return [[column[place] for column in columns] for place in range(len(kept))]


def _centred(values: list[float], *, scaled: bool) -> list[float]:
    """The distance of each value to the mean, in standard deviations if `scaled`; all 0 where the values are equal."""
    if not values or max(values) - min(values) <= _NO_SPREAD:
        return [0.0] * len(values)
    mean, scale = fmean(values), pstdev(values) if scaled else 1.0
    return [(value - mean) / scale for value in values]


def _whitened(advantages: list[Advantage]) -> list[Advantage]:
    """All divided by their standard deviation over the batch, so that their size does not grow with the elements.

    Their mean needs no correction: it is 0 in every group, and so in the batch.
    """
    trained = [advantage.advantage for advantage in advantages if advantage.advantage is not None]
    if not trained:
        return advantages
    scale = pstdev(trained)
    return [
        each if each.advantage is None else each.model_copy(update={"advantage": each.advantage / scale})
        for each in advantages
    ]


def _masked(reward: Reward, stop_reason: StopReason, config: RewardConfig) -> LeftOut | None:
    if reward.value is None:
        return LeftOut.ENVIRONMENT_ERROR
    if config.truncated == "mask" and stop_reason in TRUNCATED:
        return LeftOut.TRUNCATED
    if config.malformed == "mask" and stop_reason is StopReason.MALFORMED_LIMIT:
        return LeftOut.MALFORMED
    return None


def counts(advantages: Sequence[Advantage]) -> dict[str, int]:
    """Rollouts by fate: `trained` and each reason for being left out, all named even when 0 but for `untrainable`."""
    fates = Counter(str(advantage.left_out or "trained") for advantage in advantages)
    names = [name for name in map(str, LeftOut) if fates[name] or name != LeftOut.UNTRAINABLE]
    return {name: fates[name] for name in ("trained", *names)}


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
