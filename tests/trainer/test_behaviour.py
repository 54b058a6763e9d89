"""Whose logprobs ratios are taken to: the engine's word, or the trainer's own."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.trainer.small import small_job, small_rows
from trainer.rows import TrainingRow
from trainer.settings import UpdateConfig
from trainer.update import update


def as_another_engine_says(rows: list[TrainingRow]) -> list[TrainingRow]:
    """The same tokens with logprobs that differ in the last digits."""
    return [
        row.model_copy(update={"behaviour": tuple(value and value + 1e-6 for value in row.behaviour)}) for row in rows
    ]


def test_ratios_to_the_trainers_own_logprobs_are_exactly_1_in_the_first_step(tmp_path: Path) -> None:
    first, *later = update(small_job(tmp_path, behaviour="trainer", minibatches=2)).steps
    assert {first[name] for name in ("ratio_p01", "ratio_p50", "ratio_p99")} == {1.0}
    assert any(step["ratio_p99"] != 1.0 for step in later), "by then the policy has left its parent"
    assert first["mismatch_mean"] > 0, "what the engine said is still told"
    assert update(small_job(tmp_path)).steps[0]["ratio_p50"] != 1.0


def test_then_the_engines_last_digits_decide_nothing(tmp_path: Path) -> None:
    rows = small_rows()
    for behaviour, same in (("trainer", True), ("engine", False)):
        said = [update(small_job(tmp_path, each, behaviour=behaviour)) for each in (rows, as_another_engine_says(rows))]
        assert (said[0].manifest.adapter_sha256 == said[1].manifest.adapter_sha256) is same
        assert (said[0].checkpoint_id == said[1].checkpoint_id) is same


def test_importance_sampling_needs_the_engines_word() -> None:
    with pytest.raises(ValidationError, match="importance_cap"):
        UpdateConfig(behaviour="trainer", importance_cap=2.0)
