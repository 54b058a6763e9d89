"""What happened in a campaign, as the warehouse tells it: evaluations, training rollouts, rewards, lineage.

Every figure comes out of one of the queries below; how it is shown is decided elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from envs.intervals import bootstrap_interval
from envs.summary import ALL, Summary
from warehouse.warehouse import Warehouse

EVALUATIONS = """
SELECT e.policy_id, e.iteration, coalesce(c.kind, 'rule') AS kind, e.record,
  CASE coalesce(c.kind, e.policy_id) WHEN 'base' THEN 'base model' WHEN 'warm_start' THEN 'after warm start'
    WHEN 'update' THEN 'after iteration ' || e.iteration WHEN 'rule:cheapest_expert' THEN 'always the cheapest expert'
    WHEN 'rule:dearest_expert' THEN 'always the dearest expert' WHEN 'rule:random' THEN 'chance'
    ELSE e.policy_id END AS policy
FROM current_evaluations e LEFT JOIN (SELECT DISTINCT id, kind FROM checkpoints) c ON c.id = e.policy_id
WHERE e.campaign = ?
ORDER BY e.iteration, list_position(['base', 'warm_start', 'rule', 'update'], kind), e.policy_id, e.position
"""
TRAINING = """
SELECT u.iteration, o.task_id, list(r.reward ORDER BY o.id) AS reward, list(o.cost_usd ORDER BY o.id) AS cost_usd,
  list(o.solved::INT::DOUBLE ORDER BY o.id) AS success, bool_or(o.simulated_experts) AS simulated_experts
FROM current_rewards r JOIN current_updates u ON u.id = r.update_id JOIN rollouts o ON o.id = r.rollout_id
WHERE u.campaign = ? AND r.reward IS NOT NULL GROUP BY u.iteration, o.task_id ORDER BY u.iteration, o.task_id
"""
COMPONENTS = """
WITH judged AS (
  SELECT u.iteration, r.components, o.solved, count(*) OVER (PARTITION BY u.iteration) AS n
  FROM current_rewards r JOIN current_updates u ON u.id = r.update_id JOIN rollouts o ON o.id = r.rollout_id
  WHERE u.campaign = ? AND r.reward IS NOT NULL
), terms AS (
  SELECT iteration, n, solved, unnest(map_entries(components), recursive := true) FROM judged
)
SELECT iteration, CASE WHEN starts_with(key, 'calls.') THEN 'calls' ELSE key END AS component,
  sum(CASE WHEN solved THEN value ELSE 0 END) / any_value(n) AS mean
FROM terms GROUP BY ALL ORDER BY ALL
"""
"""What each element of the reward gave to its mean: nothing where the task was not solved, as in the reward itself."""
CHECKPOINTS = """
SELECT CASE kind WHEN 'base' THEN 'base model' WHEN 'warm_start' THEN 'warm start'
  ELSE 'iteration ' || c.iteration END AS step, c.id, c.parent_id, c.rollouts_batch_id, c.code_version
FROM current_checkpoints c WHERE c.partition = $campaign OR c.partition SIMILAR TO $iterations
ORDER BY list_position(['base', 'warm_start', 'update'], kind), c.iteration
"""
BATCHES = """
SELECT asset, partition, batch_id, created_at FROM current_batches
WHERE partition = $campaign OR partition SIMILAR TO $iterations ORDER BY created_at, asset
"""
SPLITS = """
SELECT s.split, t.domain, count(*) AS tasks FROM current_splits s JOIN tasks t ON t.id = s.task_id
WHERE s.asset = 'task_dataset' AND s.partition = ? GROUP BY ALL ORDER BY ALL
"""

FUNNEL = """
SELECT partition AS domain,
  (SELECT count(*) FROM current_tasks c WHERE c.asset = 'candidate_tasks' AND c.partition = b.partition) AS candidates,
  (SELECT count(*) FROM current_tasks c WHERE c.asset = 'proven_tasks' AND c.partition = b.partition) AS proven
