"""The policies a campaign begins with: the base model, and the same after a short supervised start."""

import json
from typing import Any

import dagster as dg

from dagster_project import report, stored, training
from dagster_project.asset_tables import table_metadata
from dagster_project.assets.dataset import PER_CAMPAIGN, task_dataset
from dagster_project.campaign import Campaign, load_campaign
from dagster_project.code_versions import code_version
from dagster_project.evaluating import evaluate, evaluate_rules
from dagster_project.giving import given_campaign
from dagster_project.lineage_picture import shown_lineage
from dagster_project.record import consume, record, source_version
from dagster_project.resources import Engines, Workshop
from envs.record import content_id
from serving import models
from trainer import jobs
from warehouse.lineage import Edge
from warehouse.soundness import refuse_quarantined, training_tasks

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
    warehouse, home = workshop.warehouse(), workshop.home
    campaign = load_campaign(context.partition_key)
    data = consume(warehouse, "task_dataset", context.partition_key)
    base = consume(warehouse, "base_policy", context.partition_key)
    tasks, quarantined = training_tasks(warehouse, stored.split_of(warehouse, data, "train"))
    toolbox = campaign.rollouts.toolbox
    worlds = stored.golden_environments(warehouse, data, (task.environment_id for task in tasks), toolbox)
    model = models.resolve_model(campaign.policy, home.models, campaign.revision)
    refuse_quarantined(warehouse, model.fingerprint)
    tasks_path = home.jobs / f"tasks-{content_id([task.id for task in tasks])}.json"
    tasks_path.write_text(json.dumps([task.model_dump(mode="json") for task in tasks]))
    environments_path = home.jobs / f"environments-{data.batch_id}.json"
    environments_path.write_text(json.dumps([world.spec.model_dump(mode="json") for world in worlds.values()]))
    job = jobs.WarmStartJob(
        base_model_name=model.name,
        base_model_path=str(model.path),
        base_model_fingerprint=model.fingerprint,
        seed=campaign.seed,
        tasks_path=str(tasks_path),
        environments_path=str(environments_path),
        artefacts_dir=str(home.artefacts),
        batch_ids=(data.batch_id,),
        code_version=source_version(),
        dialect=campaign.rollouts.dialect,
        toolbox=toolbox,
        config=campaign.warm_start,
    )
    result = training.run_job(context, pipes, job, home)
    update_id, tables = training.checkpoint_tables(result, context.partition_key, None, job, model.fingerprint)
    recorded = record(
        context,
        warehouse,
        tables,
        inputs=[data, base],
        edges=[Edge("task", task.id, "update", update_id, "demonstrated") for task in tasks],
        data_version=result.manifest.adapter_sha256,
        metadata=report.training_run(result.steps, {**training.facts(result), "tasks_quarantined": quarantined}),
        givens=[given_campaign(context.partition_key, campaign)],
    )
    return recorded._replace(metadata={**(recorded.metadata or {}), **shown_lineage(warehouse, result.checkpoint_id)})


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
    warehouse = workshop.warehouse()
    campaign = load_campaign(context.partition_key)
    data = consume(warehouse, "task_dataset", context.partition_key)
    policies = {name: consume(warehouse, f"{name}_policy", context.partition_key) for name in ("base", "warm")}
    engine = engines.policy(campaign, workshop.home)
    about = (campaign, context.partition_key, BASELINE, data)
    base = evaluate(warehouse, engine, *about, policies["base"])
    warm = evaluate(warehouse, engine, *about, policies["warm"], base.rollouts)
    rules = evaluate_rules(warehouse, engine.tokenizer, *about, base.rollouts)
    found = [base, warm, *rules.values()]
    result = record(
        context,
        warehouse,
        stored.merged(evaluated.tables for evaluated in found),
        inputs=[data, *policies.values()],
        edges=[edge for evaluated in found for edge in evaluated.edges],
        givens=[given_campaign(context.partition_key, campaign)],
    )
    shown = report.evaluation(warehouse, context.partition_key, warm.rollouts)
    return result._replace(metadata={**shown, **(result.metadata or {})})
