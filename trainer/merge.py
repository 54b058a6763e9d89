"""An adapter folded into its base model: a folder of weights that an engine serves like any other model.

On a processor an engine decodes merged weights about ten times as fast as an adapter beside them. The merged folder is
derived, never an artefact: what is kept, trained and named is the adapter.
"""

import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from envs.work_folder import work_folder
from serving.waiting import held
from trainer.checkpoint import ADAPTER, ADAPTER_CONFIG, WEIGHTS, file_sha256, weights_file

Array: TypeAlias = NDArray[np.float32]
logger = logging.getLogger(__name__)
KEPT = 2
"""Merged folders that stay on disk: the one served now and the one before it."""
_MERGE_S = 1800.0
"""How long one waits for another process that merges."""
_RECORD = "merged.json"
"""In a merged folder: the sha256 of the adapter's files that it was made from, and of its own."""
_WEIGHTS = "*.safetensors"
_LORA_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
_PLAIN: dict[str, object] = {
    "peft_type": "LORA",
    "bias": "none",
    "use_dora": False,
    "use_rslora": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}
"""The adapters whose merged weight is W + (alpha / r) · B·A (https://arxiv.org/abs/2106.09685, section 4.1)."""


class MergeRefused(ValueError):
    """This adapter, or this base model, is not merged: which part, and the remedy."""


def mergeable(base: Path) -> bool:
    """Whether the model's weights are float32: only then merging rounds nothing that the trainer does not round."""
    config = json.loads((base / "config.json").read_bytes())
    return (config.get("dtype") or config.get("torch_dtype")) == "float32"


def merged_model(base: Path, adapter: Path, merged_dir: Path) -> Path:
    """The folder of `base` with `adapter` folded in, made unless it is there; older ones than the last few go.

    One that was altered, or made from an adapter that was, is made again. A checkpoint that holds whole weights is such
    a folder itself. Raises MergeRefused for adapters other than plain LoRA, and for weights other than float32.
    """
    if weights_file(adapter) == WEIGHTS:
        return adapter
    target = merged_dir / f"{base.name}+{adapter.name}"
    merged_dir.mkdir(parents=True, exist_ok=True)
    with held(FileLock(merged_dir / ".lock"), "another process that merges an adapter", _MERGE_S):
        if target.exists() and not _is_intact(target, adapter):
            logger.warning("%s: not what was merged; merging again", target)
            shutil.rmtree(target)
        if not target.exists():
            with work_folder(".unfinished-", merged_dir) as work:
                _write(base, adapter, work)
                (work / _RECORD).write_text(json.dumps({"adapter": _made_from(adapter), "files": _hashes(work)}))
                work.chmod(0o755)
                work.replace(target)
        target.touch()
        newest = sorted((path for path in merged_dir.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for old in newest[:-KEPT]:
            shutil.rmtree(old)
    return target


def _is_intact(merged: Path, adapter: Path) -> bool:
    """Whether a merged folder is made from this adapter and holds what was written then."""
    try:
        record = json.loads((merged / _RECORD).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(record == {"adapter": _made_from(adapter), "files": _hashes(merged)})


def _made_from(adapter: Path) -> dict[str, str]:
    return {name: file_sha256(adapter / name) for name in (ADAPTER, ADAPTER_CONFIG)}


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.iterdir()) if path.name != _RECORD)
    return {path.name: file_sha256(path) if path.is_file() else "a folder" for path in files}


def require_adapter(checkpoint: Path) -> None:
    """Raise MergeRefused for whole weights: no server of the base model can load them."""
    if weights_file(checkpoint) == WEIGHTS:
        raise MergeRefused(
            f"{checkpoint}: holds whole weights, not an adapter. Give each policy a server of its own (campaign: "
            "engine.adapters = merged), or train an adapter (method: lora)."
        )


def _write(base: Path, adapter: Path, folder: Path) -> None:
    deltas = _deltas(adapter)
    for path in base.iterdir():
        if path.is_file() and not path.match(_WEIGHTS):
            shutil.copy(path, folder)
    for shard in base.glob(_WEIGHTS):
        tensors = _float32(shard)
        for name in deltas.keys() & tensors.keys():
            tensors[name] += deltas.pop(name)
        save_file(tensors, folder / shard.name, metadata={"format": "pt"})
    if deltas:
        raise MergeRefused(f"{adapter}: {sorted(deltas)[0]} is no weight of {base}; it is another model's adapter.")


def _float32(shard: Path) -> dict[str, Array]:
    with safe_open(shard, framework="np") as opened:
        for name in opened.keys():  # noqa: SIM118 (not a dict)
            if (dtype := opened.get_slice(name).get_dtype()) != "F32":
                raise MergeRefused(
                    f"{shard}: {name} is {dtype}, and merging needs float32 weights. Serve the adapter instead "
                    "(campaign: engine.adapters = served)."
                )
    return load_file(shard)


def _deltas(adapter: Path) -> dict[str, Array]:
    """Weight name → (out, in) float32, what the adapter adds to it."""
    config = json.loads((adapter / ADAPTER_CONFIG).read_bytes())
    _require_plain(adapter, config)
    sides: dict[str, dict[str, Array]] = {}
    for key, value in load_file(adapter / ADAPTER).items():
        found = _LORA_KEY.fullmatch(key)
        if found is None:
            raise MergeRefused(f"{adapter / ADAPTER}: {key} is no LoRA weight. Serve the adapter instead.")
        sides.setdefault(found["layer"], {})[found["side"]] = value.astype(np.float32)
    for layer, pair in sides.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[0] != config["r"]:
            raise MergeRefused(f"{adapter / ADAPTER}: {layer} is no pair of rank {config['r']} ({ADAPTER_CONFIG}).")
    scale = np.float32(config["lora_alpha"] / config["r"])
    return {f"{layer}.weight": scale * (pair["B"] @ pair["A"]) for layer, pair in sides.items()}


def _require_plain(adapter: Path, config: Mapping[str, Any]) -> None:
    for name, plain in _PLAIN.items():
        if config.get(name, plain) != plain:
            raise MergeRefused(
                f"{adapter / ADAPTER_CONFIG}: {name} is {config[name]!r}; only plain LoRA ({name} = {plain!r}) is "
                "merged. Serve the adapter instead (campaign: engine.adapters = served)."
            )
