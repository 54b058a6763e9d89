"""Attention row by row on a processor, with its way back: what rows share is neither kept once per row nor taken apart.

Left to autograd, every slice of a row gets a gradient as long as the pack, zero almost everywhere, and keys and values
laid together for each row are either kept or laid together twice. Here the kernels under torch's own attention are
called for each row, and write where the gradients belong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import repeat_kv

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

    def laid_together(self, states: Tensor, groups: int) -> Tensor:
        """(1, heads, path, width) of states (1, key heads, nodes, width)."""
        return repeat_kv(torch.cat([states[:, :, start:stop] for start, stop in self.spans], dim=2), groups)

    def mask(self, like: Tensor) -> Tensor | None:
        """(own, path): 0 where a node sees, all ancestors and of its own those up to itself; else -inf.

        None where there are no ancestors: attention is causal then.
        """
        if not self.ancestors:
            return None
        own = self.own[1] - self.own[0]
        before = sum(stop - start for start, stop in self.ancestors)
        return like.new_full((own, before + own), -torch.inf).triu_(before + 1)


class AlongPaths(torch.autograd.Function):
    """Queries (1, heads, nodes, width), keys and values (1, key heads, nodes, width) to (1, nodes, heads, width)."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, branches: Sequence[Branch], scale: float | None
    ) -> Tensor:
        attended = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        sums = []
        for branch in branches:
            own = slice(*branch.own)
            out, log_sum = _forward(*_of(branch, query, key, value), **_seeing(branch, query, scale))
            attended[:, own] = out.transpose(1, 2)
            sums.append(log_sum)
        ctx.save_for_backward(query, key, value, attended, *sums)
        ctx.branches, ctx.scale = branches, scale
        return attended

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, attended, *sums = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for branch, log_sum in zip(ctx.branches, sums, strict=True):
            own = slice(*branch.own)
            seeing = _seeing(branch, query, ctx.scale)
            slope, out = (states[:, own].transpose(1, 2) for states in (slopes[0], attended))
            given = _of(branch, query, key, value)
            here, *of_path = _backward(slope, *given, out, log_sum, 0.0, seeing.pop("is_causal"), **seeing)
            of_query[:, :, own] = here
            for total, found in zip((of_key, of_value), of_path, strict=True):
                _add(total, found, branch)
        return of_query, of_key, of_value, None, None


def _of(branch: Branch, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    groups = query.shape[1] // key.shape[1]
    return query[:, :, slice(*branch.own)], branch.laid_together(key, groups), branch.laid_together(value, groups)


def _seeing(branch: Branch, like: Tensor, scale: float | None) -> dict[str, Any]:
    return {"is_causal": not branch.ancestors, "attn_mask": branch.mask(like), "scale": scale}


def _add(total: Tensor, found: Tensor, branch: Branch) -> None:
    """Add the gradient of a path's states (1, heads, path, width) to that of all, summed over heads that share them."""
    shared = found.unflatten(1, (total.shape[1], -1)).sum(dim=2)  # (1, key heads, path, width)
    lengths = [stop - start for start, stop in branch.spans]
    for (start, stop), part in zip(branch.spans, shared.split(lengths, dim=2), strict=True):
        total[:, :, start:stop] += part
