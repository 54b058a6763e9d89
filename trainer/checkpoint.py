"""A checkpoint: adapter files plus a manifest that says exactly what they were made from. Its id is the manifest's.

Sealing is torch-free and atomic; writing the tensors is `trainer.policy`'s business.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from pydantic import Field, JsonValue

from envs.record import Record

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
WEIGHTS = "model.safetensors"
MOMENTS = "optimizer.moments"
MANIFEST = "manifest.json"


class CheckpointManifest(Record):
    """What a checkpoint was made from. Equal inputs on equal versions give equal manifests, byte for byte."""

    parent: str | None
    """Id of the parent checkpoint; None when training began at the base model."""
    base_model: str
    """Fingerprint of the base model's weights."""
    kind: Literal["warm_start", "update"]
    batch_ids: tuple[str, ...]
    """Warehouse batches the rows came from."""
    rows_sha256: str
    """Hash of the training rows themselves, without the engine's logprobs where training did not use them."""
    config: dict[str, JsonValue]
    seed: int
    code_version: str
    adapter_sha256: str
    """Of the adapter's bytes, or of all weights where the checkpoint holds them."""
    # Left out of the JSON where it is `adapter`: checkpoints keep the ids they always had.
    weights: Literal["adapter", "whole"] = Field("adapter", exclude_if=lambda weights: weights == "adapter")
    """`whole` is a model folder with every weight (`method: full`), which is served by itself."""
    moments_sha256: str | None = Field(None, exclude_if=lambda sha256: sha256 is None)
    """Of the optimizer's moments, where the next update continues them."""
    versions: dict[str, str]
    """Of the libraries that decide the bytes."""


class CheckpointBroken(RuntimeError):
    """A checkpoint folder does not hold what its manifest says."""


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide a checkpoint's bytes."""
    return {name: version(name) for name in ("torch", "transformers", "peft", "safetensors")}


def stable_adapter_config(config: Mapping[str, Any], base_model_name: str) -> bytes:
    """peft's adapter settings as bytes that do not change between processes or machines.

    peft keeps target modules in a set, whose order depends on the process, and remembers the base model's path.
    """
    stable = {
        key: sorted(value) if isinstance(value, set | frozenset | list | tuple) else value
        for key, value in config.items()
    }
    stable["base_model_name_or_path"] = base_model_name
    stable["inference_mode"] = True
    return (json.dumps(stable, indent=2, sort_keys=True) + "\n").encode()


def seal_checkpoint(
    artefacts_dir: Path, write: Callable[[Path], None], manifest_of: Callable[[Path], CheckpointManifest]
) -> tuple[Path, CheckpointManifest]:
    """Write weights and their manifest to `artefacts_dir/<id>` in one rename; a killed process leaves nothing there.

    `write` fills the folder it is given; `manifest_of` gets the folder then. A checkpoint that is already there is
    kept: equal id, equal content.
    """
    artefacts_dir.mkdir(parents=True, exist_ok=True)
    work = Path(mkdtemp(prefix=".unfinished-", dir=artefacts_dir))
    try:
        write(work)
        manifest = manifest_of(work)
        (work / MANIFEST).write_bytes(manifest.canonical())
        for path in work.iterdir():
            _flush(path)
        target = artefacts_dir / manifest.id
        if not target.exists():
            work.chmod(0o755)  # mkdtemp keeps others out; vLLM may run as somebody else
            work.replace(target)
        return target, manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)


def weights_file(folder: Path) -> str:
    """Which file of a checkpoint's folder its weights are in: `WEIGHTS` where it holds whole ones."""
    return WEIGHTS if (folder / WEIGHTS).is_file() else ADAPTER


def read_checkpoint(folder: Path) -> CheckpointManifest:
    """The manifest of a sealed checkpoint, after checking that weights and moments are the bytes it names.

    Raises CheckpointBroken.
    """
    if not (folder / MANIFEST).is_file():
        raise CheckpointBroken(
            f"{folder}: no {MANIFEST}. Point to a checkpoint folder under artefacts/, named by its id."
        )
    manifest = CheckpointManifest.model_validate_json((folder / MANIFEST).read_bytes())
    _require_bytes(folder / (WEIGHTS if manifest.weights == "whole" else ADAPTER), manifest.adapter_sha256)
    if manifest.moments_sha256 is not None:
        _require_bytes(folder / MOMENTS, manifest.moments_sha256)
    return manifest


def _require_bytes(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise CheckpointBroken(f"{file}: not there. Delete the folder and materialise the checkpoint again.")
    found = file_sha256(file)
    if found != sha256:
        raise CheckpointBroken(
            f"{file}: sha256 is {found}, the manifest says {sha256}. "
            "The file was altered; delete the folder and materialise the checkpoint again."
        )


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as opened:
        os.fsync(opened.fileno())
