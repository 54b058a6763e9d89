"""How a rollout came by its reward and its advantage, redone from what the warehouse holds, and said for people."""

from typing import Any

from rich.console import Console

from dagster_project import stored
from dagster_project.campaign import Campaign
from dagster_project.commands.console import as_stored
from dagster_project.finding import NotFound
from dagster_project.training import judge
from envs.fates import MASKED
from trainer.advantages import Advantage, standardised
from trainer.rewards import OUTCOME, Reward, explain
from trainer.rollout import Rollout
from warehouse.warehouse import Warehouse

_SAME = 1e-9
_TOGETHER = """
SELECT other.id FROM rollouts r JOIN rollouts other USING (campaign, iteration, purpose, policy_id)
WHERE r.id = ? ORDER BY other.id
"""


def find_rollout(warehouse: Warehouse, name: str) -> Rollout:
    """The rollout whose id starts with `name`. Raises NotFound."""
    ids = warehouse.query("SELECT id FROM rollouts WHERE starts_with(id, ?)", [name])["id"].to_list()
    if len(ids) != 1:
        known = warehouse.query("SELECT id FROM rollouts ORDER BY id LIMIT 3")["id"].to_list()
        there = f"There are {', '.join(known)}, …" if known else "There is none yet: run `make demo`."
        what = f'"{name}" is the start of {len(ids)} ids' if ids else f'there is no rollout "{name}"'
        raise NotFound(f"{what} in {warehouse.path}. {there}")
    return stored.rollouts_by_id(warehouse, ids)[0]


def explanation(warehouse: Warehouse, rollout: Rollout, campaign: Campaign) -> dict[str, Any]:
    """The arithmetic as plain data. Advantages need the rollouts that were collected together with this one."""
    together = stored.rollouts_by_id(warehouse, warehouse.query(_TOGETHER, [rollout.id])["id"].to_list())
    rewards, advantages = judge(together, campaign)
    reward = next(each for each in rewards if each.rollout_id == rollout.id)
    advantage = next(each for each in advantages if each.rollout_id == rollout.id)
    rows = warehouse.query(
        "SELECT reward, advantage, status FROM rewards WHERE rollout_id = ? ORDER BY update_id", [rollout.id]
    ).to_dicts()
    return {
        "rollout": rollout.id,
        "campaign": rollout.campaign,
        "iteration": rollout.iteration,
        "purpose": rollout.purpose,
        "outcome": str(reward.outcome),
        "simulated_experts": rollout.simulated_experts,
        "preference": rollout.preference.text,
        "terms": _terms(reward, rewards, advantages, campaign),
        "reward": reward.value,
        "compared": campaign.rewards.advantage,
        "group": [each.value for each in _compared(reward, rewards, advantages)],
        "advantage": advantage.advantage,
        "left_out": advantage.left_out and str(advantage.left_out),
        "stored": rows[-1] if rows else None,
        "differs": any(
            not _same(row["reward"], reward.value) or not _same(row["advantage"], advantage.advantage) for row in rows
        ),
    }


def _compared(reward: Reward, rewards: list[Reward], advantages: list[Advantage]) -> list[Reward]:
    """The rollouts of the group that are not masked."""
    masked = {each.rollout_id for each in advantages if each.left_out in MASKED}
    return [each for each in rewards if each.group_id == reward.group_id and each.rollout_id not in masked]


def _terms(
    reward: Reward, rewards: list[Reward], advantages: list[Advantage], campaign: Campaign
) -> list[dict[str, Any]]:
    """One row per element; with its distance to the group's mean where elements are compared one by one."""
    rows: list[dict[str, Any]] = [dict(row) for row in explain(reward)]
    kept = _compared(reward, rewards, advantages)
    if campaign.rewards.advantage == "decoupled" and reward in kept:
        for row, element in zip(rows, standardised(kept)[kept.index(reward)], strict=True):
            row |= {"standardised": element, "weighted": element * row["weight"]}
    return rows


def _same(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= _SAME


def show(told: dict[str, Any], console: Console) -> None:
    """The arithmetic for people."""
    simulated = ", experts simulated" if told["simulated_experts"] else ""
    console.print(as_stored(f"{told['rollout']} {told['purpose']} of {told['campaign']}{simulated}"))
    if told["preference"]:
        console.print(f"preference  {as_stored(told['preference'])}")
    for row in told["terms"]:
        console.print(as_stored(_element_line(row)), soft_wrap=True)
    console.print(f"outcome    {told['outcome']}", highlight=False)
    console.print(f"reward     {_reward_line(told)}", highlight=False, soft_wrap=True)
    console.print(f"advantage  {_advantage_line(told)}", highlight=False, soft_wrap=True)
    row = told["stored"]
    kept = f"{row['reward']} and {row['advantage']}, {row['status']}" if row else "nothing: no update has used it"
    console.print(f"stored     {kept}", highlight=False)


def _element_line(row: dict[str, Any]) -> str:
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


def _reward_line(told: dict[str, Any]) -> str:
    if told["reward"] is None:
        return "none: an environment error is masked"
    if told["outcome"] != "solved":
        return "0, because the task was not solved"
    return " + ".join(f"{row['product']:.6g}" for row in told["terms"]) + f" = {told['reward']:.6g}"


def _advantage_line(told: dict[str, Any]) -> str:
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
