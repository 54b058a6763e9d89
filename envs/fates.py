"""What may become of a rollout in an update, beside being trained on."""

from enum import StrEnum


class LeftOut(StrEnum):
    """Why a rollout is not trained on."""

    ENVIRONMENT_ERROR = "environment_error"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    UNTRAINABLE = "untrainable"
    """Its log-probabilities are no log-probabilities. Older collections stored those of odd engines."""
    ALONE = "alone"
    """Nothing in its group is left to compare it with."""
    ZERO_VARIANCE = "zero_variance"
    """All rewards of its group are equal: constant outcome and no other signal."""


MASKED = frozenset({LeftOut.ENVIRONMENT_ERROR, LeftOut.TRUNCATED, LeftOut.MALFORMED, LeftOut.UNTRAINABLE})
"""Rollouts left out for these reasons are not compared with either."""
