"""The end of a training run: what it trained sealed as a checkpoint, and the result that the caller reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pydantic import JsonValue

from trainer.checkpoint import (
    MOMENTS,
    CheckpointManifest,
    companions,
    file_sha256,
    library_versions,
    seal_checkpoint,
    weights_file,
)
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob
from trainer.rows import TrainingRow, rows_sha256
from trainer.settings import uses_engine_logprobs
from trainer.stepping import peak_memory_mib


@dataclass(frozen=True)
class Trained:
    """What a run leaves in memory: something has learnt from `rows` in `steps`."""

    writers: Sequence[Callable[[Path], None]]
    """Each writes a part of what has learnt into a folder."""
    rows: Sequence[TrainingRow]
    steps: Sequence[dict[str, JsonValue]]
    began: float
    """`perf_counter` of the run's start."""

    def write(self, folder: Path) -> None:
        """Write all of it."""
        for writer in self.writers:
            writer(folder)


def seal_result(job: WarmStartJob | UpdateJob, trained: Trained) -> TrainingResult:
    """Write the checkpoint. One process of several does."""
    folder, manifest = seal_checkpoint(
        Path(job.artefacts_dir),
        trained.write,
        lambda written: CheckpointManifest(
            parent=job.parent_checkpoint_id,
            base_model=job.base_model_fingerprint,
            kind=job.kind,
            batch_ids=job.batch_ids,
            rows_sha256=rows_sha256(trained.rows, behaviour=uses_engine_logprobs(job.config)),
            config=job.config.canonical_fields(),
            seed=job.seed,
            code_version=job.code_version,
            adapter_sha256=file_sha256(written / weights_file(written)),
            weights="whole" if job.config.method == "full" else "adapter",
            moments_sha256=file_sha256(written / MOMENTS) if (written / MOMENTS).is_file() else None,
            files=companions(written),
            versions=library_versions(),
        ),
    )
    return TrainingResult(
        kind=job.kind,
        checkpoint_id=manifest.id,
        checkpoint_path=str(folder),
        manifest=manifest,
        steps=tuple(trained.steps),
        n_rows=len(trained.rows),
        trained_tokens=sum(sum(row.trained) for row in trained.rows),
        seconds=round(perf_counter() - trained.began, 3),
        peak_memory_mib=peak_memory_mib(),
    )
