"""Measuring how hard tasks are: attempts of a reference policy, through the same collection as every evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dagster_project import stored, training
from dagster_project.campaign import Campaign
from dagster_project.evaluating import Collector, collect_into
from dagster_project.home import Home
from dagster_project.record import consume
from dagster_project.resources import Engines
from envs.difficulty import Difficulty
from envs.task import Task
from trainer.difficulty import DifficultyConfig, difficulties
from trainer.engine import ServedPolicy
from warehouse.rows.measures import difficulty_rows
from warehouse.warehouse import Batch, Warehouse

BEFORE = -1
"""The iteration of attempts that are made before the loop begins."""


@dataclass(frozen=True)
class Reference:
    """The policy that tasks are measured by."""

    engine: Collector
    policy: ServedPolicy
    made_by: Batch | None
    """The batch it comes from; None for a model that is no policy of the campaign."""
    checkpoint_rows: list[dict[str, Any]]
    """Names such a model's fingerprint in the warehouse."""


@dataclass(frozen=True)
class Measured:
    """Difficulties, and the rows to store."""

    difficulties: list[Difficulty]
    tables: dict[str, list[dict[str, Any]]]


def reference_policy(
    warehouse: Warehouse, engines: Engines, home: Home, campaign: Campaign, name: str, settings: DifficultyConfig
) -> Reference:
    """The policy that the settings name. Raises NotMaterialised for one of the campaign that is not there yet."""
    if settings.policy in ("base", "warm"):
        batch = consume(warehouse, f"{settings.policy}_policy", name)
        return Reference(engines.policy(campaign, home), training.served(warehouse, batch), batch, [])
    named = campaign.model_copy(update={"policy": settings.policy, "revision": settings.revision})
    engine = engines.policy(named, home)
    policy = ServedPolicy(policy_id=engine.model.fingerprint)
    return Reference(engine, policy, None, [training.base_row(engine.model, name, home)])


def measure(
    warehouse: Warehouse,
    reference: Reference,
    campaign: Campaign,
    name: str,
    settings: DifficultyConfig,
    tasks: Sequence[Task],
) -> Measured:
    """Roll the reference policy out on every task. An interrupted measurement goes on where it was."""
    config = settings.rollout_config(campaign.rollouts)
    engine, policy = reference.engine, reference.policy
    rollouts = collect_into(warehouse, engine, tasks, policy, config, name, BEFORE, "difficulty")
    found = difficulties(rollouts, settings.k)
    rows, turns = stored.rollout_rows(rollouts)
    tables = {"difficulties": difficulty_rows(found, name), "rollouts": rows, "turns": turns}
    return Measured(found, {**tables, "checkpoints": reference.checkpoint_rows})
