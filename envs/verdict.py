"""The outcome of an episode. Three values: an environment that broke is neither a success nor a failure."""

from enum import StrEnum

from envs.display import Shown, one_line, table
from envs.record import Record


class Outcome(StrEnum):
    SOLVED = "solved"
    FAILED = "failed"
    ENVIRONMENT_ERROR = "environment_error"
    """Masked from training and counted; never a zero reward."""


class Verdict(Shown, Record):
    """The outcome of an episode, `solved`, `failed` or `environment_error`, with reasons that a person can read.

    `Environment.judge` and `Episode.verdict` return it. An environment error is no failure of the policy: it is left
    out of training and counted.
    """

    outcome: Outcome
    reasons: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return one_line("Verdict", str(self.outcome), *self.reasons)

    def _repr_html_(self) -> str:
        return table(f"Verdict: {self.outcome}", ("reason",), [(reason,) for reason in self.reasons])
