"""A run that was killed gives its pool back: nobody waits for a process that is gone."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.home import REPOSITORY, Home
from dagster_project.orphans import alive, fail_orphans
from dagster_project.resources import Workshop

RUN = """
import os, signal, sys
from dagster_project.assets import synthesis
from dagster_project.home import Home
from dagster_project.runner import Step, run_steps
home = Home.here().prepare()
run_steps([Step("brief", "library")], home)
if sys.argv[1] == "killed":
    synthesis.load_hooks = lambda _: os.kill(os.getpid(), signal.SIGKILL)
run_steps([Step("environment", "library")], home)
"""
POOL = "llm"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.here().prepare()


def run(how: str) -> int:
    command = [sys.executable, "-c", RUN, how]
    return subprocess.run(command, cwd=REPOSITORY, timeout=180, check=False).returncode


def holders(instance: dg.DagsterInstance) -> set[str]:
    return {slot.run_id for slot in instance.event_log_storage.get_concurrency_info(POOL).claimed_slots}


def killed_run(instance: dg.DagsterInstance) -> str:
    assert run("killed") == -9
    [run_id] = holders(instance)
    assert not instance.get_run_by_id(run_id).is_finished  # type: ignore[union-attr]
    return run_id


def test_a_run_that_was_killed_leaves_its_pool_to_the_next(home: Home) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = killed_run(instance)
        assert run("again") == 0  # without its place freed this would wait until the time is out
        assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert not holders(instance) and not list(home.running.iterdir())


@pytest.mark.usefixtures("home")
def test_the_sensor_marks_it_as_failed_while_the_page_is_open() -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = killed_run(instance)
        sensor = defs.get_sensor_def("killed_runs")
        with dg.build_sensor_context(instance=instance, resources={"workshop": Workshop()}) as context:
            assert run_id in sensor(context).skip_message  # type: ignore[union-attr]
            assert "every run" in sensor(context).skip_message  # type: ignore[union-attr]
        assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_a_run_with_a_living_process_is_left_alone(home: Home) -> None:
    """Also where another of its processes has died: the run itself hears of that."""
    with dg.DagsterInstance.get() as instance:
        run_id = killed_run(instance)
        with alive(home.running, run_id):
            assert fail_orphans(instance, home.running) == []
        assert holders(instance) == {run_id}
