"""How a rollout came by its reward and its advantage: the arithmetic redone, as data and as lines for people."""

from collections.abc import Sequence
from typing import Any

from envs.fates import MASKED
from trainer.advantages import Advantage, standardised
from trainer.rewards import OUTCOME, Reward, explain
from trainer.rollout import Rollout
from trainer.scoring import Rewarding, judge

_SAME = 1e-9


def explanation(
    rollout: Rollout, together: Sequence[Rollout], stored: Sequence[dict[str, Any]], settings: Rewarding
) -> dict[str, Any]:
    """The arithmetic as plain data.

    `together` are the rollouts that were collected with this one, itself among them: advantages compare them.
    `stored` are its rows of `rewards` (`reward`, `advantage`, `status`), oldest first.
    """
    rewards, advantages = judge(together, settings)
    reward = next(each for each in rewards if each.rollout_id == rollout.id)
    advantage = next(each for each in advantages if each.rollout_id == rollout.id)
    return {
        "rollout": rollout.id,
        "campaign": rollout.campaign,
        "iteration": rollout.iteration,
        "purpose": rollout.purpose,
        "outcome": str(reward.outcome),
        "simulated_experts": rollout.simulated_experts,
        "preference": rollout.preference.text,
        "terms": _terms(reward, rewards, advantages, settings),
        "reward": reward.value,
        "compared": settings.rewards.advantage,
        "group": [each.value for each in _compared(reward, rewards, advantages)],
        "advantage": advantage.advantage,
        "left_out": advantage.left_out and str(advantage.left_out),
        "stored": stored[-1] if stored else None,
        "differs": any(
            not _same(row["reward"], reward.value) or not _same(row["advantage"], advantage.advantage) for row in stored
        ),
    }


def _compared(reward: Reward, rewards: list[Reward], advantages: list[Advantage]) -> list[Reward]:
    """The rollouts of the group that are not masked."""
    masked = {each.rollout_id for each in advantages if each.left_out in MASKED}
    return [each for each in rewards if each.group_id == reward.group_id and each.rollout_id not in masked]


def _terms(
    reward: Reward, rewards: list[Reward], advantages: list[Advantage], settings: Rewarding
) -> list[dict[str, Any]]:
    """One row per element; with its distance to the group's mean where elements are compared one by one."""
    rows: list[dict[str, Any]] = [dict(row) for row in explain(reward)]
    kept = _compared(reward, rewards, advantages)
    if settings.rewards.advantage == "decoupled" and reward in kept:
        for row, element in zip(rows, standardised(kept)[kept.index(reward)], strict=True):
            row |= {"standardised": element, "weighted": element * row["weight"]}
    return rows


def _same(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= _SAME


def element_line(row: dict[str, Any]) -> str:
    """One element of M(τ): from its raw value, by the group's extremes and its weight, to what it adds."""
    if row["name"] == OUTCOME:
        normalised = f"{row['normalised']:g}"
    elif row["high"] > row["low"]:
        span = f"({row['raw']:.6g} − {row['low']:.6g}) ÷ ({row['high']:.6g} − {row['low']:.6g})"
        normalised = f"{span} = {row['normalised']:.6g}"
    else:
        normalised = f"{row['raw']:.6g} in the whole group, so 0"
    line = f"{row['name']:10} {normalised}, × {row['weight']:g} = {row['product']:.6g}"
    if "standardised" in row:
        line += f"; {row['standardised']:.6g} deviations from the mean, × {row['weight']:g} = {row['weighted']:.6g}"
    return line


def reward_line(told: dict[str, Any]) -> str:
    """What the reward adds up from, or why there is none."""
    if told["reward"] is None:
        return "none: an environment error is masked"
    if told["outcome"] != "solved":
        return "0, because the task was not solved"
    return " + ".join(f"{row['product']:.6g}" for row in told["terms"]) + f" = {told['reward']:.6g}"


def advantage_line(told: dict[str, Any]) -> str:
    """How the advantage follows from the group, or why there is none."""
    if told["left_out"]:
        return f"none: {told['left_out']}"
    if told["compared"] == "decoupled":
        weighted = [row["weighted"] for row in told["terms"]]
        total = sum(weighted)
        scale = f" ÷ {total / told['advantage']:.6g} (of the batch)" if told["advantage"] else ""
        return f"({' + '.join(f'{each:.6g}' for each in weighted)}){scale} = {told['advantage']:.6g}"
    group = told["group"]
    mean = sum(group) / len(group)
    return f"{told['reward']:.6g} − {mean:.6g} (mean of {len(group)}) → {told['advantage']:.6g}"
