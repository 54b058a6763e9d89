"""Jobs: a domain's synthesis, a campaign's preparation, its next iterations; sensors that chain those and clean up."""

from typing import Any

import dagster as dg

from dagster_project.assets.policies import preparation_of
from dagster_project.campaign import iteration_key, load_campaign, parse_iteration_key
from dagster_project.orphans import fail_orphans
from dagster_project.partitions import CAMPAIGNS, ITERATIONS
from dagster_project.record import consume
from dagster_project.resources import Workshop
from warehouse.warehouse import Warehouse

synthesis = dg.define_asset_job(
    "synthesis",
    selection=dg.AssetSelection.groups("synthesis"),
    executor_def=dg.in_process_executor,
    description="From brief to proven tasks: one domain in one process. Several domains run beside each other.",
)
preparation = dg.define_asset_job(
    "preparation",
    selection=dg.AssetSelection.assets("task_dataset", "base_policy", "warm_policy", "baseline"),
    executor_def=dg.in_process_executor,
    description="A campaign before its loop: dataset, policies, and what they achieve. Its domains come first; and "
    "`difficulty` after it, where the campaign measures that.",
)
rl_iteration = dg.define_asset_job(
    "rl_iteration",
    selection=dg.AssetSelection.groups("loop"),
    executor_def=dg.in_process_executor,
    description="Rollouts, checkpoint and evaluation of one iteration of a campaign.",
)
NEXT_ITERATION = "envloom/next_iteration"
"""Run tag of `train`: the iteration that the sensor asks for."""
LAST_ITERATION = "envloom/last_iteration"
"""Run tag: the iteration at which the sensor stops. Without it the sensor asks for no further iteration."""


def finished_iterations(warehouse: Warehouse, campaign: str) -> int:
    """How many iterations of the campaign have a checkpoint and its evaluation, from the first on without a gap."""
    count = 0
    while warehouse.latest_batch("evaluation", iteration_key(campaign, count)) is not None:
        count += 1
    return count


class Train(dg.Config):
    """Which campaign goes on, and how far."""

    campaign: str = CAMPAIGNS.get_first_partition_key() or ""
    iterations: int = 1


@dg.op
def ask_for_iterations(context: dg.OpExecutionContext, config: Train, workshop: Workshop) -> None:
    """Find the campaign's next iteration and what it needs; the sensor `next_iteration` asks for it then."""
    if config.iterations < 1:
        raise dg.Failure(f"iterations is {config.iterations}. Ask for at least 1.", allow_retries=False)
    warehouse = workshop.warehouse()
    for asset in preparation_of(load_campaign(config.campaign)):
        consume(warehouse, asset, config.campaign)
    following = finished_iterations(warehouse, config.campaign)
    last = following + config.iterations - 1
    tags = {NEXT_ITERATION: iteration_key(config.campaign, following), LAST_ITERATION: str(last)}
    context.instance.add_run_tags(context.run_id, tags)
    context.log.info("asked for %s up to iteration %d", tags[NEXT_ITERATION], last)


@dg.job(
    executor_def=dg.in_process_executor,
    description="A campaign's next iterations, each in a run of its own, as the launchpad says: campaign and number. "
    "The sensor `next_iteration` starts them one after the other.",
)
def train() -> None:
    ask_for_iterations()


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[rl_iteration, train],
    request_job=rl_iteration,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Starts nothing unasked: only after a run that is tagged `envloom/last_iteration` and before it.",
)
def next_iteration(context: dg.RunStatusSensorContext) -> dg.SensorResult | dg.SkipReason:
    """After `train`, or an iteration that is not yet the last, ask for the next one with the same configuration."""
    run = context.dagster_run
    last = run.tags.get(LAST_ITERATION)
    asked, done = run.tags.get(NEXT_ITERATION), run.tags.get("dagster/partition")
    config: dict[str, Any] = {}
    if asked is not None:
        campaign, following = parse_iteration_key(asked)
        run_key = f"{campaign}:{following}:{run.run_id}"  # who asks again for what failed gets it again
    elif done is not None:
        campaign, iteration = parse_iteration_key(done)
        following = iteration + 1
        # One key per campaign and iteration: a backfill of an old iteration does not start the next one again.
        run_key = f"{campaign}:{following}"
        config = dict(run.run_config)
    else:
        return dg.SkipReason("the run has no partition")
    if last is None or following > int(last):
        return dg.SkipReason(f"{done} is the last iteration asked for (tag {LAST_ITERATION}: {last})")
    key = iteration_key(campaign, following)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key, run_config=config, partition_key=key, tags={LAST_ITERATION: last})],
        dynamic_partitions_requests=[ITERATIONS.build_add_request([key])],
    )


@dg.sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Runs whose process was killed become failures, and what waits for their pools goes on.",
)
def killed_runs(context: dg.SensorEvaluationContext, workshop: Workshop) -> dg.SkipReason:
    """Fail the runs that their processes have left."""
    found = fail_orphans(context.instance, workshop.home.running)
    return dg.SkipReason(f"now marked as failed: {', '.join(found)}" if found else "every run has its process")
