"""Attention over a trie on a processor: every segment of it is attended to twice, by itself and by all that follows it.

In depth-first order what descends from a segment lies right behind it. So keys are never laid together row by row, no
mask is made, and a prompt that eight rows share is looked at by all of them in one product. What a node sees in each
segment of its path is joined by the sums of exponentials that the kernels under torch's attention give along; the way
back goes segment by segment too, for a kernel needs no more than the joined sum to know its part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Span: TypeAlias = tuple[int, int]
"""Nodes from the first number to before the second."""


@dataclass(frozen=True)
class Branch:
    """What one row adds to the trie: the nodes `own`, which follow on `ancestors`, in order of depth."""

    own: Span
    ancestors: tuple[Span, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The row's whole path."""
        return (*self.ancestors, self.own)


class Look(NamedTuple):
    """Nodes that look at a segment's."""

    seeing: slice
    seen: slice
    causal: bool
    """Whether they are the segment itself: each sees up to itself then, and else all."""
    more: bool
    """Whether they have looked at segments before this one."""


@lru_cache
def looks(branches: tuple[Branch, ...]) -> tuple[Look, ...]:
    """All there are; for any node, from the root downwards."""
    return tuple(look for branch in branches for look in _looks_at(branch, branches))


def _looks_at(branch: Branch, branches: Sequence[Branch]) -> Iterator[Look]:
    first, last = branch.own
    left = {stop for other in branches for _, stop in other.ancestors if first < stop < last}
    for start, stop in pairwise([first, *sorted(left), last]):
        more = bool(branch.ancestors) or start > first
        own = slice(start, stop)
        yield Look(own, own, causal=True, more=more)
        follow = [other.own[1] for other in branches if any(low <= start < high for low, high in other.ancestors)]
        behind = slice(stop, max([last, *follow]))
        if behind.start < behind.stop:
            yield Look(behind, own, causal=False, more=more)


class AlongPaths(torch.autograd.Function):
    """Queries (1, heads, nodes, width), keys and values (1, key heads, nodes, width) to (1, nodes, heads, width)."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, branches: tuple[Branch, ...], scale: float | None
    ) -> Tensor:
        queries, keys, values = _grouped(query, key, value)
        attended = query.new_empty(query.shape[2], *queries.shape[:2], query.shape[3]).permute(1, 2, 0, 3)
        log_sums = queries.new_empty(queries.shape[:3], dtype=torch.promote_types(query.dtype, torch.float32))
        for seeing, seen, causal, more in looks(branches):
            found, log_sum = _forward(
                queries[:, :, seeing], keys[:, :, seen], values[:, :, seen], 0.0, causal, scale=scale
            )
            joined, joined_sum = attended[:, :, seeing], log_sums[:, :, seeing]
            if more:
                joined.lerp_(found, torch.sigmoid(log_sum - joined_sum)[..., None].to(found.dtype))
                torch.logaddexp(joined_sum, log_sum, out=joined_sum)
            else:
                joined.copy_(found)
                joined_sum.copy_(log_sum)
        ctx.save_for_backward(query, key, value, attended, log_sums)
        ctx.branches, ctx.scale = branches, scale
        return attended.permute(2, 0, 1, 3).flatten(1, 2)[None]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, attended, log_sums = ctx.saved_tensors
        gradients = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        queries, keys, values = _grouped(query, key, value)
        (slope,) = _grouped(slopes[0].transpose(1, 2), key)[:1]
        of_queries, of_keys, of_values = _grouped(*gradients)
        for seeing, seen, causal, _ in looks(ctx.branches):
            of_seeing, of_seen, of_seen_values = _backward(
                slope[:, :, seeing],
                queries[:, :, seeing],
                keys[:, :, seen],
                values[:, :, seen],
                attended[:, :, seeing],
                log_sums[:, :, seeing],
                0.0,
                causal,
                scale=ctx.scale,
            )
            of_queries[:, :, seeing] += of_seeing
            of_keys[:, 0, seen] += of_seen.sum(dim=1)
            of_values[:, 0, seen] += of_seen_values.sum(dim=1)
        return (*gradients, None, None)


def _grouped(query: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Views (key heads, heads for each, nodes, width); of keys and values one for all heads that share them."""
    key_heads = others[0].shape[1]
    groups = query.shape[1] // key_heads
    return query[0].unflatten(0, (key_heads, groups)), *(
        other[0][:, None].expand(-1, groups, -1, -1) for other in others
    )
