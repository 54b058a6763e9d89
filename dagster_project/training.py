"""Between an asset and the training process: the job's folder, the process through Dagster Pipes, the rows it makes."""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.home import REPOSITORY, Home
from dagster_project.record import source_version
from serving.models import ResolvedModel
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
