"""Killed at any moment and started again, a run seals what it would have sealed undisturbed, byte for byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock

from tests.trainer.small import REPOSITORY, in_a_process, small_job
from trainer.checkpoint import ADAPTER, MANIFEST, WEIGHTS
from trainer.jobs import UpdateJob
from trainer.process import LOCK, RESULT, STATE
from trainer.update import update

AFTER_A_STEP = """
import os, signal, sys
from pathlib import Path
from trainer.jobs import UpdateJob
from trainer.update import update

def die(line):
    if line.startswith("step 3 of"):
        os.kill(os.getpid(), signal.SIGKILL)

job = Path(sys.argv[1])
update(UpdateJob.model_validate_json(job.read_bytes()), die, job.with_name("state.pt"))
"""
WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from trainer.jobs import UpdateJob
from trainer.update import update
import torch

saved, count = torch.save, []

def half_a_file(state, opened):
    count.append(1)
    if len(count) == 3:
        opened.write(b"half")
        opened.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    saved(state, opened)

torch.save = half_a_file
job = Path(sys.argv[1])
update(UpdateJob.model_validate_json(job.read_bytes()), lambda _: None, job.with_name("state.pt"))
"""


def killed(job: UpdateJob, folder: Path, program: str) -> None:
    """The update in a process that gets SIGKILL in or after its third step."""
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", program, str(folder / "job.json")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (folder / STATE).exists() and not Path(job.artefacts_dir).exists()


@pytest.mark.parametrize(
    ("program", "method"), [(AFTER_A_STEP, "lora"), (AFTER_A_STEP, "full"), (WHILE_WRITING, "lora")],
    ids=["after a step", "after a step, whole weights", "while writing the state"],
)  # fmt: skip
def test_a_killed_update_goes_on_to_the_same_bytes(tmp_path: Path, program: str, method: str) -> None:
    job = small_job(
        tmp_path, method=method, minibatches=2, epochs=3, kl_coefficient=0.1, importance_cap=2.0, weight_decay=0.01
    )
    straight = in_a_process(job, tmp_path / "straight")
    found = contents(straight.checkpoint_path)
    elsewhere = job.model_copy(update={"artefacts_dir": str(tmp_path / "again")})
    killed(elsewhere, tmp_path / "jobs", program)
    again = in_a_process(elsewhere, tmp_path / "jobs")
    assert again.checkpoint_id == straight.checkpoint_id
    assert contents(again.checkpoint_path) == found
    assert [without_time(step) for step in again.steps] == [without_time(step) for step in straight.steps]
    assert not (tmp_path / "jobs" / STATE).exists(), "it goes with the result"


def test_the_steps_that_were_taken_are_not_taken_again(tmp_path: Path) -> None:
    job = small_job(tmp_path, minibatches=2, epochs=3)
    killed(job, tmp_path / "jobs", AFTER_A_STEP)
    lines: list[str] = []
    update(job, lines.append, tmp_path / "jobs" / STATE)
    assert lines[0] == "going on after step 3"
    assert [line.split(":")[0] for line in lines[1:]] == [f"step {number} of 6" for number in (4, 5, 6)]


def test_the_state_of_other_rows_is_not_taken_up(tmp_path: Path) -> None:
    job = small_job(tmp_path, minibatches=2)
    state = tmp_path / STATE
    update(job, state_path=state)
    assert state.exists()
    other = job.model_copy(update={"seed": 4, "artefacts_dir": str(tmp_path / "b")})
    lines: list[str] = []
    resumed = update(other, lines.append, state)
    assert "beginning anew" in lines[0]
    assert resumed.manifest.adapter_sha256 == update(other).manifest.adapter_sha256


@pytest.mark.parametrize("content", [b"", b"half of a file", None], ids=["empty", "half", "of another program"])
def test_a_state_that_cannot_be_read_is_put_aside_by_name_and_the_run_begins_anew(
    tmp_path: Path, content: bytes | None
) -> None:
    job, state = small_job(tmp_path, minibatches=2), tmp_path / STATE
    if content is None:
        torch.save([1, 2], state)
    else:
        state.write_bytes(content)
    lines: list[str] = []
    anew = update(job, lines.append, state)
    assert str(state) in lines[0] and "beginning anew" in lines[0]
    assert state.with_name(f"{STATE}.broken").exists(), "it is kept"
    straight = job.model_copy(update={"artefacts_dir": str(tmp_path / "straight")})
    assert anew.manifest.adapter_sha256 == update(straight).manifest.adapter_sha256


def test_a_second_trainer_of_a_job_waits_and_takes_the_result_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(small_job(tmp_path, minibatches=2, epochs=3).model_dump_json())
    command = [sys.executable, "-m", "trainer.process", str(tmp_path / "job.json")]
    with FileLock(tmp_path / LOCK):  # so that both are there before one of them begins
        trainers = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for trainer in trainers:
            assert trainer.stderr is not None and "waiting for another process" in trainer.stderr.readline()
    logs = [trainer.communicate(timeout=120)[1] for trainer in trainers]
    assert [trainer.returncode for trainer in trainers] == [0, 0], logs
    assert sorted("step 1 of 6" in log for log in logs) == [False, True]


def test_what_a_killed_trainer_was_writing_is_swept_by_the_next(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / f".{STATE}.4711").write_bytes(b"half")
    in_a_process(job, tmp_path / "job")
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"job.json", RESULT, LOCK}


STARTER = """
import os, subprocess, sys
from trainer.process import ending_with_us
command = [sys.executable, "-m", "trainer.process", sys.argv[1]]
trainer = subprocess.Popen(command, env={**os.environ, **ending_with_us()})
print(trainer.pid, flush=True)
trainer.wait()
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_trainer_ends_with_the_process_that_started_it(tmp_path: Path, processes: int) -> None:
    """Also the processes that the trainer has started."""
    job = small_job(tmp_path, epochs=500, processes=processes)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", STARTER, str(tmp_path / "job.json")]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None and starter.stderr is not None
        trainer = psutil.Process(int(starter.stdout.readline()))
        line = next(line for line in starter.stderr if "step 1 of" in line or "Error" in line)
        assert "step 1 of" in line, starter.stderr.read()
        family = [trainer, *trainer.children()]
        assert len(family) == processes
        starter.kill()
        _, living = psutil.wait_procs(family, timeout=30)
    assert not living


def contents(folder: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert MANIFEST in files and (ADAPTER in files or WEIGHTS in files)
    return files


def without_time(step: dict) -> dict:
    return {name: value for name, value in step.items() if name != "seconds"}
