"""The policy-gradient losses, one function each, and the table that names them.

All take trained tokens only (what tools and users wrote never gets here) and return this pack's part of the *global
token mean*: the sum over its tokens divided by the trained tokens of the whole step, so that packs simply add up.

logprobs, behaviour, advantages: float32 (tokens,), the first two in nats; sequence: int64 (tokens,), which row a token
belongs to; step_tokens: trained tokens of the step.
"""

from typing import Protocol

import torch
from torch import Tensor


class Loss(Protocol):
    """What the update calls."""

    def __call__(
        self,
        logprobs: Tensor,
        behaviour: Tensor,
        advantages: Tensor,
        sequence: Tensor,
        step_tokens: int,
        low: float,
        high: float,
    ) -> Tensor: ...


def clipped_ratio_loss(
    logprobs: Tensor,
    behaviour: Tensor,
    advantages: Tensor,
    sequence: Tensor,  # noqa: ARG001 (every loss has the same arguments)
    step_tokens: int,
    low: float = 0.2,
    high: float = 0.28,
) -> Tensor:
    """Clipped token-level ratio, wider above than below (DAPO, arXiv 2503.14476, eq. 8)."""
    ratio = (logprobs - behaviour).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    return -surrogate.sum() / step_tokens


def cispo_loss(
    logprobs: Tensor,
    behaviour: Tensor,
    advantages: Tensor,
    sequence: Tensor,  # noqa: ARG001 (every loss has the same arguments)
    step_tokens: int,
    low: float = 0.2,  # noqa: ARG001 (CISPO has no lower bound)
    high: float = 0.28,
) -> Tensor:
    """Clipped importance weight on the log-likelihood: no token loses its gradient (arXiv 2506.13585, eq. 4)."""
    weight = (logprobs - behaviour).exp().clamp(max=1 + high).detach()
    return -(weight * advantages * logprobs).sum() / step_tokens


def gspo_loss(
    logprobs: Tensor,
    behaviour: Tensor,
    advantages: Tensor,
    sequence: Tensor,
    step_tokens: int,
    low: float = 3e-4,
    high: float = 4e-4,
) -> Tensor:
    """Ratio and clipping per sequence, by the mean log-ratio of its tokens (arXiv 2507.18071, eq. 5 and 7).

    Weighted by tokens like the others. Its clip bounds are of another order: 3e-4 and 4e-4 in the paper.
    """
    rows = int(sequence.max()) + 1
    lengths = torch.zeros(rows, device=logprobs.device).index_add(0, sequence, torch.ones_like(logprobs))
    total = torch.zeros(rows, device=logprobs.device).index_add(0, sequence, logprobs - behaviour)
    ratio = (total / lengths.clamp(min=1)).exp()[sequence]
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    return -surrogate.sum() / step_tokens


LOSSES: dict[str, Loss] = {"clipped_ratio": clipped_ratio_loss, "cispo": cispo_loss, "gspo": gspo_loss}
