"""Attention over rows that lie in one trie: what a row adds looks along the row's own path, and nowhere else.

So the work is the sum over rows of own nodes times path, not the square of the pack, most of which a mask would have
computed and thrown away: two fifths of it for a group of 8 × (400 + 60).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trainer.along_paths import AlongPaths, Branch
from trainer.flex import attend_along_paths

TRIE_ATTENTION = "trie"
"""Its name in transformers (`attn_implementation`)."""


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
    branches: tuple[Branch, ...] | None = None,
    paths: BlockMask | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: (1, nodes, heads, width). Without `branches` and `paths` it is plain `sdpa`.

    `branches` cover the nodes in order; `paths` says the same to `trainer.flex`.
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
    alike = query.dtype == key.dtype == value.dtype and query.shape[-1] == value.shape[-1]
    if query.device.type == "cpu" and alike:
        return AlongPaths.apply(query, key, value, branches, scaling), None
    # keys and values laid together for every row would be kept for the way back, the prompt's eight times
    attended = checkpoint(_attend, query, key, value, branches, scaling, use_reentrant=False, preserve_rng_state=False)
    return attended.transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, branches: Sequence[Branch], scaling: float | None) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    found = [
        scaled_dot_product_attention(
            query[:, :, slice(*branch.own)],
            _laid_together(branch, key, groups),
            _laid_together(branch, value, groups),
            attn_mask=_mask(branch, query),
            is_causal=not branch.ancestors,
            scale=scaling,
        )
        for branch in branches
    ]
    return torch.cat(found, dim=2)


def _laid_together(branch: Branch, states: Tensor, groups: int) -> Tensor:
    """(1, heads, path, width) of states (1, key heads, nodes, width)."""
    return repeat_kv(torch.cat([states[:, :, start:stop] for start, stop in branch.spans], dim=2), groups)


def _mask(branch: Branch, like: Tensor) -> Tensor | None:
    """(own, path): 0 where a node sees, all ancestors and of its own those up to itself; else -inf.

    None where there are no ancestors: attention is causal then.
    """
    if not branch.ancestors:
        return None
    own = branch.own[1] - branch.own[0]
    before = sum(stop - start for start, stop in branch.ancestors)
    return like.new_full((own, before + own), -torch.inf).triu_(before + 1)


AttentionInterface.register(TRIE_ATTENTION, trie_attention)
AttentionMaskInterface.register(TRIE_ATTENTION, sdpa_mask)  # for calls without branches
