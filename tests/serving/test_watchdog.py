"""A server ends with the last process that wants it, and takes every process it started along."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import watchdog
from serving.watchdog import process_started

# Stands for a server with worker processes: it starts a child that ignores SIGTERM and tells both pids.
_SERVER = """
import os, pathlib, signal, subprocess, sys, time
pathlib.Path(os.environ["VLLM_RPC_BASE_PATH"], "socket").touch()
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
time.sleep(0.5)
open(sys.argv[1] + ".tmp", "w").write(f"{os.getpid()} {child.pid}")
os.replace(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(600)
"""


def _until(condition: Callable[[], bool], seconds: float = 40.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Watched:
    def __init__(self, folder: Path, idle_timeout_s: float) -> None:
        self.owners = folder / "owners"
        self.owners.mkdir()
        self._pids = folder / "pids"
        plan = folder / "plan.json"
        plan.write_text(
            json.dumps(
                {
                    "command": [sys.executable, "-c", _SERVER, str(self._pids)],
                    "owners": str(self.owners),
                    "metrics_url": "http://127.0.0.1:9/metrics",
                    "idle_timeout_s": idle_timeout_s,
                }
            )
        )
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.watchdog = subprocess.Popen(
            [sys.executable, "-P", watchdog.__file__, str(plan)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )

    def claim(self, pid: int) -> None:
        (self.owners / str(pid)).write_text(process_started(pid) or "")

    def pids(self) -> list[int]:
        assert _until(self._pids.exists)
        return [int(pid) for pid in self._pids.read_text().split()]


def _gone(pids: list[int]) -> bool:
    return all(process_started(pid) is None for pid in pids)


def test_the_server_outlives_its_last_owner_by_the_idle_time_only(tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    watched = Watched(tmp_path, idle_timeout_s=1)
    watched.claim(owner.pid)
    pids = watched.pids()
    time.sleep(2.5)
    assert watched.watchdog.poll() is None, "the server must not end while an owner lives"
    assert list(watched.temporary.glob("*/socket"))
    owner.kill()
    owner.wait()
    assert _until(lambda: _gone(pids)), "server and worker must end when the owner is gone"
    assert watched.watchdog.wait(5) == 0
    assert not list(watched.temporary.iterdir()), "nor is anything of theirs left in the folder for temporary files"


def test_a_reused_pid_is_not_an_owner(tmp_path: Path) -> None:
    (tmp_path / str(os.getpid())).write_text("1")  # this pid, but a process that started at boot
    assert not watchdog.owners_alive(tmp_path)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_no_server_survives_its_watchdog(tmp_path: Path, how: str) -> None:
    watched = Watched(tmp_path, idle_timeout_s=600)
    watched.claim(os.getpid())
    server, worker = watched.pids()
    getattr(watched.watchdog, how)()
    watched.watchdog.wait(40)
    assert _until(lambda: _gone([server]))
    if how == "terminate":
        assert _gone([worker])
    else:
        os.kill(worker, 9)  # a killed watchdog can only pass the signal to the server itself; vLLM ends its workers
