"""The `envloom` command in a process of its own, in a home of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVLOOM = Path(sys.executable).with_name("envloom")


def run_envloom(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Whatever comes of it."""
    return subprocess.run(
        [str(ENVLOOM), *arguments],
        env={**os.environ, "ENVLOOM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def envloom(home: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of a command that has to succeed."""
    run = run_envloom(home, *arguments)
    assert run.returncode == 0, f"{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told
