"""A checkpoint: adapter files plus a manifest that says exactly what they were made from. Its id is the manifest's.

The manifest has the hash of every file beside it: the same weights under another scale are another policy. Sealing is
torch-free and atomic; writing the tensors is `trainer.policy`'s business.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from envs.record import Record
from envs.work_folder import work_folder

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
    weights: Literal["adapter", "whole"] = "adapter"
    """`whole` is a model folder with every weight (`method: full`), which is served by itself."""
    moments_sha256: str | None = None
    """Of the optimizer's moments, where the next update continues them."""
    files: dict[str, str] = Field(default_factory=dict)
    """The sha256 of every other file, by name: the adapter's settings, or a model's configuration and tokenizer. Empty
    in checkpoints from before it was recorded (`trainer.earlier`)."""
    versions: dict[str, str]
    """Of the libraries that decide the bytes."""

    @model_validator(mode="after")
    def _files_are_those_of_its_kind(self) -> "CheckpointManifest":
        for name in self.files:
            # An adapter's settings beside whole weights would have transformers load the model that they name.
            is_companion = name == ADAPTER_CONFIG if self.weights == "adapter" else name != ADAPTER_CONFIG
            if "/" in name or "\0" in name or name in ("", ".", "..", MANIFEST) or not is_companion:
                raise ValueError(f"files: {name!r} is no file of a checkpoint's folder")
        return self


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
    with work_folder(".unfinished-", artefacts_dir) as work:
        write(work)
        manifest = manifest_of(work)
        (work / MANIFEST).write_bytes(manifest.canonical())
        for path in work.iterdir():
            _flush(path)
        target = artefacts_dir / manifest.id
        if not target.exists():
            work.chmod(0o755)  # a work folder keeps others out; vLLM may run as somebody else
            work.replace(target)
        return target, manifest


def weights_file(folder: Path) -> str:
    """Which file of a checkpoint's folder its weights are in: `WEIGHTS` where it holds whole ones."""
    return WEIGHTS if (folder / WEIGHTS).is_file() else ADAPTER


def companions(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a checkpoint's folder that has no field of its own in the manifest, by name."""
    named = (weights_file(folder), MOMENTS, MANIFEST)
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name not in named}


def read_manifest(folder: Path) -> CheckpointManifest:
    """The manifest of a sealed checkpoint; nothing else is looked at. Raises CheckpointBroken."""
    file = folder / MANIFEST
    if not file.is_file():
        raise CheckpointBroken(
            f"{folder}: no {MANIFEST}. Point to a checkpoint folder under artefacts/, named by its id."
        )
    try:
        return CheckpointManifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise CheckpointBroken(f"{file}: is no manifest of a checkpoint ({_first(error)}). {_REMEDY}") from error


def read_checkpoint(folder: Path) -> CheckpointManifest:
    """The manifest of a sealed checkpoint, after checking that the folder holds the files it names and no other.

    Raises CheckpointBroken.
    """
    from trainer.earlier import require_derived_settings  # it reads manifests too

    manifest = read_manifest(folder)
    hashes = {WEIGHTS if manifest.weights == "whole" else ADAPTER: manifest.adapter_sha256, **manifest.files}
    if manifest.moments_sha256 is not None:
        hashes[MOMENTS] = manifest.moments_sha256
    for name, sha256 in hashes.items():
        _require_bytes(folder / name, sha256)
    if not manifest.files:
        require_derived_settings(folder, manifest)
    elif strange := sorted({path.name for path in folder.iterdir()} - {MANIFEST, *hashes}):
        raise CheckpointBroken(f"{folder / strange[0]}: no file of this checkpoint. Move it elsewhere.")
    return manifest


def require_policy(folder: Path, checkpoint_id: str, base_model: str) -> None:
    """Refuse to serve a folder that is altered, another checkpoint, or made for another base. Raises CheckpointBroken.

    `base_model` is a fingerprint.
    """
    manifest = read_checkpoint(folder)
    for kind, name, expected in (
        ("checkpoint", manifest.id, checkpoint_id),
        ("adapter of", manifest.base_model, base_model),
    ):
        if name != expected:
            raise CheckpointBroken(f"{folder}: is {kind} {name}, and {expected} is to be served. {_REMEDY}")


_REMEDY = "Delete the folder and materialize the checkpoint again."


def _require_bytes(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise CheckpointBroken(f"{file}: not there. {_REMEDY}")
    actual = file_sha256(file)
    if actual != sha256:
        raise CheckpointBroken(
            f"{file}: sha256 is {actual}, the manifest says {sha256}. "
            "The file was altered; delete the folder and materialize the checkpoint again."
        )


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}"


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as opened:
        os.fsync(opened.fileno())
