"""Updates and warm starts: pure functions of what their job names."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from envs.environment import Environment
from envs.task import Task
from trainer.advantages import advantages_of
from trainer.checkpoint import ADAPTER, ADAPTER_CONFIG, CheckpointBroken, read_checkpoint
from trainer.collect import Assignment, Collection, collect
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob
from trainer.rewards import measures_of, preference_or_default, score_group
from trainer.rows import TrainingRow, read_training_rows, training_rows, write_training_rows
from trainer.settings import RewardConfig, RolloutConfig, UpdateConfig, WarmStartConfig
from trainer.stepping import TrainingStopped
from trainer.update import minibatches, update
from trainer.warm_start import warm_start

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def rows_path(
    tmp_path, shop: Environment, tasks: list[Task], tokenizer, assignment: Assignment, scripted, golden_script
):
    """Rollouts of a policy that fails every other attempt, rewarded and written as training rows."""
    attempts: dict[str, int] = {}

    def half_right(told: str, turn: int) -> str:
        request = told.split("user\n")[1].split("<")[0]
        if turn == 0:
            attempts[request] = attempts.get(request, 0) + 1
        return golden_script(told, turn) if attempts[request] % 2 else "Answer: I would rather not."

    config = RolloutConfig(samples_per_task=4, concurrency=1)
    rollouts = asyncio.run(
        collect(Collection(tasks, {shop.id: shop}, assignment, config), scripted(half_right), tokenizer)
    )
    rewards = []
    for task in tasks:
        group = [measures_of(r, RewardConfig()) for r in rollouts if r.task_id == task.id]
        rewards += score_group(group, preference_or_default(task.preference, RewardConfig()))
    advantages = advantages_of(rewards, {r.id: r.stop_reason for r in rollouts}, RewardConfig())
    path = tmp_path / "rows.parquet"
    write_training_rows(path, training_rows(rollouts, advantages))
    return path


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, rows_path: Path) -> UpdateJob:
    return UpdateJob(
        base_model_name="tiny",
        base_model_path=str(tiny_model),
        base_model_fingerprint="tiny@0",
        rows_path=str(rows_path),
        artefacts_dir=str(tmp_path / "artefacts"),
        batch_ids=("batch",),
        code_version="test",
        seed=3,
        config=UpdateConfig(minibatches=2),
    )


@pytest.fixture
def warm_job(tmp_path: Path, tiny_model: Path, shop: Environment, tasks: list[Task]) -> WarmStartJob:
    (tmp_path / "tasks.json").write_text(json.dumps([task.model_dump(mode="json") for task in tasks]))
    (tmp_path / "environments.json").write_text(json.dumps([shop.spec.model_dump(mode="json")]))
    return WarmStartJob(
        base_model_name="tiny",
        base_model_path=str(tiny_model),
        base_model_fingerprint="tiny@0",
        tasks_path=str(tmp_path / "tasks.json"),
        environments_path=str(tmp_path / "environments.json"),
        artefacts_dir=str(tmp_path / "artefacts"),
        config=WarmStartConfig(steps=6, examples_per_step=4, learning_rate=1e-2),
    )


def in_another_process(job: UpdateJob | WarmStartJob, folder: Path) -> TrainingResult:
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "done in" in done.stderr
    return TrainingResult.model_validate_json((folder / "result.json").read_bytes())


@pytest.mark.parametrize("kind", ["update", "warm_start"])
def test_the_same_job_gives_the_same_bytes_in_two_processes(kind, job, warm_job, tmp_path) -> None:
    found = []
    for name in ("one", "two"):
        chosen = (job if kind == "update" else warm_job).model_copy(
            update={"artefacts_dir": str(tmp_path / name / "a")}
        )
        result = in_another_process(chosen, tmp_path / name)
        folder = Path(result.checkpoint_path)
        found.append([result.checkpoint_id, *((folder / f).read_bytes() for f in (ADAPTER, ADAPTER_CONFIG))])
        assert {path.name for path in folder.parent.iterdir()} == {result.checkpoint_id}
    assert found[0] == found[1]


def test_an_update_makes_what_was_rewarded_likelier(job: UpdateJob) -> None:
    """The surrogate, −mean(ratio × advantage), falls when the same rows are seen again."""
    config = UpdateConfig(epochs=4, learning_rate=1e-3)
    steps = update(job.model_copy(update={"config": config})).steps
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_the_manifest_says_what_the_checkpoint_was_made_from(job: UpdateJob) -> None:
    result = update(job)
    manifest = read_checkpoint(Path(result.checkpoint_path))
    assert manifest == result.manifest and manifest.id == result.checkpoint_id
    assert (manifest.parent, manifest.base_model, manifest.batch_ids) == (None, "tiny@0", ("batch",))
    assert manifest.config["minibatches"] == 2 and manifest.seed == 3 and manifest.code_version == "test"
    assert len(result.steps) == 2 and result.trained_tokens > 0
    assert all(
        step["seconds"] > 0 and 50 < step["peak_memory_mib"] <= result.peak_memory_mib + 1 for step in result.steps
    )
    assert "/" not in json.loads((Path(result.checkpoint_path) / ADAPTER_CONFIG).read_text())["base_model_name_or_path"]


def test_an_update_continues_from_its_parent_and_leaves_it_alone(job: UpdateJob) -> None:
    parent = update(job)
    before = (Path(parent.checkpoint_path) / ADAPTER).read_bytes()
    child_job = job.model_copy(
        update={"parent_checkpoint_id": parent.checkpoint_id, "parent_adapter_path": parent.checkpoint_path}
    )
    child = update(child_job)
    assert child.manifest.parent == parent.checkpoint_id and child.checkpoint_id != parent.checkpoint_id
    assert (Path(parent.checkpoint_path) / ADAPTER).read_bytes() == before
    old, new = (load_file(Path(found.checkpoint_path) / ADAPTER) for found in (parent, child))
    moved = max(float((old[name] - new[name]).abs().max()) for name in old)
    assert 0 < moved < 10 * job.config.learning_rate * 2


@pytest.mark.parametrize(
    ("config", "advantage", "said"),
    [(UpdateConfig(), 1e39, "the loss is -inf"), (UpdateConfig(exploding_grad_norm=1e-9), 1.0, "gradient norm")],
)
def test_an_unusable_step_stops_and_names_its_rows(job: UpdateJob, config, advantage, said) -> None:
    rows = [row.model_copy(update={"advantage": advantage}) for row in read_training_rows(Path(job.rows_path))][:1]
    write_training_rows(Path(job.rows_path), rows)
    with pytest.raises(TrainingStopped, match=f"{said}.*{rows[0].rollout_id}"):
        update(job.model_copy(update={"config": config}))
    assert not Path(job.artefacts_dir).exists()


def test_minibatches_hold_whole_groups_and_every_row_once(job: UpdateJob) -> None:
    rows = read_training_rows(Path(job.rows_path))
    batches = minibatches(rows, UpdateConfig(minibatches=3), seed=1)
    assert sorted(row.name for batch in batches for row in batch) == sorted(row.name for row in rows)
    homes = [{row.group_id for row in batch} for batch in batches]
    assert len(homes) == 3 and sum(map(len, homes)) == len({row.group_id for row in rows})
    assert minibatches(list(reversed(rows)), UpdateConfig(minibatches=3), seed=1) == batches


def test_a_warm_start_learns_its_examples(warm_job: WarmStartJob) -> None:
    lines: list[str] = []
    result = warm_start(warm_job, lines.append)
    losses = [step["loss"] for step in result.steps]
    assert losses[-1] < losses[0] - 0.1
    assert len(lines) == 6 and "step 6 of 6" in lines[-1]
    assert result.manifest.kind == "warm_start" and read_checkpoint(Path(result.checkpoint_path))


def test_a_policy_ends_with_the_mean_of_its_last_steps(warm_job: WarmStartJob) -> None:
    def adapter(**settings: int) -> dict[str, Tensor]:
        config = warm_job.config.model_copy(update=settings)
        return load_file(Path(warm_start(warm_job.model_copy(update={"config": config})).checkpoint_path) / ADAPTER)

    second, third = adapter(steps=2), adapter(steps=3)
    mean = adapter(steps=3, average_steps=2)
    assert all(torch.allclose(mean[name], (second[name] + third[name]) / 2, atol=1e-7) for name in third)
    assert any(not torch.allclose(mean[name], third[name], atol=1e-5) for name in third)


def test_the_mean_of_weights_that_are_shared_out_is_that_of_one_process(warm_job: WarmStartJob, tmp_path: Path) -> None:
    found = []
    for name, settings in (("one", {}), ("two", {"processes": 2, "shard": True})):
        config = warm_job.config.model_copy(update={"steps": 3, "average_steps": 2, **settings})
        result = in_another_process(warm_job.model_copy(update={"config": config}), tmp_path / name)
        found.append(load_file(Path(result.checkpoint_path) / ADAPTER))
    one, two = found
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_steps_of_no_whole_number_of_tasks_are_refused() -> None:
    assert WarmStartConfig(examples_per_step=9, examples_per_task=3).tasks_per_step == 3
    with pytest.raises(ValidationError, match=r"examples_per_step: 8 are no whole number of tasks.*examples_per_task"):
        WarmStartConfig(examples_per_step=8, examples_per_task=3)


def test_a_mean_of_more_steps_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match="average_steps: 5 of 4 steps"):
        WarmStartConfig(steps=4, average_steps=5)


@pytest.mark.parametrize("average_steps", [0, 5])
def test_a_warm_start_that_was_cut_off_goes_on_to_the_same_bytes(
    warm_job: WarmStartJob, tmp_path: Path, average_steps: int
) -> None:
    config = warm_job.config.model_copy(update={"average_steps": average_steps})
    warm_job = warm_job.model_copy(update={"config": config})

    def cut_off(line: str) -> None:
        if line.startswith("step 3 of 6"):
            raise InterruptedError

    straight = warm_start(warm_job.model_copy(update={"artefacts_dir": str(tmp_path / "straight")}))
    with pytest.raises(InterruptedError):
        warm_start(warm_job, cut_off, tmp_path / "state.pt")
    lines: list[str] = []
    resumed = warm_start(warm_job, lines.append, tmp_path / "state.pt")
    assert len(lines) == 1 + 3 and lines[0] == "going on after step 3"
    assert resumed.manifest.adapter_sha256 == straight.manifest.adapter_sha256


def test_an_altered_adapter_is_noticed(job: UpdateJob) -> None:
    folder = Path(update(job).checkpoint_path)
    with (folder / ADAPTER).open("ab") as adapter:
        adapter.write(b"x")
    with pytest.raises(CheckpointBroken, match="altered"):
        read_checkpoint(folder)


def test_a_row_whose_first_token_is_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing before it"):
        TrainingRow(rollout_id="r", group_id="g", token_ids=(1,), trained=(True,), behaviour=(0.0,), advantage=1.0)
