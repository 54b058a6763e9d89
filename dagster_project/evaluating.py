"""Collecting through the engine into the warehouse, for training and evaluation: every rollout durable at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dagster_project import stored
from dagster_project.campaign import Campaign, iteration_key
from dagster_project.training import served
from envs.environment import Environment
from envs.record import content_id
from envs.task import Task
from trainer.baselines import RULES, RuleEngine, rule_policy
from trainer.collect import Assignment, planned
from trainer.conversation import Tokenizer
from trainer.engine import ServedPolicy
from trainer.evaluate import Summary, summarise
from trainer.jobs import RolloutConfig
from trainer.rollout import Purpose, Rollout
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse


class Collector(Protocol):
    """What rolls a policy out: `trainer.engine.PolicyEngine`, or `trainer.baselines.RuleEngine`."""

    def collect(
        self,
        tasks: Sequence[Task],
        environments: Mapping[str, Environment],
        policy: ServedPolicy,
        config: RolloutConfig,
        *,
        campaign: str,
        iteration: int,
        purpose: Purpose,
        done: Collection[str] = ...,
        on_rollout: Callable[[Rollout], None] = ...,
    ) -> list[Rollout]: ...


@dataclass(frozen=True)
class Evaluated:
    """One policy on held-out tasks: summaries (all, then by domain) and the rows to store."""

    summaries: list[Summary]
    tables: dict[str, list[dict[str, Any]]]


def collect_into(
    warehouse: Warehouse,
    engine: Collector,
    tasks: Sequence[Task],
    policy: ServedPolicy,
    config: RolloutConfig,
    campaign: str,
    iteration: int,
    purpose: Purpose,
    lenders: Collection[str] = (),
) -> list[Rollout]:
    """All rollouts of a collection, sorted by id: those that an interrupted one left, and the missing ones, played now.

    Each rollout is a Parquet part the moment it ends, turns first: a rollout that is there has its turns. `lenders`
    are the ids of the environments whose tools may be distractors.
    """
    who = Assignment(campaign=campaign, iteration=iteration, purpose=purpose, policy_id=policy.policy_id, model="")
    plan = planned(tasks, who, config)
    warehouse.ingest()
    done = set(
        warehouse.query("SELECT id FROM rollouts WHERE campaign = ? AND iteration = ?", [campaign, iteration])["id"]
    )
    done &= set(plan)
    ids = {task.environment_id for task in tasks} | set(lenders if config.toolbox.distractors else ())
    worlds = stored.environments_of(warehouse, ids)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[solved]} solved"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(
            f"{purpose}, {iteration_key(campaign, iteration) if iteration >= 0 else campaign}",
            total=len(plan),
            completed=len(done),
            solved=0,
        )
        solved = 0

        def keep(rollout: Rollout) -> None:
            nonlocal solved
            solved += rollout.solved
            rows, turns = stored.rollout_rows([rollout])
            warehouse.write_part("turns", [dict.fromkeys(TABLES["turns"].columns) | turn for turn in turns], rollout.id)
            warehouse.write_part(
                "rollouts", [dict.fromkeys(TABLES["rollouts"].columns) | row for row in rows], rollout.id
            )
            progress.update(bar, advance=1, solved=solved)

        engine.collect(
            tasks, worlds, policy, config,
            campaign=campaign, iteration=iteration, purpose=purpose, done=done, on_rollout=keep,
        )  # fmt: skip
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
) -> Evaluated:
    """Roll a policy out on the test split of a dataset, greedily unless the campaign says otherwise."""
    return _evaluated(warehouse, engine, campaign, name, iteration, data, served(warehouse, policy_batch))


def evaluate_rules(
    warehouse: Warehouse, tokenizer: Tokenizer, campaign: Campaign, name: str, iteration: int, data: Batch
) -> dict[str, Evaluated]:
    """The campaign's rules on the same tasks under the same settings, by name."""
    return {
        rule: _evaluated(
            warehouse, RuleEngine(RULES[rule], tokenizer), campaign, name, iteration, data, rule_policy(rule)
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
) -> Evaluated:
    tasks = stored.split_of(warehouse, data, "test")[: campaign.evaluation.max_tasks]
    config = campaign.evaluation.rollout_config(campaign.rollouts)
    lenders = stored.environment_ids(warehouse, data)
    rollouts = collect_into(warehouse, engine, tasks, policy, config, name, iteration, "evaluation", lenders)
    summaries = summarise(rollouts, campaign.evaluation.confidence)
    rows, turns = stored.rollout_rows(rollouts)
    evaluations = [
        {
            "id": content_id([name, iteration, policy.policy_id, data.batch_id, summary.scope]),
            "campaign": name,
            "iteration": iteration,
            "policy_id": policy.policy_id,
            "split": "test" if summary.scope == "all" else f"test/{summary.scope}",
            "n": summary.n,
            "solved": summary.solved,
            "success": summary.success,
            "success_low": summary.success_low,
            "success_high": summary.success_high,
            "cost_usd_mean": summary.cost_usd_mean,
            "latency_s_mean": summary.latency_s_mean,
            "turns_mean": summary.turns_mean,
            "simulated_experts": summary.simulated_experts,
            "record": summary.canonical(),
        }
        for summary in summaries
    ]
    return Evaluated(summaries, {"evaluations": evaluations, "rollouts": rows, "turns": turns})
