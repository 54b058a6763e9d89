"""Collecting through the engine into the warehouse, for training and evaluation: every rollout durable at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dagster_project import stored
from dagster_project.campaign import Campaign, iteration_key
from dagster_project.training import served
from envs.record import content_id
from envs.summary import ALL, Summary
from envs.task import Task
from trainer.baselines import RULES, RuleEngine, rule_policy
from trainer.collect import Assignment, Collection, planned
from trainer.conversation import Tokenizer
from trainer.engine import ServedPolicy
from trainer.evaluate import summarise_splits
from trainer.fanout import Hear, Sink
from trainer.progress import watched
from trainer.rollout import Purpose, Rollout
from trainer.settings import RolloutConfig
from warehouse.lineage import Edge
from warehouse.rollout_sink import PartSink
from warehouse.rows.environments import environment_ids, environments_of
from warehouse.rows.tasks import split_of
from warehouse.warehouse import Batch, Warehouse


class Collector(Protocol):
    """What rolls a policy out: `trainer.engine.PolicyEngine`, or `trainer.baselines.RuleEngine`."""

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = ...) -> None: ...


@dataclass(frozen=True)
class Evaluated:
    """One policy on held-out tasks: what was rolled out, summaries, and the rows to store."""

    rollouts: list[Rollout]
    summaries: list[Summary]
    """Per split one over all tasks, then one per domain; `test` first."""
    tables: dict[str, list[dict[str, Any]]]
    edges: list[Edge]
    """From each rollout to the evaluations that it counts in."""

    @classmethod
    def nothing(cls) -> "Evaluated":
        """Nothing was played."""
        return cls([], [], {"evaluations": [], "rollouts": [], "turns": []}, [])


def collect_into(
    warehouse: Warehouse,
    engine: Collector,
    tasks: Sequence[Task],
    policy: ServedPolicy,
    config: RolloutConfig,
    campaign: str,
    iteration: int,
    purpose: Purpose,
    lenders: Iterable[str] = (),
) -> list[Rollout]:
    """All rollouts of a collection, sorted by id: those that an interrupted one left, and the missing ones, played now.

    Each rollout is durable the moment it ends, together with its turns or not at all. `lenders` are the ids of
    the environments whose tools may be distractors.
    """
    who = Assignment(campaign=campaign, iteration=iteration, purpose=purpose, policy_id=policy.policy_id, model="")
    plan = planned(tasks, who, config)
    sink = PartSink(warehouse, campaign, iteration)
    done = sink.kept() & set(plan)
    ids = {task.environment_id for task in tasks} | set(lenders if config.toolbox.distractors else ())
    worlds = environments_of(warehouse, ids)
    what = f"{purpose}, {iteration_key(campaign, iteration) if iteration >= 0 else campaign}"
    with watched(what, len(plan), len(done)) as hear:
        engine.collect(Collection(tasks, worlds, who, config, done), policy, sink, hear)
    warehouse.ingest()
    return stored.rollouts_by_id(warehouse, list(plan))


def evaluate(
    warehouse: Warehouse,
    engine: Collector,
    campaign: Campaign,
    name: str,
    iteration: int,
    data: Batch,
    policy_batch: Batch,
    base: Sequence[Rollout] = (),
) -> Evaluated:
    """Roll a policy out on held-out tasks of a dataset, greedily unless the campaign says otherwise.

    `base` are the base policy's rollouts on the same tasks; without them preference adherence is not measured.
    """
    return _evaluated(warehouse, engine, campaign, name, iteration, data, served(warehouse, policy_batch), base)


def evaluate_rules(
    warehouse: Warehouse,
    tokenizer: Tokenizer,
    campaign: Campaign,
    name: str,
    iteration: int,
    data: Batch,
    base: Sequence[Rollout] = (),
) -> dict[str, Evaluated]:
    """The campaign's rules on the same tasks under the same settings, by name."""
    return {
        rule: _evaluated(
            warehouse, RuleEngine(RULES[rule], tokenizer), campaign, name, iteration, data, rule_policy(rule), base
        )
        for rule in campaign.evaluation.rules
    }


def _evaluated(
    warehouse: Warehouse,
    engine: Collector,
    campaign: Campaign,
    name: str,
    iteration: int,
    data: Batch,
    policy: ServedPolicy,
    base: Sequence[Rollout],
) -> Evaluated:
    settings = campaign.evaluation
    splits = {"test": split_of(warehouse, data, "test")[: settings.max_tasks]}
    splits |= {split: split_of(warehouse, data, split)[:most] for split, most in settings.unseen.items()}
    tasks = [task for part in splits.values() for task in part]
    config = settings.rollout_config(campaign.rollouts)
    lenders = environment_ids(warehouse, data)
    rollouts = collect_into(warehouse, engine, tasks, policy, config, name, iteration, "evaluation", lenders)
    ids = {split: {task.id for task in part} for split, part in splits.items()}
    counted = summarise_splits(rollouts, base, ids, campaign.rewards, settings.confidence)
    rows, turns = stored.rollout_rows(rollouts)
    evaluations: list[dict[str, Any]] = []
    edges: list[Edge] = []
    for summary, part in counted:
        evaluations.append(evaluation_row(summary, name, iteration, policy.policy_id, data.batch_id))
        edges += [Edge("rollout", rollout.id, "evaluation", evaluations[-1]["id"], "judged_in") for rollout in part]
    tables = {"evaluations": evaluations, "rollouts": rows, "turns": turns}
    return Evaluated(rollouts, [summary for summary, _ in counted], tables, edges)


def evaluation_row(summary: Summary, name: str, iteration: int, policy_id: str, data_id: str) -> dict[str, Any]:
    """A row of table `evaluations`. What no rollout tells is null; intervals of means are in the record."""
    judged = summary.n > 0
    return {
        "id": content_id([name, iteration, policy_id, data_id, summary.id]),
        "campaign": name,
        "iteration": iteration,
        "policy_id": policy_id,
        "split": summary.split if summary.scope == ALL else f"{summary.split}/{summary.scope}",
        "n": summary.n,
        "solved": summary.solved,
        "success": summary.success if judged else None,
        "success_low": summary.success_low,
        "success_high": summary.success_high,
        "cost_usd_mean": summary.cost_usd_mean if judged else None,
        "latency_s_mean": summary.latency_s_mean if judged else None,
        "turns_mean": summary.turns_mean if judged else None,
        "simulated_experts": summary.simulated_experts,
        "record": summary.canonical(),
    }
