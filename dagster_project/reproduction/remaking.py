"""Making assets again from recorded inputs: `python -m dagster_project.reproduction.remaking PLAN.json`.

It runs in a process of its own, in which the scratch project is the only one there is, and says what it found of each
batch as a line of JSON. Runs and code go by the names they had, since these are part of ids: equal content then has
equal ids, and different content is different.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.code_versions import MADE_BY
from dagster_project.definitions import ASSETS
from dagster_project.partitions import ITERATIONS
from dagster_project.reproduction.containment import BundleBroken
from dagster_project.reproduction.engines import RecordedEngines, SharedEngines
from dagster_project.reproduction.naming import ITERATED
from dagster_project.reproduction.outcome import Finding, Status
from dagster_project.reproduction.plan import Plan
from dagster_project.reproduction.scratch import (
    NotHere,
    give_to,
    inputs_there,
    take_over,
    undone_unless_kept,
)
from dagster_project.resources import Synthesist, Workshop
from dagster_project.runner import QUIET
from dagster_project.runtime import SOURCE_VERSION
from warehouse.compare import Comparison, Leeway, compare
from warehouse.copying import inputs_of
from warehouse.warehouse import Batch

SAMPLED = ("rollouts", "difficulty", "baseline", "evaluation")
NEAR_NATS = 1e-4
"""By how much an engine's logprobs may differ between two runs: they depend on what it computes together."""
IN_TURN = ("campaign", "iteration", "kind")
REPLAYED: Mapping[str, Leeway] = {
    "rewards": Leeway(columns=("update_id",), key=("rollout_id",)),
    "updates": Leeway(columns=("id", "checkpoint_id", "seconds"), keys=("seconds", "peak_memory_mib"), key=IN_TURN),
    "checkpoints": Leeway(columns=("path",), key=IN_TURN),
}
REGENERATED: Mapping[str, Leeway] = {
    **REPLAYED,
    "updates": replace(REPLAYED["updates"], near={"statistics": NEAR_NATS}),
    "rollouts": Leeway(columns=("latency_s",)),
    "turns": Leeway(columns=("latency_s",), keys=("latency_s",), near={"logprobs": NEAR_NATS}),
    "evaluations": Leeway(
        columns=("id", "latency_s_mean"),
        keys=("latency_s_mean", "latency_s_interval"),
        key=("campaign", "iteration", "policy_id", "split"),
    ),
}
"""What two runs never share: places, the clock and, with an engine, the last digits of its logprobs. What has an id
only because of what it was made of is told by that."""
UNREACHED = frozenset(
    {
        *("CampaignError", "ModelNotFound", "HashMismatch", "VllmMissing", "ServerDied", "KeyMissing", "HeaderMissing"),
        *("EndpointError", "EndpointUnreachable", "EndpointBusy"),
    }
)
"""Errors that say what this machine or this code does not have, and nothing of the asset."""


