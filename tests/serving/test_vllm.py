"""A real vLLM is started once, shared by whoever asks for the same, and its failures are explained."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from time import sleep

import httpx
import pytest
from filelock import FileLock

from serving import flags, watchdog
from serving import vllm as vllm_module
from serving.client import Client
from serving.endpoint import CompletionRequest, Endpoint
from serving.errors import EndpointUnreachable, PortTaken, ServerDied, VllmMissing
from serving.models import ResolvedModel
from serving.vllm import VllmConfig, VllmServer
from serving.watchdog import process_started


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


@pytest.mark.parametrize("rest", [b"", b'{"watchdog": 12', b"\0" * 64, b"[]", b"\xff\xfe"])
def test_a_broken_state_file_is_no_server_and_goes_away(
    tmp_path: Path, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = _server(tmp_path)
    server._state_dir.mkdir()
    server._state_path.write_bytes(rest)
    assert not server.alive()
    assert server._state_path.name in caplog.text
    server.stop()
    assert not server._state_path.exists()


def test_a_process_that_has_the_watchdogs_pid_by_now_is_left_alone(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server._state_dir.mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        started = process_started(other.pid) or ""
        state = {"watchdog": other.pid, "watchdog_started": started, "port": 9, "api_key": "k", "log_path": "/log"}
        server._state_path.write_text(json.dumps(state))
        assert not server.alive()
        server.stop()
        assert other.poll() is None
        other.kill()


def test_a_server_whose_state_was_lost_is_ended(tmp_path: Path) -> None:
    """Its starter was killed before it wrote the file, so its key is lost."""
    server = _server(tmp_path)
    owners = tmp_path / "owners"
    server._state_dir.mkdir()
    owners.mkdir()
    idle = {"owners": str(owners), "metrics_url": "http://127.0.0.1:9/metrics", "idle_timeout_s": 600}
    server._plan_path.write_text(json.dumps({"command": ["sleep", "600"], **idle}))
    with subprocess.Popen([sys.executable, "-P", watchdog.__file__, str(server._plan_path)]) as lost:
        while not _children(lost.pid):
            sleep(0.05)
        server.stop()
        lost.wait(20)


def test_the_wait_for_another_starter_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_module, "_PATIENCE_S", 0.3)
    config = VllmConfig(model="/nowhere", served_name="policy")
    server = VllmServer(config, tmp_path / "logs", tmp_path / "state", start_timeout_s=0)
    server._state_dir.mkdir()
    with FileLock(server._state_dir / f"vllm-{server.key}.lock"), pytest.raises(ServerDied, match=r"lock was held"):
        server.start()


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
folders = [Path(name) for name in sys.argv[2:]]
print(VllmServer(config, *folders[:2], adapter_folders=folders[2:]).start().base_url)
"""


@pytest.mark.vllm
def test_a_second_process_with_the_same_configuration_uses_the_same_server(
    vllm: Endpoint, vllm_server: VllmServer
) -> None:
    folders = map(str, (vllm_server._logs_dir, vllm_server._state_dir, *vllm_server._adapter_folders))
    command = [sys.executable, "-c", _SECOND_PROCESS, vllm_server.config.model_dump_json(), *folders]
    second = subprocess.run(command, capture_output=True, text=True, cwd=Path(flags.__file__).parents[1], check=True)
    assert second.stdout.strip() == vllm.base_url
    assert vllm_server._state_path.stat().st_mode & 0o077 == 0


@pytest.mark.vllm
def test_no_route_of_the_installed_vllm_answers_without_the_key(vllm: Endpoint) -> None:
    """The routes are those that its source declares: a later version may have others."""
    sources = Path(importlib.util.find_spec("vllm").origin).parent / "entrypoints"  # type: ignore[union-attr, arg-type]
    declared = re.compile(r"""router\.\w+\(\s*["'](/[\w/{}-]*)["']""")
    paths = {path for file in sources.rglob("*.py") for path in declared.findall(file.read_text())} - {"/health"}
    paths |= {"/metrics", "/docs", "/redoc", "/openapi.json", "/invocations", "/adapters", "/adapters/policy"}
    assert len(paths) > 40 and "/tokenize" in paths
    with httpx.Client(base_url=vllm.base_url.removesuffix("/v1"), timeout=60) as web:
        asked = [(method, path) for path in sorted(paths) for method in ("GET", "POST", "DELETE", "OPTIONS")]
        assert {web.request(method, path, json={}).status_code for method, path in asked} == {401}
        assert web.get("/health").status_code == 200
        web.headers["authorization"] = f"Bearer {vllm.api_key}"
        assert web.get("/v1/models").status_code == web.get("/metrics").status_code == 200
        assert web.post("/adapters", json={"name": "policy", "src": "/elsewhere"}).status_code == 404
        adapter = {"lora_name": "policy", "lora_path": "/elsewhere"}
        assert web.post("/v1/load_lora_adapter", json=adapter).status_code == 403


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
