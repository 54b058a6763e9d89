"""Attention over rows that lie in one trie: what a row adds looks along the row's own path, and nowhere else.

So the work is the sum over rows of own nodes times path, not the square of the pack, most of which a mask would have
computed and thrown away: two fifths of it for a group of 8 × (400 + 60).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trainer.flex import attend_along_paths

TRIE_ATTENTION = "trie"
"""Its name in transformers (`attn_implementation`)."""

Span: TypeAlias = tuple[int, int]
"""Nodes from the first number to before the second."""


@dataclass(frozen=True)
class Branch:
    """What one row adds to the trie: the nodes `own`, which follow on `ancestors`, in order of depth."""

    own: Span
    ancestors: tuple[Span, ...]


def branch_of(path: Sequence[int], shared: int) -> Branch:
    """The branch of a row whose nodes are `path`, the first `shared` of them those of rows before it."""
    breaks = [0, *(at for at, (left, right) in enumerate(pairwise(path[:shared]), 1) if right != left + 1), shared]
    ancestors = tuple((path[start], path[stop - 1] + 1) for start, stop in pairwise(breaks) if start < stop)
    return Branch((path[shared], path[-1] + 1), ancestors)


def trie_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, heads, nodes, width)
    key: Tensor,  # (1, key heads, nodes, width)
    value: Tensor,  # as key
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    branches: Sequence[Branch] | None = None,
    paths: BlockMask | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: (1, nodes, heads, width). Without `branches` and `paths` it is plain `sdpa`.

    `branches` cover the nodes in order, and are attended to one by one; `paths` says the same to `trainer.flex`.
    Raises ValueError for layers that see a window shorter than the pack.
    """
    if branches is None and paths is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, **others
        )
        return plain
    if sliding_window is not None and sliding_window < query.shape[2]:
        raise ValueError(
            f"layers that see only {sliding_window} tokens back cannot be computed for rows in one trie of "
            f"{query.shape[2]}. Set max_pack_tokens to {sliding_window} at most, or choose another base model."
        )
    if paths is not None:
        return attend_along_paths(query, key, value, paths, scaling).transpose(1, 2).contiguous(), None
    assert branches is not None
    groups = query.shape[1] // key.shape[1]
    if len(branches) == 1:
        attended = _attend(query, key, value, branches, groups, scaling)
    else:  # keys and values laid together for every row would be kept for the way back, the prompt's eight times
        attended = checkpoint(
            _attend, query, key, value, branches, groups, scaling, use_reentrant=False, preserve_rng_state=False
        )
    return attended.transpose(1, 2).contiguous(), None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, branches: Sequence[Branch], groups: int, scaling: float | None
) -> Tensor:
    found = []
    for branch in branches:
        start, stop = branch.own
        spans = (*branch.ancestors, branch.own)
        found.append(
            scaled_dot_product_attention(
                query[:, :, start:stop],
                repeat_kv(_laid_together(key, spans), groups),
                repeat_kv(_laid_together(value, spans), groups),
                attn_mask=_following(branch, query) if branch.ancestors else None,
                is_causal=not branch.ancestors,
                scale=scaling,
            )
        )
    return torch.cat(found, dim=2)


def _laid_together(states: Tensor, spans: Sequence[Span]) -> Tensor:
    return torch.cat([states[:, :, start:stop] for start, stop in spans], dim=2)


def _following(branch: Branch, like: Tensor) -> Tensor:
    """(own, path): 0 where a node of the branch sees, all ancestors and of its own those up to itself; else -inf."""
    own = branch.own[1] - branch.own[0]
    before = sum(stop - start for start, stop in branch.ancestors)
    return like.new_full((own, before + own), -torch.inf).triu_(before + 1)


AttentionInterface.register(TRIE_ATTENTION, trie_attention)
AttentionMaskInterface.register(TRIE_ATTENTION, sdpa_mask)  # for calls without branches