class AssetFailed(RuntimeError):
    """An asset that was made then is not made now: the error's class, and what it says."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(f"it fails now: {kind}: {message}")
        self.kind = kind.rpartition(".")[2]


def remake(plan: Plan) -> Iterator[Finding]:
    """What is found of each batch. What comes out different gives way to what was recorded, so that the next asset is
    made from its own inputs again and differs for reasons of its own."""
    definitions = _definitions(plan)
    scratch = plan.scratch
    gone: set[str] = set()  # batches of which not even what was stored is here
    for identity in plan.batches:
        batch = scratch.source.batch(identity)
        try:
            if missing := gone & set(inputs_of(scratch.source, identity)):
                what = scratch.source.batch(min(missing))
                raise NotHere(f"its input {what.asset}[{what.partition}] is not here")
            finding = Finding.of(batch, Status.TAKEN, "as stored")
            if identity in plan.remade:
                finding = _one(plan, definitions, batch)
            there = scratch.warehouse.latest_batch(batch.asset, batch.partition)
            if there is None or there.batch_id != identity:
                take_over(scratch, batch)
        except (NotHere, BundleBroken) as error:
            gone.add(identity)
            finding = Finding.of(batch, Status.NOT_HERE, str(error))
        yield finding


def _one(plan: Plan, definitions: dg.Definitions, batch: Batch) -> Finding:
    """One asset made again and compared."""
    scratch = plan.scratch
    try:
        give_to(scratch, batch, plan.inputs)
        with undone_unless_kept(scratch) as kept:
            made = _materialise(plan, definitions, batch)
            finding = _compared(plan, batch, made)
            kept.append(finding.status is Status.IDENTICAL and made.batch_id == batch.batch_id)
            return finding
    except AssetFailed as error:
        return Finding.of(batch, Status.NOT_HERE if error.kind in UNREACHED else Status.DIFFERENT, str(error))


def _definitions(plan: Plan) -> dg.Definitions:
    """One job per asset."""
    there = plan.scratch.recorded
    recorded = RecordedEngines(recorded=str(there.root), recorded_lake=there.lake_setting)
    return dg.Definitions(
        assets=ASSETS,
        jobs=[dg.define_asset_job(f"{name}_again", selection=[name]) for name in MADE_BY],
        resources={
            "workshop": Workshop(),
            "synthesist": Synthesist(mode="recorded"),
            "engines": recorded if plan.mode == "replay" else SharedEngines(shared=str(plan.engines)),
            "pipes": dg.PipesSubprocessClient(),
        },
    )


def _materialise(plan: Plan, definitions: dg.Definitions, batch: Batch) -> Batch:
    """Run the asset under the run id and code version of then. Raises AssetFailed."""
    os.environ[SOURCE_VERSION] = batch.code_version
    job = definitions.resolve_job_def(f"{batch.asset}_again")
    with dg.DagsterInstance.ephemeral() as instance:
        if batch.asset in ITERATED and batch.partition:
            instance.add_dynamic_partitions(ITERATIONS.name or "", [batch.partition])
        ran = job.execute_in_process(
            QUIET, instance, partition_key=batch.partition, run_id=batch.run_id, raise_on_error=False
        )
    for event in ran.all_events:
        if event.is_step_failure and (error := event.step_failure_data.error) is not None:
            raise AssetFailed(*(error.cause or error).message.strip().split(": ", 1))
    made = plan.scratch.warehouse.latest_batch(batch.asset, batch.partition)
    if made is None:
        raise AssetFailed("NothingStored", "it ran and stored nothing")
    return made


def _compared(plan: Plan, batch: Batch, made: Batch) -> Finding:
    scratch = plan.scratch
    if wrong := [(then, now) for then, now in inputs_there(scratch, batch) if not now or now.batch_id != then.batch_id]:
        told = f"it would not read the same: {wrong[0][0].asset}[{wrong[0][0].partition}] of then is not the newest"
        return Finding.of(batch, Status.DIFFERENT, told)
    leeway = REGENERATED if plan.mode == "regenerate" else REPLAYED
    found = compare(scratch.source.read_whole(batch.batch_id), scratch.warehouse.read_whole(made.batch_id), leeway)
    if found.difference:
        return Finding.of(batch, Status.DIFFERENT, difference=found.difference)
    if made.data_version != batch.data_version and not _measured(plan, batch):
        told = f"data version: recorded {batch.data_version}, now {made.data_version}"
        return Finding.of(batch, Status.DIFFERENT, told)
    return Finding.of(batch, Status.IDENTICAL, _told(plan, batch, made, found))


def _measured(plan: Plan, batch: Batch) -> bool:
    """Whether the asset's ids hold times that were measured: those of evaluations do."""
    return plan.mode == "regenerate" and batch.asset in ("baseline", "evaluation")


def _told(plan: Plan, batch: Batch, made: Batch, found: Comparison) -> str:
    rows = f"{made.n_rows} rows"
    if batch.asset not in SAMPLED:
        return f"{rows}, batch {made.batch_id}"
    if plan.mode == "replay":
        return f"{rows}; played again with the recorded tokens"
    return f"{rows}; sampled again: tokens, verdicts and costs equal, logprobs within {found.gap:.1e}"


def main(path: Path) -> None:
    """One line of JSON per batch on stdout; what the assets say goes to stderr."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for finding in remake(Plan.read(path)):
        told: dict[str, Any] = finding.as_json()
        print(json.dumps(told), file=lines, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
