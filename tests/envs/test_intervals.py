"""Intervals of means, and of shares."""

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.intervals import bootstrap_interval

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(VALUES)
def test_an_interval_lies_within_the_values_and_is_the_same_every_time(values) -> None:
    groups = [[value] for value in values]
    bounds = bootstrap_interval(groups, resamples=200)
    assert bounds is not None
    assert min(values) - 1e-9 <= bounds[0] <= bounds[1] <= max(values) + 1e-9
    assert bootstrap_interval(groups, resamples=200) == bounds


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    rng = Random(5)
    values = [rng.gauss(10, 2) for _ in range(400)]
    bounds = bootstrap_interval([[value] for value in values])
    assert bounds == pytest.approx((fmean(values) - 1.96 * 0.1, fmean(values) + 1.96 * 0.1), abs=0.03)


def test_more_confidence_is_a_wider_interval() -> None:
    groups = [[float(n)] for n in range(20)]
    (low, high), (lower, higher) = bootstrap_interval(groups, 0.8), bootstrap_interval(groups, 0.99)
    assert lower < low < high < higher


def test_values_of_one_group_count_as_little_as_one_value() -> None:
    """Asking about ten tasks ten times each says nothing more about other tasks."""
    once = [[float(n % 2)] for n in range(10)]
    ten_times = [group * 10 for group in once]
    apart = [[value] for group in ten_times for value in group]
    assert bootstrap_interval(ten_times) == bootstrap_interval(once)
    (low, high), (near_low, near_high) = bootstrap_interval(ten_times), bootstrap_interval(apart)
    assert low < near_low < near_high < high


def test_one_group_tells_nothing_of_others() -> None:
    assert bootstrap_interval([[1.0, 2.0], []]) is None
    assert bootstrap_interval([]) is None
