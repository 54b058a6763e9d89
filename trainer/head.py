"""The language-model head on the tokens that are trained: their logprobs and entropies, without keeping logits.

Logits are by far the largest tensor of a small model, and the head a fifth of its weights, so both count: a chunk of
tokens has its logits at a time, and a head that does not learn is multiplied with twice instead of three times.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_Scored: TypeAlias = tuple[Tensor, Tensor]


def score_tokens(head: torch.nn.Module, hidden: Tensor, target: Tensor, chunk_tokens: int) -> _Scored:
    """Logprobs with gradient and entropies without, float32 (tokens,) in nats, `chunk_tokens` tokens at a time.

    hidden: (tokens, width), the states that predict; target: int64 (tokens,).
    """
    frozen = isinstance(head, torch.nn.Linear) and not any(weight.requires_grad for weight in head.parameters())
    of_chunk: Callable[..., _Scored] = _frozen_chunk if frozen else _learning_chunk
    chunks = zip(hidden.split(chunk_tokens), target.split(chunk_tokens), strict=True)
    logprobs, entropies = zip(*(of_chunk(head, *chunk) for chunk in chunks), strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _frozen_chunk(head: torch.nn.Linear, hidden: Tensor, target: Tensor) -> _Scored:
    return _FrozenHead.apply(hidden, target, head.weight, head.bias)


class _FrozenHead(torch.autograd.Function):
    """A token's logprob depends on its own hidden state alone: ∂ log p(t) / ∂h = W[t] − Σ p(v)·W[v].

    That is one vector of the width of h, found while the logits are there; all that the backward pass does is scale it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, target: Tensor, weight: Tensor, bias: Tensor | None) -> _Scored:
        ctx.hidden_dtype = hidden.dtype
        logits = torch.nn.functional.linear(hidden, weight, bias).float()  # (chunk, vocabulary)
        logits -= logits.amax(dim=-1, keepdim=True)
        exponentials = logits.exp()
        total = exponentials.sum(dim=-1, keepdim=True)
        log_total = total.log()[:, 0]
        # H = log Z − Σ p·logit
        entropy = log_total - (exponentials[:, None, :] @ logits[:, :, None])[:, 0, 0] / total[:, 0]
        if ctx.needs_input_grad[0]:
            expected = (exponentials.to(weight.dtype) @ weight).float() / total  # (chunk, width)
            ctx.save_for_backward(weight[target].float() - expected)
        ctx.mark_non_differentiable(entropy)
        return logits.gather(1, target[:, None])[:, 0] - log_total, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (gradients[0][:, None] * slope).to(ctx.hidden_dtype), None, None, None


def _learning_chunk(head: torch.nn.Module, hidden: Tensor, target: Tensor) -> _Scored:
    """Where the head learns too, its own gradient needs the logits: they are computed again."""
    return checkpoint(_logits_scored, head, hidden, target, use_reentrant=False)


def _logits_scored(head: torch.nn.Module, hidden: Tensor, target: Tensor) -> _Scored:
    logits = head(hidden).float()  # (chunk, vocabulary)
    log_total = logits.logsumexp(dim=-1)  # (chunk,)
    with torch.no_grad():
        entropy = log_total - ((logits - log_total[:, None]).exp() * logits).sum(dim=-1)
    return logits.gather(1, target[:, None])[:, 0] - log_total, entropy
