"""Fixtures shared by every room's tests: the small real model, and one real vLLM server for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.endpoint import Endpoint
from serving.models import ResolvedModel, resolve_model
from serving.vllm import VllmConfig, VllmServer
from tests.command import envloom
from tests.postgres import lake, postgres

__all__ = ["lake", "postgres"]  # fixtures

HOME = Path(os.environ.get("ENVLOOM_HOME", Path(__file__).parents[1] / ".envloom"))


@pytest.fixture(scope="session")
def smollm2() -> ResolvedModel:
    """SmolLM2-135M-Instruct in float32, in the cache that the product itself uses."""
    return resolve_model("smollm2-135m-instruct", HOME / "models")


@pytest.fixture(scope="session")
def smoke_campaign(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> tuple[Path, dict[str, Any]]:
    """Three iterations of the campaign `smoke` with a real engine, once: (its home, the summary that was printed)."""
    home = tmp_path_factory.mktemp("smoke")
    (home / "models").symlink_to(smollm2.path.parent)
    return home, envloom(home, "train", "smoke", "--steps", "3", "--json")


@pytest.fixture(scope="session")
def vllm_server(smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A real server of SmolLM2 that takes LoRA adapters; ended with the session."""
    folder = tmp_path_factory.mktemp("vllm")
    config = VllmConfig(
        model=str(smollm2.path), served_name=smollm2.name, max_model_len=2048, enable_lora=True, max_lora_rank=16
    )
    adapters = (tmp_path_factory.getbasetemp(),)
    server = VllmServer(config, folder / "logs", folder / "state", adapter_folders=adapters, idle_timeout_s=30)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def vllm(vllm_server: VllmServer) -> Endpoint:
    """The address of that server."""
    return vllm_server.start()
