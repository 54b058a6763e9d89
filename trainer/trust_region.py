"""A bound on how far one step moves the policy: a step that goes further is halved until it keeps to it.

A learning rate bounds how far weights move, not what that does to what the policy says. Where one token decides what
follows, such as whether to ask or to answer, a step of the usual length can all but forbid it. Which steps do is only
known afterwards, so this is the backtracking of TRPO (arXiv 1502.05477, appendix C) behind an optimizer of any kind.
"""

from collections.abc import Sequence

from pydantic import JsonValue
from torch import Tensor

from trainer.losses import kl_estimate
from trainer.rows import TrainingRow
from trainer.stepping import Stepper, TrainingStopped

_HALVINGS = 10


class TrustRegion:
    """The policy as it is before a step, and the way back to it. Takes a copy of the weights that learn."""

    def __init__(self, stepper: Stepper, max_kl: float | None) -> None:
        """`max_kl` as in `UpdateConfig`; with None steps stay as they were taken, and nothing is copied or computed."""
        self._stepper = stepper
        self._max_kl = max_kl
        self._origin = [] if max_kl is None else [each.detach().clone() for each in stepper.parameters]

    def hold(self, rows: Sequence[TrainingRow], before: Tensor) -> dict[str, JsonValue]:
        """Halve the step that has been taken until it keeps to the bound; its KL, and the share of it that is left.

        rows: the step's. before: float32 (tokens,), nats, what the policy gave this process's trained tokens before
        it, pass by pass. The optimizer's averages stay. Raises TrainingStopped when a thousandth still goes too far.
        """
        if self._max_kl is None:
            return {}
        for halvings in range(_HALVINGS + 1):
            kl = self._moved(rows, before)
            if kl <= self._max_kl:
                return {"kl_of_step": kl, "step_share": 0.5**halvings}
            self._stepper.go_halfway_to(self._origin)
        raise TrainingStopped(
            f"1/{2**_HALVINGS} of a step still moves the policy by KL {kl:.3g} (max_kl is {self._max_kl:g}). "
            "The parent checkpoint is untouched. Lower learning_rate."
        )

    def _moved(self, rows: Sequence[TrainingRow], before: Tensor) -> float:
        """KL(before ‖ now), mean over the trained tokens of all processes, nats."""
        found = kl_estimate(before, self._stepper.logprobs(rows))
        total, tokens = self._stepper.team.total([found.sum().item(), len(found)])
        return total / tokens
