"""A run that was killed gives its pool back: nobody waits for a process that is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import DagsterEventType

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


@dg.job
def idle() -> None:
    """A job of nothing."""


def started_run(instance: dg.DagsterInstance) -> str:
    """A run whose process went without a word, such as one that could not write when the disk was full."""
    run = instance.create_run_for_job(idle)
    instance.run_storage.handle_run_event(run.run_id, event(run, DagsterEventType.PIPELINE_START))
    instance.run_storage.ownership.release_all()  # type: ignore[attr-defined]  # as when its process ends
    return run.run_id


def event(run: dg.DagsterRun, kind: DagsterEventType) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name)


@pytest.fixture
def instance(home: Home) -> Iterator[dg.DagsterInstance]:
    assert home.dagster.is_dir()
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
        yield instance


def claim(instance: dg.DagsterInstance, run_id: str) -> bool:
    return instance.event_log_storage.claim_concurrency_slot(POOL, run_id, "environment").is_claimed


def test_a_started_run_without_a_process_is_an_orphan_whatever_it_left(home: Home, instance) -> None:
    run_id = started_run(instance)
    assert claim(instance, run_id) and not list(home.running.iterdir())
    assert fail_orphans(instance, home.running) == [run_id]
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE
    assert not holders(instance) and claim(instance, "next")
    assert fail_orphans(instance, home.running) == ["next"], "a run that the history does not know"


@pytest.mark.parametrize("known", [True, False], ids=["that has ended", "that the history does not know"])
def test_the_place_of_a_run_is_freed_by_the_one_that_waits_for_it(home: Home, instance, known: bool) -> None:
    run_id = "unknown"
    if known:
        run_id = started_run(instance)
        instance.report_run_failed(instance.get_run_by_id(run_id))
    assert claim(instance, run_id)
    with alive(home.running, "next"):
        assert not claim(instance, "next")
        assert claim(instance, "next"), "its first try has freed the place"


def test_runs_that_a_process_holds_or_will_hold_are_left_alone(home: Home, instance) -> None:
    run = instance.create_run_for_job(idle)
    assert fail_orphans(instance, home.running) == [], "it is being launched"
    instance.run_storage.handle_run_event(run.run_id, event(run, DagsterEventType.PIPELINE_START))
    assert claim(instance, run.run_id)
    assert fail_orphans(instance, home.running) == [], "this process executes it"
    instance.run_storage.handle_run_event(run.run_id, event(run, DagsterEventType.PIPELINE_SUCCESS))
    assert not list(home.running.iterdir())
    assert fail_orphans(instance, home.running) == [run.run_id] and not holders(instance)


WAITING = """
import signal
from dagster_project.cli import app
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
app(["domain", "make", "library"])
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_for_a_pool_says_for_what_sleeps_and_can_be_ended(home: Home, instance, signum: int) -> None:
    with alive(home.running, "holder"):
        assert claim(instance, "holder")
        waiting = subprocess.Popen([sys.executable, "-c", WAITING], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr is not None
        line = next(line for line in waiting.stderr if "waits" in line)
        assert POOL in line and f"environment of run holder (process {os.getpid()})" in line
        watched, before = psutil.Process(waiting.pid), time.monotonic()
        used = sum(watched.cpu_times()[:2])
        time.sleep(3)
        share = (sum(watched.cpu_times()[:2]) - used) / (time.monotonic() - before)
        assert share < 0.3, "a process that spins uses all it gets"
        waiting.send_signal(signum)
        _, rest = waiting.communicate(timeout=60)
    assert waiting.returncode == 130 and rest.startswith("Interrupted."), rest
    assert holders(instance) == {"holder"}
    assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
