"""A finished job as rows of the tables `updates` and `checkpoints`."""

from pathlib import Path
from typing import Any

from envs.record import content_id
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob


def checkpoint_tables(
    result: TrainingResult,
    campaign: str,
    iteration: int | None,
    job: WarmStartJob | UpdateJob,
    parent_id: str,
    *,
    rollouts_batch_id: str | None = None,
    fates: dict[str, int] | None = None,
) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """(update id, rows of `updates` and `checkpoints`) of a finished job."""
    update_id = update_identity(result.checkpoint_id, campaign, iteration)
    config = job.config.model_dump(mode="json")
    last = result.steps[-1] if result.steps else {}
    update = {
        "id": update_id,
        "campaign": campaign,
        "iteration": iteration,
        "kind": "grpo" if job.kind == "update" else job.kind,
        "parent_checkpoint": parent_id,
        "checkpoint_id": result.checkpoint_id,
        "loss": last.get("loss"),
        "grad_norm": last.get("grad_norm"),
        "n_tokens": result.trained_tokens,
        "n_rollouts": result.n_rows,
        "counts": fates or {},
        "statistics": list(result.steps),
        "seconds": result.seconds,
        "config": config,
        "seed": job.seed,
    }
    checkpoint = {
        "id": result.checkpoint_id,
        "parent_id": parent_id,
        "base_model": job.base_model_fingerprint,
        "kind": job.kind,
        "campaign": campaign,
        "iteration": iteration,
        "rollouts_batch_id": rollouts_batch_id,
        "config": config,
        "seed": job.seed,
        "code_version": job.code_version,
        "path": stored_path(result),
        "adapter_sha256": result.manifest.adapter_sha256,
        "record": result.manifest.canonical(),
    }
    return update_id, {"updates": [update], "checkpoints": [checkpoint]}


def update_identity(checkpoint_id: str, campaign: str, iteration: int | None) -> str:
    """The id of the update that made a checkpoint; the iteration is None for a warm start."""
    return content_id(["update", checkpoint_id, campaign, iteration])


def stored_path(result: TrainingResult) -> str:
    """The checkpoint's folder from the home on."""
    return f"artefacts/{Path(result.checkpoint_path).name}"
