"""Checkpoints from before a manifest had the hash of its adapter's settings: they are derived instead, and compared.

Such an adapter is plain LoRA on all linear layers. Rank and scale follow from the manifests of its line, the layers
from the weights; every other setting is the one that changes nothing.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from trainer.checkpoint import (
    ADAPTER,
    ADAPTER_CONFIG,
    MANIFEST,
    MOMENTS,
    CheckpointBroken,
    CheckpointManifest,
    read_manifest,
)
from trainer.settings import LoraSettings

_LAYER = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_[AB]\.weight")
_FIXED: Mapping[str, Any] = {
    "task_type": "CAUSAL_LM",
    "peft_type": "LORA",
    "bias": "none",
    "inference_mode": True,
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}
"""What peft writes for such an adapter; what else it writes is empty."""
_ABOUT = ("base_model_name_or_path", "peft_version", "revision")
"""Settings that say where it comes from and change nothing."""


def require_derived_settings(folder: Path, manifest: CheckpointManifest) -> None:
    """Refuse files that such a checkpoint never had, and settings other than those of its line.

    Whole weights have a configuration that nothing tells; only files beside them are looked for. Raises
    CheckpointBroken.
    """
    if manifest.weights == "whole":
        return
    if strange := sorted({path.name for path in folder.iterdir()} - {MANIFEST, ADAPTER, ADAPTER_CONFIG, MOMENTS}):
        raise CheckpointBroken(f"{folder / strange[0]}: no file of this checkpoint. Move it elsewhere.")
    file = folder / ADAPTER_CONFIG
    try:
        settings = json.loads(file.read_bytes())
        layers = _layers(folder / ADAPTER)
        lora = _lora(folder, manifest)
    except (OSError, KeyError, ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointBroken(f"{file}: cannot be read ({error}).") from error
    actual = settings if isinstance(settings, dict) else {}
    targets = actual.get("target_modules")
    expected = {**_FIXED, "r": lora.r, "lora_alpha": lora.alpha}
    expected["target_modules"] = targets if _are_targets(targets, layers) else sorted(layers)
    for name in {**expected, **actual}:
        value, wanted = actual.get(name), expected.get(name)
        same = not value if name not in expected else value == wanted
        if not same and name not in _ABOUT:
            raise CheckpointBroken(
                f"{file}: {name} is {value!r}; the checkpoint was made with {wanted!r}. The file was altered; write "
                "that value, or delete the folder and materialize the checkpoint again."
            )


def _lora(folder: Path, manifest: CheckpointManifest) -> LoraSettings:
    """The settings of the checkpoint that began the line: every later one takes over its parent's."""
    while manifest.parent is not None and manifest.parent != manifest.base_model:
        if not re.fullmatch(r"[0-9a-f]{32}", manifest.parent):  # it becomes the name of a folder
            raise CheckpointBroken(f"{folder / MANIFEST}: parent {manifest.parent!r} is no checkpoint's id.")
        folder, child = folder.parent / manifest.parent, folder
        if not (folder / MANIFEST).is_file():
            raise CheckpointBroken(
                f"{child / ADAPTER_CONFIG}: its settings are those of checkpoint {manifest.parent}, which is not "
                f"beside it. Put {folder} back."
            )
        parent = read_manifest(folder)
        if parent.id != manifest.parent:
            raise CheckpointBroken(f"{folder}: its manifest is that of checkpoint {parent.id}, so it was altered.")
        manifest = parent
    return LoraSettings.model_validate(manifest.config.get("lora", {}))


def _layers(weights: Path) -> set[str]:
    """The names of the layers that an adapter is on."""
    with safe_open(weights, framework="np") as opened:
        names = [_LAYER.fullmatch(key) for key in opened.keys()]  # noqa: SIM118 (not a dict)
    return {name["layer"] for name in names if name}


def _are_targets(targets: Any, layers: set[str]) -> bool:
    """Whether these are the layers, by name or, as peft shortens it for many, by the ends of their names."""
    if not isinstance(targets, list) or not all(isinstance(target, str) and target for target in targets):
        return False
    hits = [{layer for layer in layers if f".{layer}".endswith(f".{target}")} for target in targets]
    return all(hits) and set().union(*hits) == layers
