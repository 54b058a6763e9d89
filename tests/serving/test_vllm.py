"""A real vLLM is started once, shared by whoever asks for the same, and its failures are explained."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from serving import flags
from serving.client import Client
from serving.endpoint import CompletionRequest, Endpoint
from serving.errors import EndpointUnreachable, PortTaken, ServerDied, VllmMissing
from serving.models import ResolvedModel
from serving.vllm import VllmConfig, VllmServer


def _server(folder: Path, model: str = "/nowhere", **options: object) -> VllmServer:
    config = VllmConfig.model_validate({"model": model, "served_name": "policy", "max_model_len": 512, **options})
    return VllmServer(config, folder / "logs", folder / "state", idle_timeout_s=5)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            _server(tmp_path, port=port).start()


def test_without_vllm_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(flags.importlib.metadata, "version", absent)
    with pytest.raises(VllmMissing, match=r"envloom\[gpu\].*envloom\[cpu\]"):
        _server(tmp_path).start()


def test_only_equal_configurations_share_a_server(tmp_path: Path) -> None:
    assert _server(tmp_path).key == _server(tmp_path).key != _server(tmp_path, max_num_seqs=8).key


def test_secrets_stay_out_of_command_lines_and_representations() -> None:
    config = VllmConfig(model="/m", served_name="m")
    assert "s3cret" not in " ".join(flags.vllm_arguments(config, 1))
    assert flags.vllm_environment(config, "s3cret")["VLLM_API_KEY"] == "s3cret"
    assert "s3cret" not in repr(Endpoint(base_url="http://x/v1", model="m", api_key="s3cret"))


@pytest.mark.vllm
def test_a_server_that_cannot_start_quotes_its_log(tmp_path: Path) -> None:
    server = _server(tmp_path, extra_args=("--no-such-flag",))
    with pytest.raises(ServerDied, match=r"(?s)ended after.*vllm-\w+\.log.*no-such-flag"):
        server.start()
    assert not server.alive()


_SECOND_PROCESS = """
import sys
from pathlib import Path
from serving.vllm import VllmConfig, VllmServer
config = VllmConfig.model_validate_json(sys.argv[1])
print(VllmServer(config, Path(sys.argv[2]), Path(sys.argv[3])).start().base_url)
"""


@pytest.mark.vllm
def test_a_second_process_with_the_same_configuration_uses_the_same_server(
    vllm: Endpoint, vllm_server: VllmServer
) -> None:
    folders = [str(vllm_server._logs_dir), str(vllm_server._state_dir)]
    command = [sys.executable, "-c", _SECOND_PROCESS, vllm_server.config.model_dump_json(), *folders]
    second = subprocess.run(command, capture_output=True, text=True, cwd=Path(flags.__file__).parents[1], check=True)
    assert second.stdout.strip() == vllm.base_url
    assert vllm_server._state_path.stat().st_mode & 0o077 == 0


@pytest.mark.vllm
def test_a_killed_server_is_reported_with_its_log_and_leaves_no_process(tmp_path: Path, smollm2: ResolvedModel) -> None:
    server = _server(tmp_path, str(smollm2.path), max_num_seqs=4, kv_cache_gib=1)
    endpoint = server.start()
    state = server._running()
    assert state is not None
    group = _children(state.watchdog)[0]
    os.kill(group, signal.SIGKILL)
    with pytest.raises(EndpointUnreachable, match=str(endpoint.log_path)):
        asyncio.run(Client(endpoint, retries=1).complete(CompletionRequest(prompt_ids=(1, 2, 3), max_tokens=4, seed=0)))
    server.stop()
    assert not server.alive()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
