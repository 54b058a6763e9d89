"""The end of a training run: its adapter sealed as a checkpoint, and the result that the caller reads."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from peft import PeftModel
from pydantic import JsonValue

from trainer.checkpoint import CheckpointManifest, library_versions, seal_checkpoint
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob
from trainer.policy import adapter_writer
from trainer.rows import TrainingRow, rows_sha256
from trainer.stepping import peak_memory_mib


def seal_result(
    job: WarmStartJob | UpdateJob,
    model: PeftModel,
    rows: Sequence[TrainingRow],
    steps: Sequence[dict[str, JsonValue]],
    began: float,
) -> TrainingResult:
    """Write what `model` has learnt from `rows` in `steps`; `began` is the `perf_counter` of the run's start."""
    folder, manifest = seal_checkpoint(
        Path(job.artefacts_dir),
        adapter_writer(model, job.base_model_name),
        lambda adapter_sha256: CheckpointManifest(
            parent=job.parent_checkpoint_id,
            base_model=job.base_model_fingerprint,
            kind=job.kind,
            batch_ids=job.batch_ids,
            rows_sha256=rows_sha256(rows),
            config=job.config.model_dump(mode="json"),
            seed=job.seed,
            code_version=job.code_version,
            adapter_sha256=adapter_sha256,
            versions=library_versions(),
        ),
    )
    return TrainingResult(
        kind=job.kind,
        checkpoint_id=manifest.id,
        checkpoint_path=str(folder),
        manifest=manifest,
        steps=tuple(steps),
        n_rows=len(rows),
        trained_tokens=sum(sum(row.trained) for row in rows),
        seconds=round(perf_counter() - began, 3),
        peak_memory_mib=peak_memory_mib(),
    )
