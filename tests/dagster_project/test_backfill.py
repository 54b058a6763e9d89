"""Domains synthesised beside each other, every step in a process of its own, into one warehouse; and a failed step."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.home import REPOSITORY, Home
from dagster_project.runner import SYNTHESIS
from tests.generators import boats
from warehouse.warehouse import Warehouse

LOCKED = ("database is locked", "WarehouseBusy", "Could not set lock")


class Project:
    """A home with domains of its own."""

    def __init__(self, root: Path) -> None:
        self.home, self.domains = Home(root / "home"), root / "domains"

    def write(self, domain: str) -> Path:
        """The domain's recording."""
        folder = self.domains / domain
        folder.mkdir(parents=True)
        (folder / "domain.yaml").write_text(boats.PAGE)
        boats.record(folder, domain)
        return folder / "calls.jsonl"

    def open(self) -> None:
        """Dagster's databases, which two processes must not make at the same time; a daemon has them."""
        self.home.prepare()
        with dg.DagsterInstance.get():
            pass

    def start(self, *words: str) -> subprocess.Popen[str]:
        variables = {**os.environ, "ENVLOOM_HOME": str(self.home.root), "ENVLOOM_DOMAINS": str(self.domains)}
        command = [sys.executable, "-m", "tests.dagster_project.one_domain", *words]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """What the run says, and its log."""
    out, log = process.communicate()
    assert out, log
    assert not any(text in log for text in LOCKED), log
    return json.loads(out.splitlines()[-1]), log


def test_domains_run_beside_each_other_and_a_failed_step_is_run_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    monkeypatch.setenv("ENVLOOM_HOME", str(project.home.root))
    monkeypatch.setenv("DAGSTER_HOME", str(project.home.dagster))
    recordings = {domain: project.write(domain) for domain in ("harbour_a", "harbour_b")}
    recordings["harbour_b"].rename(tmp_path / "calls.jsonl")
    project.open()
    running = [project.start(domain) for domain in recordings]
    (whole, _), (broken, log) = (ended(process) for process in running)
    assert whole["success"]
    assert whole["steps"] == list(SYNTHESIS)
    assert not broken["success"]
    assert broken["steps"] == ["brief"]
    assert "domain harbour_b has no recording" in log

    (tmp_path / "calls.jsonl").rename(recordings["harbour_b"])
    repaired, _ = ended(project.start("harbour_b", broken["run"]))
    assert repaired["success"]
    assert repaired["steps"] == list(SYNTHESIS[1:])
    stored = Warehouse(project.home.warehouse, project.home.parts).query(
        "SELECT partition FROM current_batches WHERE asset = 'proven_tasks' AND n_rows > 0 ORDER BY partition"
    )
    assert stored["partition"].to_list() == list(recordings)