FROM current_batches b WHERE asset = 'proven_tasks' AND partition IN (SELECT unnest(?)) ORDER BY domain
"""


@dataclass(frozen=True)
class Evaluation:
    """One policy on one split, or on one domain of it."""

    policy_id: str
    policy: str
    """For people: `after iteration 3`."""
    kind: str
    """`base`, `warm_start`, `update` (of the loop) or `rule`."""
    iteration: int
    summary: Summary

    @property
    def name(self) -> str:
        """The policy, and that experts were simulated where they were."""
        return f"{self.policy} (simulated experts)" if self.summary.simulated_experts else self.policy

    @property
    def updates(self) -> int:
        """How many updates of the loop have made this policy; 0 after the warm start."""
        return self.iteration + 1 if self.kind == "update" else 0


@dataclass(frozen=True)
class Mean:
    """A mean with its interval, if there is one."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Training:
    """The rollouts that one iteration trained on."""

    iteration: int
    n: int
    simulated_experts: bool
    success: Mean
    cost_usd: Mean
    reward: Mean


def evaluations(warehouse: Warehouse, campaign: str) -> list[Evaluation]:
    """Every evaluation of a campaign: base, warm start, rules, then iterations; whole splits before their domains."""
    rows = warehouse.query(EVALUATIONS, [campaign]).to_dicts()
    return [Evaluation(**row | {"summary": Summary.model_validate_json(row.pop("record"))}) for row in rows]


def whole(found: Sequence[Evaluation], split: str | None = None) -> list[Evaluation]:
    """Those of whole splits, or of this one."""
    return [one for one in found if one.summary.scope == ALL and split in (None, one.summary.split)]


def training(warehouse: Warehouse, campaign: str) -> list[Training]:
    """Per iteration what its training rollouts were like; intervals are of means over tasks."""
    iterations: dict[int, list[dict[str, Any]]] = {}
    for row in warehouse.query(TRAINING, [campaign]).to_dicts():
        iterations.setdefault(row["iteration"], []).append(row)
    return [
        Training(
            iteration=iteration,
            n=sum(len(row["reward"]) for row in rows),
            simulated_experts=any(row["simulated_experts"] for row in rows),
            **{name: _mean([row[name] for row in rows]) for name in ("success", "cost_usd", "reward")},
        )
        for iteration, rows in iterations.items()
    ]


def _mean(groups: list[list[float]]) -> Mean:
    return Mean(fmean(value for group in groups for value in group), bootstrap_interval(groups))


def components(warehouse: Warehouse, campaign: str) -> dict[str, dict[int, float]]:
    """What each element of the reward added to its mean, by iteration. Together they are the mean reward."""
    found: dict[str, dict[int, float]] = {}
    for row in warehouse.query(COMPONENTS, [campaign]).to_dicts():
        found.setdefault(row["component"], {})[row["iteration"]] = row["mean"]
    return found


def checkpoints(warehouse: Warehouse, campaign: str) -> list[dict[str, Any]]:
    """The policies of a campaign with the ids of what they were made from."""
    return warehouse.query(CHECKPOINTS, _partitions(campaign)).to_dicts()


def batches(warehouse: Warehouse, campaign: str) -> list[dict[str, Any]]:
    """What the campaign's assets hold now, oldest first."""
    return warehouse.query(BATCHES, _partitions(campaign)).to_dicts()


def splits(warehouse: Warehouse, campaign: str) -> list[dict[str, Any]]:
    """How many tasks of the campaign's dataset lie in which split, by domain."""
    return warehouse.query(SPLITS, [campaign]).to_dicts()


def funnel(warehouse: Warehouse, domains: Sequence[str]) -> list[dict[str, Any]]:
    """Per domain how many candidates there were, and how many of them are proven."""
    return warehouse.query(FUNNEL, [list(domains)]).to_dicts()


def _partitions(campaign: str) -> dict[str, str]:
    return {"campaign": campaign, "iterations": f"{campaign}-[0-9]{{4,}}"}
