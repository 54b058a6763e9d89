"""The outcome of an episode. Three values: an environment that broke is neither a success nor a failure."""

from enum import StrEnum

from envs.record import Record


class Outcome(StrEnum):
    SOLVED = "solved"
    FAILED = "failed"
    ENVIRONMENT_ERROR = "environment_error"
    """Masked from training and counted; never a zero reward."""


class Verdict(Record):
    """An outcome with its reasons, readable by a person."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
