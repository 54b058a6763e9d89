"""The policy-gradient losses, one function each, and the table that names them; the KL penalty and the weight beside.

All take trained tokens only (what tools and users wrote never gets here) and give a loss per token; `trainer.objective`
adds them up. logprobs: of the policy that learns, with gradient; anchor: what ratios are taken to; advantages: all
float32 (tokens,), logprobs in nats; sequence: int64 (tokens,), which row a token belongs to.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class TokenLosses(NamedTuple):
    """A loss of every token, and what it made of the token's ratio."""

    losses: Tensor  # float32 (tokens,), with gradient
    ratio: Tensor  # float32 (tokens,), without gradient
    clipped: Tensor  # bool (tokens,): the bound holds, not the ratio


class Loss(Protocol):
    """What the update calls."""

    def __call__(
        self, logprobs: Tensor, anchor: Tensor, advantages: Tensor, sequence: Tensor, low: float, high: float
    ) -> TokenLosses: ...


def clipped_ratio_loss(
    logprobs: Tensor,
    anchor: Tensor,
    advantages: Tensor,
    sequence: Tensor,  # noqa: ARG001 (every loss has the same arguments)
    low: float = 0.2,
    high: float = 0.28,
) -> TokenLosses:
    """Clipped token-level ratio, wider above than below (DAPO, arXiv 2503.14476, eq. 8)."""
    return _clipped((logprobs - anchor).exp(), advantages, low, high)


def cispo_loss(
    logprobs: Tensor,
    anchor: Tensor,
    advantages: Tensor,
    sequence: Tensor,  # noqa: ARG001 (every loss has the same arguments)
    low: float = 0.2,  # noqa: ARG001 (CISPO has no lower bound)
    high: float = 0.28,
) -> TokenLosses:
    """Clipped importance weight on the log-likelihood: no token loses its gradient (arXiv 2506.13585, eq. 4)."""
    ratio = (logprobs - anchor).exp().detach()
    return TokenLosses(-(ratio.clamp(max=1 + high) * advantages * logprobs), ratio, ratio > 1 + high)


def gspo_loss(
    logprobs: Tensor,
    anchor: Tensor,
    advantages: Tensor,
    sequence: Tensor,
    low: float = 3e-4,
    high: float = 4e-4,
) -> TokenLosses:
    """Ratio and clipping per sequence, by the mean log-ratio of its tokens (arXiv 2507.18071, eq. 5 and 7).

    Weighted by tokens like the others. Its clip bounds are of another order: 3e-4 and 4e-4 in the paper.
    """
    rows = int(sequence.max()) + 1
    lengths = torch.zeros(rows, device=logprobs.device).index_add(0, sequence, torch.ones_like(logprobs))
    total = torch.zeros(rows, device=logprobs.device).index_add(0, sequence, logprobs - anchor)
    return _clipped((total / lengths.clamp(min=1)).exp()[sequence], advantages, low, high)


def _clipped(ratio: Tensor, advantages: Tensor, low: float, high: float) -> TokenLosses:
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    with torch.no_grad():
        clipped = ((advantages > 0) & (ratio > 1 + high)) | ((advantages < 0) & (ratio < 1 - low))
    return TokenLosses(-surrogate, ratio.detach(), clipped)


LOSSES: dict[str, Loss] = {"clipped_ratio": clipped_ratio_loss, "cispo": cispo_loss, "gspo": gspo_loss}


def kl_estimate(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Per token sampled from p, KL(p ‖ q) as q/p − 1 − log(q/p): unbiased, never negative.

    k3 of http://joschu.net/blog/kl-approx.html, and the penalty of GRPO (arXiv 2402.03300, eq. 4). `logprobs` are p's,
    `reference` q's.
    """
    log_ratio = reference - logprobs
    return log_ratio.exp() - 1 - log_ratio


def importance_weight(trainer: Tensor, engine: Tensor, cap: float) -> Tensor:
    """min(p_trainer / p_engine, cap) per token: truncated importance sampling, one-sided.

    Both are of the policy that collected, so they differ only by how the two compute (https://fengyao.notion.site/
    off-policy-rl; the truncation is IMPALA's ρ̄, arXiv 1802.01561, eq. 1).
    """
    return (trainer - engine).exp().clamp(max=cap)
