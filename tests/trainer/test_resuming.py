"""Killed at any moment and started again, a run seals what it would have sealed undisturbed, byte for byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.small import REPOSITORY, in_a_process, small_job
from trainer.checkpoint import ADAPTER, MANIFEST, WEIGHTS
from trainer.jobs import UpdateJob
from trainer.process import STATE
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


def contents(folder: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert MANIFEST in files and (ADAPTER in files or WEIGHTS in files)
    return files


def without_time(step: dict) -> dict:
    return {name: value for name, value in step.items() if name != "seconds"}
