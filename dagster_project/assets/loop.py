"""The loop, one partition per iteration of a campaign: rollouts → checkpoint → evaluation.

The previous checkpoint is resolved explicitly and is no dependency in Dagster's graph: a self-dependency of a dynamic
partition is refused, and a cycle hidden in a multi-asset breaks backfills.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_project import report, stored, training
from dagster_project.asset_tables import table_metadata
from dagster_project.assets.dataset import task_dataset
from dagster_project.assets.difficulty import difficulty
from dagster_project.assets.policies import baseline, record_checkpoint, warm_policy
from dagster_project.campaign import Campaign, iteration_key, load_campaign, parse_iteration_key
from dagster_project.code_versions import code_version
from dagster_project.evaluating import Evaluated, collect_into, evaluate
from dagster_project.giving import given_campaign
from dagster_project.partitions import ITERATIONS
from dagster_project.record import consume, record
from dagster_project.resources import Engines, Workshop
from dagster_project.transcripts import write_report
from envs.task import Task
from trainer.difficulty import sampling_weights
from trainer.engine import PolicyEngine, ServedPolicy
from trainer.redraw import roll_out_until_signal
from trainer.rollout import Rollout
from warehouse.rows.measures import read_difficulties
from warehouse.rows.tasks import split_of
from warehouse.soundness import counted, refuse_quarantined, sound_rollouts, training_tasks
from warehouse.warehouse import Batch, Warehouse

LOOP: dict[str, Any] = {"group_name": "loop", "partitions_def": ITERATIONS, "owners": ["team:training"]}


def _per_campaign(asset: dg.AssetsDefinition) -> dg.AssetDep:
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


def parent_batch(warehouse: Warehouse, campaign: str, iteration: int) -> Batch:
    """The policy an iteration starts from: the previous checkpoint, or the warm policy.

    Raises NotMaterialised, and Quarantined.
    """
    asset, key = ("checkpoint", iteration_key(campaign, iteration - 1)) if iteration else ("warm_policy", campaign)
    parent = consume(warehouse, asset, key)
    refuse_quarantined(warehouse, training.served(warehouse, parent).policy_id)
    return parent


@dg.asset(
    **LOOP,
    kinds={"vllm", "duckdb"},
    deps=[_per_campaign(task_dataset), _per_campaign(warm_policy), _per_campaign(difficulty)],
    pool="engine",
    code_version=code_version("rollouts"),
    metadata=table_metadata("rollouts"),
)
def rollouts(context: dg.AssetExecutionContext, workshop: Workshop, engines: Engines) -> dg.MaterializeResult[Any]:
    """Attempts of the current policy at training tasks, in groups, after the canary found the right policy served."""
    name, iteration = parse_iteration_key(context.partition_key)
    warehouse, campaign = workshop.warehouse(), load_campaign(name)
    data, parent = consume(warehouse, "task_dataset", name), parent_batch(warehouse, name, iteration)
    measured = [consume(warehouse, "difficulty", name)] if campaign.difficulty else []
    engine, policy = engines.policy(campaign, workshop.home), training.served(warehouse, parent)
    canary = engine.check(policy)
    tasks, quarantined = training_tasks(warehouse, split_of(warehouse, data, "train"))
    weights = _weights(warehouse, measured, tasks)
    roll_out = _collecting(warehouse, engine, policy, campaign, context.partition_key, tasks)
    drawn, collected = roll_out_until_signal(tasks, campaign, iteration, weights, roll_out, context.log)
    figures = {"tasks_drawn": len(drawn), "tasks_quarantined": quarantined}
    facts = {"policy": policy.policy_id, "canary": canary.model_dump(mode="json"), **figures}
    shown = report.rollouts(collected, facts)
    used, givens = [data, parent, *measured], [given_campaign(name, campaign)]
    return record(context, warehouse, _rollout_tables(collected), inputs=used, metadata=shown, givens=givens)


def _weights(warehouse: Warehouse, measured: Sequence[Batch], tasks: Sequence[Task]) -> Mapping[str, float]:
    """How often each task is drawn, by what batches of `difficulty` measured."""
    difficulties = [one for batch in measured for one in read_difficulties(warehouse, batch)]
    return sampling_weights(difficulties, [task.id for task in tasks])


def _collecting(
    warehouse: Warehouse,
    engine: PolicyEngine,
    policy: ServedPolicy,
    campaign: Campaign,
    iteration: str,
    tasks: Sequence[Task],
) -> Callable[[list[Task]], list[Rollout]]:
    """Collects training rollouts on some of the tasks. Held-out domains lend no distractors."""
    lenders = {task.environment_id for task in tasks}
    key = parse_iteration_key(iteration)
    return lambda drawn: collect_into(warehouse, engine, drawn, policy, campaign.rollouts, *key, "training", lenders)


def _rollout_tables(rollouts: Sequence[Rollout]) -> dict[str, list[dict[str, Any]]]:
    rows, turns = stored.rollout_rows(rollouts)
    return {"rollouts": rows, "turns": turns}


@dg.asset(
    **LOOP,
    kinds={"pytorch"},
    deps=[rollouts, _per_campaign(task_dataset)],
    pool="trainer",
    code_version=code_version("checkpoint"),
    metadata=table_metadata("checkpoint"),
)
def checkpoint(
    context: dg.AssetExecutionContext, workshop: Workshop, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult[Any]:
    """The policy after one update: rewards, group advantages, a clipped step, an adapter with its manifest."""
    name, iteration = parse_iteration_key(context.partition_key)
    warehouse, home, campaign = workshop.warehouse(), workshop.home, load_campaign(name)
    used = consume(warehouse, "rollouts", context.partition_key)
    parent, data = parent_batch(warehouse, name, iteration), consume(warehouse, "task_dataset", name)
    policy = training.served(warehouse, parent)
    collected, left_out = sound_rollouts(warehouse, stored.read_rollouts(warehouse, used))
    scored = training.score(collected, campaign, home.jobs / f"rows-{used.batch_id}")
    job = training.update_job(campaign, home, policy, scored.rows_path, used)
    result = training.run_job(context, pipes, job, home)
    fates = scored.counts | counted(left_out)
    update_id, tables = training.checkpoint_tables(
        result, name, iteration, job, policy.policy_id, rollouts_batch_id=used.batch_id, fates=fates
    )
    tables["rewards"] = [{**row, "update_id": update_id} for row in scored.reward_rows]
    return record_checkpoint(context, warehouse, (name, campaign), result, tables, [used, parent, data], [], fates)


@dg.asset(
    **LOOP,
    kinds={"vllm", "duckdb"},
    deps=[checkpoint, _per_campaign(task_dataset), _per_campaign(baseline)],
    pool="engine",
    code_version=code_version("evaluation"),
    metadata=table_metadata("evaluation"),
)
def evaluation(context: dg.AssetExecutionContext, workshop: Workshop, engines: Engines) -> dg.MaterializeResult[Any]:
    """How the checkpoint does on held-out tasks, beside the policies before it; and the campaign as one page.

    Nothing is played, and an empty batch says so, where `evaluation.every` leaves the iteration out.
    """
    warehouse = workshop.warehouse()
    name, iteration = parse_iteration_key(context.partition_key)
    campaign = load_campaign(name)
    data, begun = (consume(warehouse, asset, name) for asset in ("task_dataset", "baseline"))
    policy = consume(warehouse, "checkpoint", context.partition_key)
    engine = engines.policy(campaign, workshop.home)
    base = [each for each in stored.read_rollouts(warehouse, begun) if each.policy_id == engine.model.fingerprint]
    due = campaign.evaluation.due(iteration)
    found = evaluate(warehouse, engine, campaign, name, iteration, data, policy, base) if due else Evaluated.nothing()
    given = given_campaign(name, campaign)
    result = record(context, warehouse, found.tables, inputs=[data, policy, begun], edges=found.edges, givens=[given])
    shown = report.evaluation(warehouse, name, found.rollouts)
    page = dg.MetadataValue.path(workshop.home.relative(write_report(workshop.home, name)))
    return result._replace(metadata={"report": page, **shown, **(result.metadata or {})})
