"""The worker processes that programs run in: started when the first tool needs one, replaced when one dies.

A worker is the sandbox interpreter (`monty subprocess`) behind `envs.confinement`. Whether this machine can confine
it is tried once, with a worker's own start; where it cannot, Python tools are refused with the reason.
"""

import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs.turns import Turns, threads_of
from envs.work_folder import WorkFolder, open_work_folder

if TYPE_CHECKING:
    from pydantic_monty import Monty, MontySession, OSPolicy, ResourceLimits

START_TIMEOUT_S = 30.0
"""For a worker to start, and for a call to wait until one is free."""
TURN_TIMEOUT_S = 10.0
"""After which a worker that does not answer is killed and replaced: a backstop, the limits inside are shorter."""
CALLS_PER_WORKER = 10_000
"""Then a worker is replaced by a fresh one."""
_LIBRARY = re.compile(r"(=> )?(/\S+) \(0x")


class PythonToolsRefused(RuntimeError):
    """This machine cannot confine a worker, so no tool with a program runs here. Tools in SQL are not concerned."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Python tools are refused on this machine: {reason}. They need Linux on x86_64 with Landlock and seccomp "
            "(kernel 5.13 or newer). Use another machine, or an environment whose tools are in SQL"
        )


@dataclass(frozen=True)
class _Workers:
    """The pool of one process, with the folder its launcher lies in."""

    pool: "Monty"
    folder: WorkFolder
    turns: Turns


_of_process: dict[int, "_Workers | PythonToolsRefused"] = {}
_lock = threading.Lock()


@contextmanager
def session(
    limits: "ResourceLimits | None" = None, policy: "OSPolicy | None" = None, stubs: str | None = None
) -> "Iterator[MontySession]":
    """A fresh sandbox in a confined worker; with `stubs` it checks types before it runs. Raises PythonToolsRefused."""
    workers = _workers()
    fresh = workers.pool.checkout(
        limits=limits,
        os_policy=policy,
        type_check=stubs is not None,
        type_check_stubs=stubs,
        type_check_format="concise",
    )
    with workers.turns.together() as join, fresh as sandbox:
        if (worker := sandbox.worker_pid) is not None:
            join(worker)
        yield sandbox


def refusal() -> str | None:
    """Why Python tools are refused here; None if they run. Starts the first worker."""
    try:
        _workers()
    except PythonToolsRefused as refused:
        return str(refused)
    return None


def _workers() -> _Workers:
    found = _of_process.get(os.getpid())
    if found is None:
        with _lock:
            found = _of_process.get(os.getpid()) or (_forked() if _of_process else _start())
            _of_process[os.getpid()] = found
    if isinstance(found, PythonToolsRefused):
        raise found
    return found


def _forked() -> PythonToolsRefused:
    """The pool's threads do not survive a fork, and a second pool in the child would wait for them for ever."""
    return PythonToolsRefused("this process was forked from one that had workers; start it with `spawn` instead")


def _start() -> "_Workers | PythonToolsRefused":
    try:
        from pydantic_monty import Monty, MontyError
    except ImportError as error:
        return PythonToolsRefused(f"pydantic-monty cannot be imported ({error})")
    folder = open_work_folder("envloom-workers-")
    try:
        launcher = _write_launcher(folder.path)
        _try_once(launcher)
        pool = Monty(
            binary_path=launcher,
            checkout_timeout=START_TIMEOUT_S,
            request_timeout=TURN_TIMEOUT_S,
            max_checkouts_per_worker=CALLS_PER_WORKER,
        )
        others = threads_of(os.getpid())
        pool.__enter__()
    except (PythonToolsRefused, OSError, MontyError, subprocess.TimeoutExpired) as error:
        folder.close()
        return error if isinstance(error, PythonToolsRefused) else PythonToolsRefused(f"no worker starts ({error})")
    atexit.register(_stop, os.getpid())
    return _Workers(pool, folder, Turns(others))


def _write_launcher(folder: Path) -> Path:
    """A script that confines and then starts the interpreter: the pool takes one path to run, and no arguments."""
    program = _interpreter()
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("confinement.py")), str(program)]
    command.append(":".join(_libraries(program)))
    launcher = folder / "worker"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    launcher.chmod(0o700)
    return launcher


def _interpreter() -> Path:
    installed = Path(sysconfig.get_path("scripts")) / "monty"
    found = str(installed) if installed.is_file() else shutil.which("monty")
    if found is None:
        raise PythonToolsRefused("the `monty` program is missing; `pip install pydantic-monty` brings it")
    return Path(found).resolve()


def _libraries(program: Path) -> list[str]:
    """The files a program is loaded from, the loader first, as the loader itself lists them (what `ldd` does)."""
    listing = subprocess.run(
        [program, "--version"],
        env={"LD_TRACE_LOADED_OBJECTS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    ).stdout
    found = _LIBRARY.findall(listing)
    loader = [path for arrow, path in found if not arrow]
    cache = ["/etc/ld.so.cache"] if Path("/etc/ld.so.cache").exists() else []
    return [*loader, *(path for arrow, path in found if arrow), *cache]


def _try_once(launcher: Path) -> None:
    """Start the interpreter the way a worker starts. Raises PythonToolsRefused with its last word."""
    tried = subprocess.run(
        [launcher, "--version"],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    if tried.returncode != 0:
        words = tried.stderr.strip().splitlines()
        raise PythonToolsRefused(words[-1] if words else f"the worker ended with {tried.returncode}")


def _stop(pid: int) -> None:
    """End the workers with the process that started them; a forked child leaves its parent's alone."""
    found = _of_process.get(pid) if pid == os.getpid() else None
    if isinstance(found, _Workers):
        found.pool.__exit__(None, None, None)
        found.folder.close()
