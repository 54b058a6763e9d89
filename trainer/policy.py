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

from trainer.adapted import fuse_adapters
from trainer.admission import JobRefused, parent_of
from trainer.attention import TRIE_ATTENTION
from trainer.checkpoint import ADAPTER, ADAPTER_CONFIG, stable_adapter_config
from trainer.gated import fuse_gated
from trainer.jobs import Job
from trainer.norms import fuse_norms
from trainer.settings import TrainingConfig
from trainer.sharding import whole

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


def load_base(path: str, dtype: str, device: torch.device | None = None) -> PreTrainedModel:
    """The base model without adapter, dropout off; on this machine's device unless another is said.

    Raises OSError for a missing folder.
    """
    disable_progress_bar()  # stderr is our log
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=getattr(torch, dtype),
        local_files_only=True,
        trust_remote_code=False,  # without a word it may ask on the terminal
        attn_implementation=TRIE_ATTENTION,
    )
    return model.eval().to(device=device or device_here())


def load_policy(job: Job, config: TrainingConfig) -> Policy:
    """The parent, ready to learn by `config.method`; without a parent the base model, its adapter fresh.

    A fresh adapter is a no-op until trained, and drawn from the current seed. Raises JobRefused, CheckpointBroken.
    """
    if config.attention == "flex" and device_here().type == "cpu":
        raise JobRefused("attention: flex needs an accelerator, and there is none here. Set it to branches.")
    device = torch.device("cpu") if config.shard else None  # it may not fit on one accelerator
    if config.method == "full":
        model = load_parent(job, "float32", trainable=False, device=device)
        if isinstance(model, PeftModel):
            model = cast(PreTrainedModel, model.merge_and_unload())
        model.requires_grad_(True)
    else:
        model = load_parent(job, config.dtype, trainable=True, device=device)
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
    fuse(model)
    if config.gradient_checkpointing:
        _recompute_layers(causal_lm(model))
    return model


def fuse(model: Policy) -> Policy:
    """The model, what does not learn in it computed in fewer operations. It can no longer be merged and unloaded."""
    fuse_adapters(model)
    fuse_gated(model)
    fuse_norms(model)
    return model


def load_parent(job: Job, dtype: str, *, trainable: bool = False, device: torch.device | None = None) -> Policy:
    """The job's parent as it is: base model, base model with adapter, or whole weights. Dropout off."""
    parent = parent_of(job)
    if parent is None or job.parent_adapter_path is None:
        return load_base(job.base_model_path, dtype, device)
    if parent.weights == "whole":
        return load_base(job.parent_adapter_path, dtype, device)
    base = load_base(job.base_model_path, dtype, device)
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
    """A function that writes what was trained into a folder: equal weights, equal bytes.

    All processes of a team ask for it together, and one of them calls it.
    """
    return _adapter_writer(model, job) if isinstance(model, PeftModel) else _whole_writer(model, job)


def _adapter_writer(model: PeftModel, job: Job) -> Callable[[Path], None]:
    learnt = {name: whole(parameter).detach() for name, parameter in trainable(model)}

    def write(folder: Path) -> None:
        state = get_peft_model_state_dict(model, learnt, adapter_name=_ADAPTER_NAME, save_embedding_layers=False)
        tensors = {name: state[name].cpu().contiguous() for name in sorted(state)}
        save_file(tensors, str(folder / ADAPTER), metadata={"format": "pt"})
        config = model.peft_config[_ADAPTER_NAME].to_dict()
        # A folder's name is its path, which is another one on another machine; its fingerprint is not.
        name = job.base_model_fingerprint.partition("@")[0]
        (folder / ADAPTER_CONFIG).write_bytes(stable_adapter_config(config, name))

    return write


def _whole_writer(model: PreTrainedModel, job: Job) -> Callable[[Path], None]:
    learnt = {id(parameter): whole(parameter).detach() for _, parameter in trainable(model)}
    state = {name: learnt[id(parameter)] for name, parameter in model.named_parameters(remove_duplicate=False)}
    state |= {name: buffer for name, buffer in model.named_buffers() if name in model.state_dict()}

    def write(folder: Path) -> None:
        for path in Path(job.base_model_path).iterdir():  # the tokenizer, and how to generate
            if path.is_file() and not any(path.match(pattern) for pattern in _WEIGHT_FILES):
                shutil.copy(path, folder)
        # one file, named by one hash
        model.save_pretrained(folder, state_dict=state, max_shard_size="1000GB")

    return write
