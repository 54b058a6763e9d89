"""Several processes take the step that one would take."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.utils.other import get_free_port
from safetensors.torch import load_file

from tests.trainer.small import REPOSITORY, in_a_process, small_job, small_rows
from trainer.checkpoint import ADAPTER, read_checkpoint
from trainer.jobs import TrainingResult, UpdateJob
from trainer.process import RESULT
from trainer.team import Team


def test_two_processes_give_the_result_of_one_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    settings = {"minibatches": 2, "epochs": 2, "kl_coefficient": 0.1, "importance_cap": 2.0, "learning_rate": 1e-4}
    rows = small_rows(groups=5)
    one, two, again = (
        in_a_process(small_job(tmp_path, rows, processes=processes, **settings), tmp_path / name)
        for name, processes in (("one", 1), ("two", 2), ("again", 2))
    )
    assert two.manifest.adapter_sha256 == again.manifest.adapter_sha256
    assert read_checkpoint(Path(two.checkpoint_path)).config["processes"] == 2
    for alone, shared in zip(one.steps, two.steps, strict=True):
        assert alone.keys() == shared.keys()
        assert all(
            shared[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-6) for name in alone.keys() - {"seconds"}
        )
    left, right = (load_file(Path(result.checkpoint_path) / ADAPTER) for result in (one, two))
    assert all(torch.allclose(left[name], right[name], atol=1e-6) for name in left)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {".lock", "job.json", "result.json"}


@pytest.mark.parametrize("shard", [False, True])
def test_a_process_without_a_group_takes_part(tmp_path: Path, shard: bool) -> None:
    rows = small_rows(groups=1)
    one, two = (
        in_a_process(small_job(tmp_path, rows, processes=processes, shard=shared), tmp_path / f"{processes}")
        for processes, shared in ((1, False), (2, shard))
    )
    assert two.steps[0]["grad_norm"] == pytest.approx(one.steps[0]["grad_norm"], rel=1e-5)


def test_processes_of_a_launcher_on_two_machines_give_the_same_bytes(tmp_path: Path) -> None:
    """Both machines are this one: they know of each other by the address alone."""
    job = small_job(tmp_path, processes=2, minibatches=2)
    here = in_a_process(job, tmp_path / "here")
    machines = on_two_machines(job, tmp_path / "apart")
    for machine in machines:
        said = machine.communicate()[1]
        assert machine.returncode == 0, said
    apart = TrainingResult.model_validate_json((tmp_path / "apart" / RESULT).read_bytes())
    assert apart.manifest.adapter_sha256 == here.manifest.adapter_sha256


def test_another_number_of_processes_than_the_settings_say_is_refused(tmp_path: Path) -> None:
    machines = on_two_machines(small_job(tmp_path, processes=1), tmp_path / "apart")
    for machine in machines:
        said = machine.communicate()[1]
        assert machine.returncode and "processes: 1, but the launcher started 2" in said
    assert {path.name for path in (tmp_path / "apart").iterdir()} == {".lock", "job.json"}


def on_two_machines(job: UpdateJob, folder: Path) -> list["subprocess.Popen[str]"]:
    """torchrun on each of two machines, one process each."""
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{get_free_port()}"]
    command += ["-m", "trainer.process", str(folder / "job.json")]
    return [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(2)]


def test_groups_are_dealt_whole_and_each_once() -> None:
    rows = small_rows(groups=5)
    shares = [Team(rank, 2).share(rows) for rank in (0, 1)]
    assert sorted(row.name for share in shares for row in share) == sorted(row.name for row in rows)
    homes = [{row.group_id for row in share} for share in shares]
    assert not homes[0] & homes[1] and {len(home) for home in homes} == {2, 3}
