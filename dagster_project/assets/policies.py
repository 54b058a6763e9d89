"""The policies a campaign begins with: the base model, and the same after a short supervised start."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_project import report, training
from dagster_project.asset_tables import table_metadata
from dagster_project.assets.dataset import PER_CAMPAIGN, task_dataset
from dagster_project.campaign import Campaign, load_campaign
from dagster_project.code_versions import code_version
from dagster_project.evaluating import evaluate, evaluate_rules
from dagster_project.giving import given_campaign
from dagster_project.home import Home
from dagster_project.lineage_picture import shown_lineage
from dagster_project.record import consume, record
from dagster_project.resources import Engines, Workshop
from envs.task import Task
from serving import models
from trainer.jobs import TrainingResult, WarmStartJob
from warehouse.lineage import Edge
from warehouse.rows.environments import golden_environments
from warehouse.rows.merge import merged
from warehouse.rows.tasks import split_of
from warehouse.soundness import refuse_quarantined, training_tasks
from warehouse.warehouse import Batch, Warehouse

BASELINE = -1
"""The iteration under which policies are evaluated before the loop begins."""


def preparation_of(campaign: Campaign) -> tuple[str, ...]:
    """What a campaign's loop stands on, in an order that can be made."""
    measured = ("difficulty",) if campaign.difficulty else ()
    return "base_policy", "task_dataset", "warm_policy", *measured, "baseline"


@dg.asset(
    **PER_CAMPAIGN,
    group_name="policy",
    kinds={"huggingface"},
    code_version=code_version("base_policy"),
    metadata=table_metadata("base_policy"),
)
def base_policy(context: dg.AssetExecutionContext, workshop: Workshop) -> dg.MaterializeResult[Any]:
    """The model the campaign trains: weights on this machine, with a fingerprint."""
    campaign = load_campaign(context.partition_key)
    model = models.resolve_model(campaign.policy, workshop.home.models, campaign.revision)
    row = training.base_row(model, context.partition_key, workshop.home)
    return record(
        context,
        workshop.warehouse(),
        {"checkpoints": [row]},
        metadata=report.model(model, row["path"]),
        givens=[given_campaign(context.partition_key, campaign)],
    )


@dg.asset(
    **PER_CAMPAIGN,
    group_name="policy",
    kinds={"pytorch"},
    deps=[task_dataset, base_policy],
    pool="trainer",
    code_version=code_version("warm_policy"),
    metadata=table_metadata("warm_policy"),
)
def warm_policy(
    context: dg.AssetExecutionContext, workshop: Workshop, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult[Any]:
    """The base policy after supervised training on golden trajectories of the train split, as an adapter."""
    warehouse, home, name = workshop.warehouse(), workshop.home, context.partition_key
    campaign = load_campaign(name)
    used = [consume(warehouse, asset, name) for asset in ("task_dataset", "base_policy")]
    tasks, quarantined = training_tasks(warehouse, split_of(warehouse, used[0], "train"))
    job = _warm_start(warehouse, home, campaign, used[0], tasks)
    result = training.run_job(context, pipes, job, home)
    update_id, tables = training.checkpoint_tables(result, name, None, job, job.base_model_fingerprint)
    edges = [Edge("task", task.id, "update", update_id, "demonstrated") for task in tasks]
    figures = {"tasks_quarantined": quarantined}
    return record_checkpoint(context, warehouse, (name, campaign), result, tables, used, edges, figures)


def record_checkpoint(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    named: tuple[str, Campaign],
    result: TrainingResult,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    inputs: Sequence[Batch],
    edges: Sequence[Edge],
    figures: Mapping[str, int],
) -> dg.MaterializeResult[Any]:
    """`record` what a finished training job made, with its statistics and a picture of the checkpoint's lineage."""
    recorded = record(
        context,
        warehouse,
        tables,
        inputs=inputs,
        edges=edges,
        data_version=result.manifest.adapter_sha256,
        metadata=report.training_run(result.steps, {**training.facts(result), **figures}),
        givens=[given_campaign(*named)],
    )
    return recorded._replace(metadata={**(recorded.metadata or {}), **shown_lineage(warehouse, result.checkpoint_id)})


def _warm_start(
    warehouse: Warehouse, home: Home, campaign: Campaign, data: Batch, tasks: Sequence[Task]
) -> WarmStartJob:
    """The job on golden trajectories of these tasks. Raises Quarantined for a base model under quarantine."""
    toolbox = campaign.rollouts.toolbox
    worlds = golden_environments(warehouse, data, (task.environment_id for task in tasks), toolbox)
    model = models.resolve_model(campaign.policy, home.models, campaign.revision)
    refuse_quarantined(warehouse, model.fingerprint)
    return training.warm_start_job(campaign, model, home, data, tasks, [world.spec for world in worlds.values()])


@dg.asset(
    **PER_CAMPAIGN,
    group_name="policy",
    kinds={"vllm", "duckdb"},
    deps=[task_dataset, base_policy, warm_policy],
    pool="engine",
    code_version=code_version("baseline"),
    metadata=table_metadata("baseline"),
)
def baseline(context: dg.AssetExecutionContext, workshop: Workshop, engines: Engines) -> dg.MaterializeResult[Any]:
    """Held-out success and cost of the base and the warm policy, and of rules: what the loop has to beat."""
    warehouse, name = workshop.warehouse(), context.partition_key
    campaign = load_campaign(name)
    data, *policies = (consume(warehouse, asset, name) for asset in ("task_dataset", "base_policy", "warm_policy"))
    engine = engines.policy(campaign, workshop.home)
    about = (campaign, name, BASELINE, data)
    base = evaluate(warehouse, engine, *about, policies[0])
    warm = evaluate(warehouse, engine, *about, policies[1], base.rollouts)
    rules = evaluate_rules(warehouse, engine.tokenizer, *about, base.rollouts)
    found = [base, warm, *rules.values()]
    tables = merged(evaluated.tables for evaluated in found)
    edges = [edge for evaluated in found for edge in evaluated.edges]
    givens = [given_campaign(name, campaign)]
    result = record(context, warehouse, tables, inputs=[data, *policies], edges=edges, givens=givens)
    shown = report.evaluation(warehouse, name, warm.rollouts)
    return result._replace(metadata={**shown, **(result.metadata or {})})
