"""Whether a job can be done at all: asked before a model is loaded, so that nothing is computed or written in vain.

No torch here: rows, manifests and the base model's configuration are read, nothing else.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainer.checkpoint import CheckpointManifest, read_checkpoint
from trainer.jobs import Job
from trainer.rows import TrainingRow
from trainer.settings import TrainingConfig


class JobRefused(ValueError):
    """The job cannot be done as it stands: what, where, remedy. Nothing was computed and nothing written."""


def require_accelerators(processes: int, here: int) -> None:
    """Refuse more processes on this machine than the accelerators here; without any, they share the processor."""
    if 0 < here < processes:
        raise JobRefused(
            f"processes: {processes}, and {here} accelerators here. Set it to {here}, or launch the job with torchrun "
            "on several machines (docs/scaling.md)."
        )


def require_parent(job: Job, config: TrainingConfig) -> None:
    """Refuse a base model or a parent that is not there, or that `config.method` cannot continue."""
    if not (Path(job.base_model_path) / "config.json").is_file():
        raise JobRefused(
            f"{job.base_model_path}: no config.json, so no model of the name {job.base_model_name}. Give the folder "
            "that resolve_model returned."
        )
    parent = parent_of(job)
    if parent is not None and parent.weights == "whole" and config.method == "lora":
        raise JobRefused(
            f"{job.parent_adapter_path}: holds whole weights, and an adapter of {job.base_model_name} cannot continue "
            "them. Set method: full, or start from an adapter."
        )


def parent_of(job: Job) -> CheckpointManifest | None:
    """The manifest of the job's parent, whose bytes are the ones it names. None if training begins at the base model.

    Raises JobRefused for a parent that is missing, is another one, or belongs to another base; CheckpointBroken.
    """
    if job.parent_adapter_path is None:
        return None
    folder = Path(job.parent_adapter_path)
    if not folder.is_dir():
        raise JobRefused(
            f"{folder}: the parent checkpoint {job.parent_checkpoint_id} is not there. Materialise it again, or point "
            "to a checkpoint folder under artefacts/."
        )
    manifest = read_checkpoint(folder)
    if manifest.base_model != job.base_model_fingerprint:
        raise JobRefused(
            f"{folder}: made for the base model {manifest.base_model}, but the job's is {job.base_model_fingerprint} "
            f"({job.base_model_name}). Train from that base, or from a checkpoint of this one."
        )
    if manifest.id != job.parent_checkpoint_id:
        raise JobRefused(f"{folder}: is checkpoint {manifest.id}, the job names {job.parent_checkpoint_id} as parent.")
    return manifest


def require_rows(rows: Sequence[TrainingRow], job: Job, source: str) -> None:
    """Refuse rows that hold nothing to train, that come twice, or whose tokens the base model does not have."""
    if not any(any(row.trained) for row in rows):
        raise JobRefused(
            f"{source}: {len(rows)} rows and no token to train. Every rollout was left out; the advantages say why."
        )
    name, count = Counter(row.name for row in rows).most_common(1)[0]
    if count > 1:
        raise JobRefused(f"{source}: row {name} comes {count} times. Write each rollout once.")
    vocabulary = vocabulary_size(Path(job.base_model_path))
    for row in rows:
        if strange := [token for token in row.token_ids if not 0 <= token < vocabulary]:
            raise JobRefused(
                f"{source}: row {row.name} has token {strange[0]}, and {job.base_model_name} knows 0 to "
                f"{vocabulary - 1}. It is of a model with another tokenizer, or of an engine that answered oddly. "
                f"Leave it out: envloom quarantine {row.rollout_id} --reason ..."
            )


def vocabulary_size(model: Path) -> int:
    """How many tokens a model folder's embedding has."""
    config = json.loads((model / "config.json").read_bytes())
    return (config if "vocab_size" in config else config["text_config"])["vocab_size"]
