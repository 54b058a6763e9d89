"""Materialising without a daemon: the same assets, one after the other, in this process, into the same history."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from dagster_project.assets.policies import preparation_of
from dagster_project.campaign import Campaign, iteration_key
from dagster_project.definitions import ASSETS
from dagster_project.home import Home
from dagster_project.named_errors import is_named
from dagster_project.orphans import fail_orphans
from dagster_project.partitions import ITERATIONS
from dagster_project.resources import resources
from warehouse.warehouse import Warehouse

_INTERRUPTIONS = {"KeyboardInterrupt", "DagsterExecutionInterruptedError", "Terminated"}
SYNTHESIS = ("brief", "environment", "candidate_tasks", "proven_tasks")
"""A domain's assets, in order."""
# Everything is in the event log that the UI shows; what goes to the console, the commands and `_materialise` say.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One asset of one partition."""

    asset: str
    partition: str

    def __str__(self) -> str:
        return f"{self.asset}[{self.partition}]"


@dataclass(frozen=True)
class Ran:
    """What became of a step: done now in so many seconds, or already there."""

    step: Step
    seconds: float | None


class StepFailed(RuntimeError):
    """A step did not succeed: which, why, and where to read more."""


def preparation_steps(name: str, campaign: Campaign) -> list[Step]:
    """Everything before the loop: the base model first, since fetching it is what can go wrong at once."""
    first, *others = preparation_of(campaign)
    synthesis = (Step(asset, domain) for domain in campaign.domains for asset in SYNTHESIS)
    return [Step(first, name), *synthesis, *(Step(asset, name) for asset in others)]


def iteration_steps(name: str, iteration: int) -> list[Step]:
    """One iteration of the loop."""
    key = iteration_key(name, iteration)
    return [Step(asset, key) for asset in ("rollouts", "checkpoint", "evaluation")]


def run_steps(
    steps: Sequence[Step], home: Home, *, again: bool = False, on_step: Callable[[Step], None] = lambda _: None
) -> list[Ran]:
    """Materialise what is not there yet (or everything, `again`), in order. Raises StepFailed; what was done stays."""
    warehouse = Warehouse(home.warehouse, home.parts)
    given = resources()
    ran = []
    with dg.DagsterInstance.get() as instance:
        fail_orphans(instance, home.running)
        for step in steps:
            on_step(step)
            if not again and warehouse.latest_batch(step.asset, step.partition) is not None:
                ran.append(Ran(step, None))
                continue
            began = perf_counter()
            _materialise(step, instance, given)
            ran.append(Ran(step, perf_counter() - began))
    return ran


def _materialise(step: Step, instance: dg.DagsterInstance, given: dict[str, object]) -> None:
    if step.asset in ("rollouts", "checkpoint", "evaluation"):
        instance.add_dynamic_partitions(ITERATIONS.name or "", [step.partition])
    result = dg.materialize(
        ASSETS,
        selection=[step.asset],
        partition_key=step.partition,
        instance=instance,
        resources=given,
        run_config=QUIET,
        raise_on_error=False,
    )
    if result.success:
        return
    errors = [error for error in map(_error_of, result.all_events) if error is not None]
    if any(error.cls_name in _INTERRUPTIONS for error in errors):
        raise KeyboardInterrupt  # Dagster has ended the run; with `raise_on_error` off it ends nothing else
    if checks := _failed_checks(result):
        raise _failure(step, f"failed checks: {'; '.join(checks)}", result.run_id)
    error = errors[0]
    cause = error.cause or error
    if not is_named(cause.cls_name):
        logger.error("%s", error.to_string())
    raise _failure(step, cause.message.strip(), result.run_id)


def _failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    """Each failed check that blocks what comes after it: its name and the figures it was decided by."""
    failed = [
        check
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.blocking and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    return [
        f"{check.check_name} ({_figures(check.metadata)})" if check.metadata else check.check_name for check in failed
    ]


def _figures(metadata: Mapping[str, dg.MetadataValue]) -> str:
    short = {name: value for name, value in metadata.items() if not isinstance(value, dg.MarkdownMetadataValue)}
    return ", ".join(f"{name}: {value.value}" for name, value in short.items())


def _failure(step: Step, reason: str, run_id: str) -> StepFailed:
    return StepFailed(f"{step} failed: {reason}\nThe whole log: `make dev`, run {run_id}.")


def _error_of(event: dg.DagsterEvent) -> SerializableErrorInfo | None:
    """What ended a step or the run."""
    if event.is_step_failure:
        return event.step_failure_data.error
    return event.job_failure_data.error if event.is_run_failure else None
