"""The trained model: a base model with a LoRA adapter, or all its weights. Loaded reproducibly, and written.

An adapter is written as peft and vLLM read it, whole weights as a model folder of their own.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils.logging import disable_progress_bar

from trainer.admission import parent_of
from trainer.checkpoint import ADAPTER, ADAPTER_CONFIG, stable_adapter_config
from trainer.jobs import Job, TrainingConfig

Policy: TypeAlias = PreTrainedModel | PeftModel
_ADAPTER_NAME = "default"
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.gguf")


def make_deterministic(seed: int, threads: int) -> None:
    """Seed everything and refuse operations whose sums depend on scheduling. Sets process-wide state."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is refused as not deterministic
    torch.use_deterministic_algorithms(True)
    # A guard against reading memory before writing it, which nothing here does; it costs 6 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def device_here() -> torch.device:
    """The accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(path: str, dtype: str) -> PreTrainedModel:
    """The base model without adapter, on this machine's device, dropout off. Raises OSError for a missing folder."""
    disable_progress_bar()  # stderr is our log
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=getattr(torch, dtype), local_files_only=True, attn_implementation="sdpa"
    )
    return model.eval().to(device=device_here())


def load_policy(job: Job, config: TrainingConfig) -> Policy:
    """The parent, ready to learn by `config.method`; without a parent the base model, its adapter fresh.

    A fresh adapter is a no-op until trained, and drawn from the current seed. Raises JobRefused, CheckpointBroken.
    """
    if config.method == "full":
        model = load_parent(job, "float32", trainable=False)
        if isinstance(model, PeftModel):
            model = cast(PreTrainedModel, model.merge_and_unload())
        model.requires_grad_(True)
    else:
        model = load_parent(job, config.dtype, trainable=True)
        if not isinstance(model, PeftModel):
            settings = LoraConfig(
                r=config.lora.r,
                lora_alpha=config.lora.alpha,
                lora_dropout=0.0,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            )
            model = get_peft_model(model, settings)
    model.eval()
    if config.gradient_checkpointing:
        _recompute_layers(causal_lm(model))
    return model


def load_parent(job: Job, dtype: str, *, trainable: bool = False) -> Policy:
    """The job's parent as it is: base model, base model with adapter, or whole weights. Dropout off."""
    parent = parent_of(job)
    if parent is None or job.parent_adapter_path is None:
        return load_base(job.base_model_path, dtype)
    if parent.weights == "whole":
        return load_base(job.parent_adapter_path, dtype)
    base = load_base(job.base_model_path, dtype)
    return PeftModel.from_pretrained(base, job.parent_adapter_path, is_trainable=trainable).eval()


def _recompute_layers(model: PreTrainedModel) -> None:
    """Have layers computed again in the backward pass. transformers does so in training mode only.

    That mode would turn dropout on, so the layers alone are put into it, not what they hold.
    """
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def causal_lm(model: Policy) -> PreTrainedModel:
    """The language model itself; inside a peft wrapper its linear layers carry the adapter."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def trainable(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Named parameters that learn, in the model's order; tied ones once."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def weights_writer(model: Policy, job: Job) -> Callable[[Path], None]:
    """A function that writes what was trained into a folder: equal weights, equal bytes."""
    return _adapter_writer(model, job) if isinstance(model, PeftModel) else _whole_writer(model, job)


def _adapter_writer(model: PeftModel, job: Job) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        state = get_peft_model_state_dict(model, adapter_name=_ADAPTER_NAME, save_embedding_layers=False)
        tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
        save_file(tensors, str(folder / ADAPTER), metadata={"format": "pt"})
        config = model.peft_config[_ADAPTER_NAME].to_dict()
        (folder / ADAPTER_CONFIG).write_bytes(stable_adapter_config(config, job.base_model_name))

    return write


def _whole_writer(model: PreTrainedModel, job: Job) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for path in Path(job.base_model_path).iterdir():  # the tokenizer, and how to generate
            if path.is_file() and not any(path.match(pattern) for pattern in _WEIGHT_FILES):
                shutil.copy(path, folder)
        model.save_pretrained(folder, max_shard_size="1000GB")  # one file, named by one hash

    return write
