"""An optimizer that goes on from checkpoint to checkpoint: two updates are then two steps of one."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.trainer.small import child_of, in_a_process, small_job, small_rows
from trainer.checkpoint import ADAPTER, MOMENTS, WEIGHTS, CheckpointBroken, read_checkpoint
from trainer.jobs import TrainingResult, UpdateJob
from trainer.update import update


def weights_of(result: TrainingResult) -> bytes:
    folder = Path(result.checkpoint_path)
    return (folder / (WEIGHTS if result.manifest.weights == "whole" else ADAPTER)).read_bytes()


def twice(job: UpdateJob) -> TrainingResult:
    return update(child_of(update(job), job))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_updates_that_continue_moments_are_two_steps_of_one(tmp_path: Path, method: str) -> None:
    settings: dict[str, Any] = {"method": method, "learning_rate": 1e-3}
    rows = small_rows(groups=1)
    both_steps = update(small_job(tmp_path, rows, epochs=2, **settings))
    assert weights_of(twice(small_job(tmp_path, rows, moments="continued", **settings))) == weights_of(both_steps)
    assert weights_of(twice(small_job(tmp_path, rows, **settings))) != weights_of(both_steps)


def test_a_learning_rate_that_rises_goes_on_rising_in_the_next_update(tmp_path: Path) -> None:
    rows = small_rows(groups=1)
    settings: dict[str, Any] = {"learning_rate": 1e-3, "warmup_steps": 3}
    both_steps = update(small_job(tmp_path, rows, epochs=2, **settings))
    assert weights_of(twice(small_job(tmp_path, rows, moments="continued", **settings))) == weights_of(both_steps)
    assert weights_of(twice(small_job(tmp_path, rows, **settings))) != weights_of(both_steps)


def test_the_first_of_the_steps_in_which_it_rises_is_that_much_smaller(tmp_path: Path) -> None:
    """AdamW's first step is as large as the learning rate; lora_B begins at zero."""
    for warmup, rate in ((0, 1e-3), (4, 2e-4), (9, 1e-4)):
        result = update(small_job(tmp_path, learning_rate=1e-3, warmup_steps=warmup))
        adapter = load_file(Path(result.checkpoint_path) / ADAPTER)
        moved = max(float(tensor.abs().max()) for name, tensor in adapter.items() if "lora_B" in name)
        assert moved == pytest.approx(rate, rel=0.01)
    config = small_job(tmp_path, learning_rate=1e-3, warmup_steps=4).config
    assert [config.learning_rate_at(step) for step in (0, 1, 4, 5)] == pytest.approx([2e-4, 4e-4, 1e-3, 1e-3])


def test_a_learning_rate_falls_to_a_tenth_after_it_has_risen_and_stays_there(tmp_path: Path) -> None:
    config = small_job(tmp_path, learning_rate=1e-3, warmup_steps=1, decay_steps=3).config
    rates = [config.learning_rate_at(step) for step in range(7)]
    assert rates == pytest.approx([5e-4, 1e-3, 7e-4, 4e-4, 1e-4, 1e-4, 1e-4])


def test_a_learning_rate_that_falls_goes_on_falling_in_the_next_update(tmp_path: Path) -> None:
    rows = small_rows(groups=1)
    settings: dict[str, Any] = {"learning_rate": 1e-3, "decay_steps": 2, "moments": "continued"}
    both_steps = update(small_job(tmp_path, rows, epochs=2, **settings))
    assert weights_of(twice(small_job(tmp_path, rows, **settings))) == weights_of(both_steps)
    whole = {**settings, "decay_steps": 0}
    assert weights_of(twice(small_job(tmp_path, rows, **whole))) != weights_of(both_steps)


def test_two_processes_with_shared_out_weights_continue_them_too(tmp_path: Path) -> None:
    rows = small_rows(groups=2)
    settings: dict[str, Any] = {"moments": "continued", "learning_rate": 1e-3}
    first = update(small_job(tmp_path, rows, **settings))
    alone = update(child_of(first, small_job(tmp_path, rows, **settings)))
    shared = in_a_process(
        child_of(first, small_job(tmp_path, rows, processes=2, shard=True, **settings)), tmp_path / "shared"
    )
    left, right = (load_file(Path(result.checkpoint_path) / MOMENTS) for result in (alone, shared))
    assert left.keys() == right.keys()
    assert all(left[name].sub(right[name]).abs().max() < 1e-6 for name in left)
    assert {value.item() for name, value in right.items() if name.endswith(".step")} == {2}


def test_an_update_after_one_of_another_method_begins_them_anew(tmp_path: Path) -> None:
    rows = small_rows(groups=1)
    adapter = update(small_job(tmp_path, rows, moments="continued"))
    job = child_of(adapter, small_job(tmp_path, rows, method="full", learning_rate=1e-4))
    continuing = job.model_copy(update={"config": job.config.model_copy(update={"moments": "continued"})})
    assert weights_of(update(continuing)) == weights_of(update(job))


def test_altered_moments_are_noticed_before_anything_is_trained(tmp_path: Path) -> None:
    job = small_job(tmp_path, moments="continued")
    parent = update(job)
    with (Path(parent.checkpoint_path) / MOMENTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointBroken, match=rf"{MOMENTS}: sha256 is .* was altered"):
        update(child_of(parent, job))
    (Path(parent.checkpoint_path) / MOMENTS).unlink()
    with pytest.raises(CheckpointBroken, match=f"{MOMENTS}: not there"):
        read_checkpoint(Path(parent.checkpoint_path))


def test_checkpoints_that_nothing_continues_hold_no_moments(tmp_path: Path) -> None:
    result = update(small_job(tmp_path))
    assert (
        not (Path(result.checkpoint_path) / MOMENTS).exists() and "moments" not in result.manifest.canonical().decode()
    )
