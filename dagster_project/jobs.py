"""Jobs: a domain's synthesis, one iteration of a campaign; and the sensor that asks for the next iteration."""

import dagster as dg

from dagster_project.campaign import iteration_key, parse_iteration_key
from dagster_project.partitions import ITERATIONS

synthesis = dg.define_asset_job(
    "synthesis",
    selection=dg.AssetSelection.groups("synthesis"),
    executor_def=dg.in_process_executor,
    description="From brief to proven tasks, for one domain.",
)
rl_iteration = dg.define_asset_job(
    "rl_iteration",
    selection=dg.AssetSelection.groups("loop"),
    executor_def=dg.in_process_executor,
    description="Rollouts, checkpoint and evaluation of one iteration of a campaign.",
)
LAST_ITERATION = "envloom/last_iteration"
"""Run tag: the iteration at which the sensor stops. Without it the sensor asks for no further iteration."""


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[rl_iteration],
    request_job=rl_iteration,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def next_iteration(context: dg.RunStatusSensorContext) -> dg.SensorResult | dg.SkipReason:
    """After an iteration of a run tagged `envloom/last_iteration`, ask for the next one with the same configuration."""
    run = context.dagster_run
    key = run.tags.get("dagster/partition")
    if key is None:
        return dg.SkipReason("the run has no partition")
    campaign, iteration = parse_iteration_key(key)
    last = run.tags.get(LAST_ITERATION)
    if last is None or iteration >= int(last):
        return dg.SkipReason(f"{key} is the last iteration asked for (tag {LAST_ITERATION}: {last})")
    following = iteration_key(campaign, iteration + 1)
    request = dg.RunRequest(
        # One key per campaign and iteration: a backfill of an old iteration does not start the next one again.
        run_key=f"{campaign}:{iteration + 1}",
        partition_key=following,
        run_config=run.run_config,
        tags={LAST_ITERATION: last},
    )
    return dg.SensorResult(
        run_requests=[request], dynamic_partitions_requests=[ITERATIONS.build_add_request([following])]
    )
