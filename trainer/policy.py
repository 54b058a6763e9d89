"""The trained model: a base model with a LoRA adapter, loaded reproducibly and written as peft and vLLM read it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from trainer.checkpoint import ADAPTER, ADAPTER_CONFIG, stable_adapter_config
from trainer.jobs import Job, LoraSettings

_ADAPTER_NAME = "default"


def make_deterministic(seed: int, threads: int) -> None:
    """Seed everything and refuse operations whose sums depend on scheduling. Sets process-wide state."""
    torch.set_num_threads(threads)
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


def load_policy(job: Job, lora: LoraSettings, dtype: str) -> PeftModel:
    """Base model with the parent's adapter, or with a fresh one (a no-op until trained) drawn from the current seed."""
    base = load_base(job.base_model_path, dtype)
    if job.parent_adapter_path is not None:
        return PeftModel.from_pretrained(base, job.parent_adapter_path, is_trainable=True).eval()
    settings = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(base, settings).eval()


def causal_lm(model: PeftModel) -> PreTrainedModel:
    """The language model inside the peft wrapper; its linear layers carry the adapter."""
    return cast(PreTrainedModel, model.get_base_model())


def trainable(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Named parameters that learn, in the model's order."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def adapter_writer(model: PeftModel, base_model_name: str) -> Callable[[Path], None]:
    """A function that writes the adapter into a folder: equal weights, equal bytes."""

    def write(folder: Path) -> None:
        state = get_peft_model_state_dict(model, adapter_name=_ADAPTER_NAME, save_embedding_layers=False)
        tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
        save_file(tensors, str(folder / ADAPTER), metadata={"format": "pt"})
        config = model.peft_config[_ADAPTER_NAME].to_dict()
        (folder / ADAPTER_CONFIG).write_bytes(stable_adapter_config(config, base_model_name))

    return write
