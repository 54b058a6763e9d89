"""Between an asset and the training process: the job's folder, the process through Dagster Pipes, the rows it makes."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.campaign import Campaign
from dagster_project.home import REPOSITORY, Home
from dagster_project.runtime import source_version
from envs.record import content_id
from envs.spec import EnvironmentSpec
from envs.task import Task
from serving.models import ResolvedModel, resolve_model
from trainer.engine import ServedPolicy
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob
from trainer.process import RESULT, ending_with_us
from trainer.scoring import NothingToTrainOn, Scored, carries_signal, judge, score
from trainer.update_rows import checkpoint_tables, stored_path, update_identity
from warehouse.warehouse import Batch, Warehouse

__all__ = [
    "NoAdapter",
    "NothingToTrainOn",
    "Scored",
    "base_row",
    "carries_signal",
    "checkpoint_tables",
    "facts",
    "judge",
    "run_job",
    "score",
    "served",
    "stored_path",
    "update_identity",
    "update_job",
    "warm_start_job",
]


class NoAdapter(RuntimeError):
    """A trained checkpoint whose row names no adapter: which, and how to make it again."""


def base_row(model: ResolvedModel, campaign: str, home: Home) -> dict[str, Any]:
    """The base model as the root of all checkpoints, named by its fingerprint."""
    return {
        "id": model.fingerprint,
        "base_model": model.fingerprint,
        "kind": "base",
        "campaign": campaign,
        "path": home.relative(model.path),
        "config": {},
        "code_version": source_version(),
        "record": json.dumps({"name": model.name, "fingerprint": model.fingerprint}),
    }


def warm_start_job(
    campaign: Campaign,
    model: ResolvedModel,
    home: Home,
    data: Batch,
    tasks: Sequence[Task],
    specs: Sequence[EnvironmentSpec],
) -> WarmStartJob:
    """The warm start on these tasks; they and the specifications are written into the home for the process to read."""
    tasks_path = home.jobs / f"tasks-{content_id([task.id for task in tasks])}.json"
    tasks_path.write_text(json.dumps([task.model_dump(mode="json") for task in tasks]))
    environments_path = home.jobs / f"environments-{data.batch_id}.json"
    environments_path.write_text(json.dumps([spec.model_dump(mode="json") for spec in specs]))
    return WarmStartJob(
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
        toolbox=campaign.rollouts.toolbox,
        config=campaign.warm_start,
    )


def update_job(campaign: Campaign, home: Home, parent: ServedPolicy, rows_path: Path, rollouts: Batch) -> UpdateJob:
    """One update of `parent` on the training rows of a batch of rollouts. Raises ServingError as `resolve_model`."""
    model = resolve_model(campaign.policy, home.models, campaign.revision)
    return UpdateJob(
        base_model_name=model.name,
        base_model_path=str(model.path),
        base_model_fingerprint=model.fingerprint,
        parent_checkpoint_id=parent.policy_id,
        parent_adapter_path=parent.adapter_path,
        seed=campaign.seed,
        rows_path=str(rows_path),
        artefacts_dir=str(home.artefacts),
        batch_ids=(rollouts.batch_id,),
        code_version=source_version(),
        config=campaign.update,
    )


def run_job(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, job: WarmStartJob | UpdateJob, home: Home
) -> TrainingResult:
    """Run the job in a process of its own, so that its memory is returned. A finished job is not run again."""
    folder = home.jobs / f"{job.kind}-{job.identity[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / RESULT
    if not result.exists():
        (folder / "job.json").write_bytes(job.canonical())
        command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
        pipes.run(command=command, context=context, cwd=str(REPOSITORY), env=ending_with_us())
    finished = TrainingResult.model_validate_json(result.read_bytes())
    return finished.model_copy(update={"checkpoint_path": str(home.artefacts / finished.checkpoint_id)})


def served(warehouse: Warehouse, batch: Batch) -> ServedPolicy:
    """The policy that a batch of `base_policy`, `warm_policy` or `checkpoint` holds. Raises `NoAdapter`."""
    row = warehouse.read_batch(batch.batch_id, "checkpoints").to_dicts()[0]
    if row["kind"] == "base":
        return ServedPolicy(policy_id=row["id"], adapter_path=None)
    if row["path"] is None:
        raise NoAdapter(
            f"checkpoint {row['id']}, {batch.asset}[{batch.partition}]: the warehouse names no folder of its adapter. "
            f"Materialize {batch.asset}[{batch.partition}] again."
        )
    adapter = Home.here().artefacts / Path(row["path"]).name  # older rows name the folder where the home was then
    return ServedPolicy(policy_id=row["id"], adapter_path=str(adapter))


def facts(result: TrainingResult) -> dict[str, Any]:
    """The figures of a finished job that stand at the top of an asset's page."""
    return {
        "checkpoint": result.checkpoint_id,
        "path": dg.MetadataValue.path(stored_path(result)),
        "adapter_sha256": result.manifest.adapter_sha256,
        "rows": result.n_rows,
        "trained_tokens": result.trained_tokens,
        "seconds": result.seconds,
        "peak_memory_mib": result.peak_memory_mib,
        "manifest": dg.MetadataValue.json(result.manifest.model_dump(mode="json")),
    }
