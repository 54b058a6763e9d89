"""A step that cannot be used stops the run: the rows are named, the parent is intact, nothing is written."""

from pathlib import Path

import pytest

from tests.trainer.small import child_of, in_a_process, small_job, small_rows
from trainer.jobs import UpdateJob
from trainer.stepping import TrainingStopped
from trainer.update import update


def poisoned(folder: Path, advantage: float, **settings: float) -> UpdateJob:
    """A child of a good parent, with one row among sixteen that no step survives."""
    parent = update(small_job(folder))
    rows = [row.model_copy(update={"advantage": advantage}) if row.name == "r21/0" else row for row in small_rows()]
    return child_of(parent, small_job(folder, rows, **settings))


@pytest.mark.parametrize(
    ("advantage", "settings", "said"),
    [
        (1e39, {}, r"the loss is -inf on rows r21/0 \(gradient norm (nan|inf) alone\)"),
        (1e12, {}, r"the gradient norm is .* on rows r21/0 \(gradient norm .*e\+"),
        (1e3, {"exploding_grad_norm": 10.0}, r"the gradient norm is .* on rows r21/0"),
    ],
    ids=["not finite", "exploding", "above the limit"],
)
def test_the_row_that_did_it_is_named_first_and_the_parent_is_intact(tmp_path: Path, advantage, settings, said) -> None:
    job = poisoned(tmp_path, advantage, **settings)
    before = {path: path.read_bytes() for path in Path(job.artefacts_dir).rglob("*") if path.is_file()}
    with pytest.raises(TrainingStopped, match=said) as stopped:
        update(job, state_path=tmp_path / "state.pt")
    assert "and 8 more" in str(stopped.value) or "loss" in said, "of a whole step the worst eight are named"
    after = {path: path.read_bytes() for path in Path(job.artefacts_dir).rglob("*") if path.is_file()}
    assert before == after and not (tmp_path / "state.pt").exists()


def test_where_one_process_stops_all_do(tmp_path: Path) -> None:
    job = poisoned(tmp_path, 1e39, processes=2)
    with pytest.raises(AssertionError, match=r"TrainingStopped: the loss is -inf on rows r21/0"):
        in_a_process(job, tmp_path / "job")
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"job.json", ".lock"}
