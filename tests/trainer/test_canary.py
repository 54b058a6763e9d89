"""The canary's comparison; the engine's side is in test_engine."""

import pytest

from trainer.canary import CanaryFailed, compare


def test_equal_logprobs_pass_and_report_the_difference() -> None:
    report = compare([-1.0, -2.0], [-1.0001, -2.0])
    assert report.largest_difference_nats == pytest.approx(1e-4)


@pytest.mark.parametrize("engine", [[-1.0, -2.5, -3.0], [-1.0, float("nan"), -3.0]])
def test_a_difference_is_an_error_that_names_both_numbers(engine: list[float]) -> None:
    with pytest.raises(CanaryFailed, match=rf"token 1 of 3.*{engine[1]:.6f}.*-2\.000000"):
        compare(engine, [-1.0, -2.0, -3.0])


def test_nothing_compared_is_not_a_pass() -> None:
    with pytest.raises(CanaryFailed, match="nothing to compare"):
        compare([], [])
