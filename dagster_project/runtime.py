"""What this process runs: code, lock, Python, machine and library versions, as one row of table `runtimes`.

Libraries are asked for their version and not imported.
"""

import hashlib
import os
import platform
import re
import subprocess
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dagster_project.home import REPOSITORY
from envs.record import content_id

LOCK, PROJECT = REPOSITORY / "constraints.txt", REPOSITORY / "pyproject.toml"


def runtime_row(code_version: str) -> dict[str, Any]:
    """The row; `code_version` ends in `+dirty` when files differ from the commit. Equal runtimes have equal ids."""
    told = {
        "code_version": code_version,
        "dirty": code_version.endswith("+dirty"),
        "lock_sha256": hashlib.sha256(LOCK.read_bytes()).hexdigest() if LOCK.exists() else None,
        "python": platform.python_version(),
        "machine": machine(),
        "libraries": libraries(),
    }
    return {"id": content_id(told), **told}


@cache
def machine() -> dict[str, Any]:
    """Processor, cores, system and GPUs; what a person or a network calls the machine is left out."""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "platform": platform.platform(), "gpus": _gpus()}


@cache
def libraries() -> dict[str, str]:
    """The installed versions of the libraries that this project names, apart from its tools, by name."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(line for extra in extras if extra != "dev" for line in extras[extra])]
    found = {}
    for name in sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in named} - {project["name"]}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed here
    return found


def _cpu() -> str:
    told = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", told.read_text(), flags=re.MULTILINE) if told.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """The models that NVIDIA's driver lists."""
    told = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [model for file in told for model in re.findall(r"^Model:\s*(.+)$", file.read_text(), flags=re.MULTILINE)]


SOURCE_VERSION = "ENVLOOM_SOURCE_VERSION"
"""Says what this code is where git cannot, and what a reproduction calls itself so as to make the same ids."""


def source_version() -> str:
    """The commit this code is at, with `+dirty` when files differ from it; the release outside a repository."""
    return os.environ.get(SOURCE_VERSION) or _source_version()


@cache
def _source_version() -> str:

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        try:
            return f"envloom-{version('envloom')}"
        except PackageNotFoundError:
            return "unknown"
