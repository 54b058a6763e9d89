"""No step moves the policy further than it may: on the way it is, nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.small import child_of, in_a_process, small_job, small_rows
from tests.trainer.test_moments import weights_of
from trainer.jobs import UpdateJob
from trainer.stepping import TrainingStopped
from trainer.update import update

FAR: dict[str, Any] = {"method": "full", "learning_rate": 0.3}
"""Of this model, a step that changes everything it says."""


def distance_seen_by_the_next_step(folder: Path, **settings: Any) -> float:
    """KL to the parent after the first of two steps on the same rows, as the second measures it."""
    _, second = update(small_job(folder, small_rows(groups=1), epochs=2, **FAR, **settings)).steps
    return float(second["kl_to_parent"])  # type: ignore[arg-type]


def test_a_step_goes_no_further_than_it_may(tmp_path: Path) -> None:
    assert distance_seen_by_the_next_step(tmp_path) > 0.1
    assert 0 < distance_seen_by_the_next_step(tmp_path, max_kl=0.01) < 0.02


def test_what_is_left_of_a_step_is_told(tmp_path: Path) -> None:
    held, loose = (update(small_job(tmp_path, **FAR, max_kl=bound)).steps[0] for bound in (0.01, 1e6))
    assert float(held["kl_of_step"]) <= 0.01 < float(loose["kl_of_step"])  # type: ignore[arg-type]
    assert float(held["step_share"]) < float(loose["step_share"]) == 1  # type: ignore[arg-type]


def test_a_step_within_the_bound_is_the_same_to_the_byte(tmp_path: Path) -> None:
    assert weights_of(update(small_job(tmp_path, max_kl=1e6))) == weights_of(update(small_job(tmp_path)))
    assert weights_of(update(small_job(tmp_path, max_kl=1e-4))) != weights_of(update(small_job(tmp_path)))


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_hold_a_step_as_one_does(tmp_path: Path, *, shard: bool) -> None:
    def job(**settings: Any) -> UpdateJob:
        return small_job(tmp_path, small_rows(groups=2), max_kl=0.01, **FAR, **settings)

    alone = update(job()).steps[0]
    together = in_a_process(job(processes=2, shard=shard), tmp_path / "together").steps[0]
    assert together["step_share"] == alone["step_share"] != 1
    assert together["kl_of_step"] == pytest.approx(alone["kl_of_step"], rel=1e-3)


def test_a_step_that_cannot_be_held_leaves_no_checkpoint(tmp_path: Path) -> None:
    job = small_job(tmp_path, learning_rate=1e6, max_kl=1e-9)
    parent = update(small_job(tmp_path))
    with pytest.raises(TrainingStopped, match=r"1/1024 of a step still moves the policy by KL .*Lower learning_rate"):
        update(child_of(parent, job))
    assert [path.name for path in Path(job.artefacts_dir).glob("*")] == [Path(parent.checkpoint_path).name]
