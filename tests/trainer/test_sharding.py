"""Weights shared out among processes learn as those of one process do, and each process holds its part of them."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tests.trainer.small import REPOSITORY, in_a_process, small_job, small_rows
from trainer.process import STATE
from trainer.settings import UpdateConfig

HOLDS = """
import sys
from pathlib import Path
from trainer.jobs import UpdateJob
from trainer.policy import load_policy
from trainer.rows import read_training_rows
from trainer.stepping import Stepper
from trainer.team import joined
from trainer.warm_start import negative_log_likelihood

job = UpdateJob.model_validate_json(Path(sys.argv[1]).read_bytes())
rows = read_training_rows(Path(job.rows_path))
with joined(2) as team:
    stepper = Stepper(load_policy(job, job.config), job.config, team)
    stepper.step(rows, negative_log_likelihood(rows))
    moments = [slot[name] for slot in stepper.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    held = [sum(tensor.to_local().numel() for tensor in tensors) for tensors in (stepper.parameters, moments)]
    sys.stdout.write(f"{held[0]} {held[1]}\\n")  # in one piece, beside the other's
"""
DIES = """
import os, signal, sys
from pathlib import Path
from trainer.jobs import UpdateJob
from trainer.process import run

def die(line):
    if line.startswith("step 2 of"):
        os.kill(os.getpid(), signal.SIGKILL)

job = Path(sys.argv[1])
run(UpdateJob.model_validate_json(job.read_bytes()), die, job)
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"kl_coefficient": 0.1, "importance_cap": 2.0},
        {"method": "full", "gradient_checkpointing": True, "head_chunk_tokens": 4},
        {"dtype": "bfloat16"},
    ],
    ids=["adapter", "all weights", "adapter of a bfloat16 model"],
)
def test_weights_that_are_shared_out_end_as_those_of_one_process(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {"minibatches": 2, "learning_rate": 1e-4, "max_pack_tokens": 64, **settings}
    rows = small_rows(groups=5)
    one, two = (
        in_a_process(small_job(tmp_path, rows, processes=processes, shard=processes > 1, **settings), tmp_path / name)
        for name, processes in (("one", 1), ("two", 2))
    )
    loose = 1e-2 if "dtype" in settings else 1e-3
    for alone, shared in zip(one.steps, two.steps, strict=True):
        for name in alone.keys() - {"seconds", "mismatch_kl", "kl_to_parent"}:
            assert shared[name] == pytest.approx(alone[name], rel=loose, abs=1e-5), name
    left, right = (weights_of(Path(result.checkpoint_path)) for result in (one, two))
    assert left.keys() == right.keys()
    assert all(torch.allclose(left[name], right[name], atol=1e-4 if "dtype" in settings else 1e-6) for name in left)


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    [file] = checkpoint.glob("*.safetensors")
    return load_file(file)


def test_each_process_holds_its_part_of_weights_and_optimizer(tmp_path: Path) -> None:
    job = small_job(tmp_path, method="full", processes=2, shard=True)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    (tmp_path / "holds.py").write_text(HOLDS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "holds.py"), str(tmp_path / "job.json")]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    held = [[int(number) for number in line.split()] for line in told.splitlines()]
    weights = sum(tensor.numel() for tensor in load_file(tmp_path / "model" / "model.safetensors").values())
    assert [sum(column) for column in zip(*held, strict=True)] == [weights, 2 * weights]
    assert all(abs(share - weights / 2) <= weights / 10 for share, _ in held)


def test_after_a_kill_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    settings = {"minibatches": 3, "processes": 2, "shard": True, "method": "full", "learning_rate": 1e-3}
    job = small_job(tmp_path, small_rows(groups=6), **settings)
    straight = in_a_process(job, tmp_path / "straight")
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", DIES, str(folder / "job.json")]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert (folder / STATE).exists()
    assert in_a_process(job, folder).manifest.adapter_sha256 == straight.manifest.adapter_sha256


def test_one_process_has_nobody_to_share_with() -> None:
    with pytest.raises(ValidationError, match="shard: there is nobody to share with"):
        UpdateConfig(shard=True)
