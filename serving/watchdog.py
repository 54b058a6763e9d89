"""The parent process of a vLLM server: ends the server when nobody is left who wants it.

Run as a program by `serving.vllm`; survives its owner, so that a second run a minute later finds the server warm.
The idle clock starts when the last owner is gone and is reset by every request served. Imports nothing of ours.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import httpx

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.5


def process_started(pid: int) -> str | None:
    """Start time of a living process in clock ticks since boot, None when it is gone or a zombie.

    A pid with its start time names one process for ever; a bare pid is reused. Linux only, as vLLM is.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may itself hold blanks
    return None if fields[0] in ("Z", "X") else fields[19]


def processes_of(plan: Path) -> list[int]:
    """The watchdogs of this user that follow a plan: living processes with its path as their last argument."""
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _follows(folder, plan)]


def _follows(process: Path, plan: Path) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        return arguments[-2:-1] == [os.fsencode(plan)] and process.stat().st_uid == os.getuid()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def owners_alive(owners: Path) -> bool:
    """Whether any process that claimed the server still runs. A claim is a file named by pid, holding its start."""
    return any(_holds(claim) for claim in owners.iterdir() if claim.name.isdigit())


def _holds(claim: Path) -> bool:
    started = process_started(int(claim.name))
    try:
        return started is not None and claim.read_text(encoding="utf-8") == started
    except FileNotFoundError:  # released in this very moment
        return False


class _Stopped(Exception):
    pass


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _die_with_parent() -> None:
    """In the child, before exec: if this watchdog is killed outright, the kernel asks vLLM to end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def watch(command: list[str], owners: Path, metrics_url: str, idle_timeout_s: float) -> int:
    """Run `command` until it ends by itself, this process is told to stop, or it is unowned and idle for too long."""
    # Its own session: the engine's worker processes join it, so one signal reaches them all.
    server = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent)
    try:
        wanted_at, served = time.monotonic(), ""
        while (status := server.poll()) is None:
            time.sleep(_POLL_S)
            if owners_alive(owners):
                wanted_at = time.monotonic()
            elif (now_served := _served(metrics_url)) != served:
                wanted_at, served = time.monotonic(), now_served
            elif time.monotonic() - wanted_at > idle_timeout_s:
                print(f"watchdog: unowned and idle for {idle_timeout_s:.0f} s, stopping vLLM", flush=True)
                return 0
        print(f"watchdog: vLLM ended with status {status}", flush=True)
        return status
    except _Stopped:
        print("watchdog: told to stop", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second request to stop must not interrupt the stopping
        end_group(server.pid)


def _served(metrics_url: str) -> str:
    """Those lines of vLLM's metrics that change with every request. The key is the server's own."""
    headers = {"authorization": f"Bearer {os.environ.get('VLLM_API_KEY', '')}"}
    try:
        metrics = httpx.get(metrics_url, headers=headers, timeout=5, trust_env=False).text  # by no proxy
    except httpx.HTTPError:
        return ""  # still starting, or hanging: both count as idle
    counters = ("vllm:request_success_total", "vllm:generation_tokens_total", "vllm:prompt_tokens_total")
    return "\n".join(line for line in metrics.splitlines() if line.startswith(counters))


def end_group(group: int, grace_s: float = 15.0) -> None:
    """Ask every process of a group to end, then make them; returns when none is left."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signum)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-group, os.WNOHANG)  # orphans of the engine come to us (see main): a zombie is not alive
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def main() -> int:
    """Follow the plan, a JSON file of the arguments of `watch`, named by the only argument."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="vllm-") as sockets:  # vLLM does not remove its own
        os.environ["VLLM_RPC_BASE_PATH"] = sockets
        return watch(plan["command"], Path(plan["owners"]), plan["metrics_url"], plan["idle_timeout_s"])


if __name__ == "__main__":
    sys.exit(main())
