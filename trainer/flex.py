"""Attention over a whole trie at once, by FlexAttention, for accelerators: one kernel, which skips blocks nobody sees.

The trie is laid out depth first, so what descends from a node follows it without a gap: node k lies on the path of node
q when k ≤ q < end of k. torch has no backward pass of it on processors; there each row is attended to by itself
(`trainer.attention`).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


def path_mask(ends: Tensor) -> BlockMask:
    """Which blocks of nodes are computed, and who sees whom in them.

    ends: int64 (nodes,), for each node the first one after it that does not descend from it.
    """

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[key])

    return create_block_mask(sees, None, None, len(ends), len(ends), device=str(ends.device))


def attend_along_paths(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float | None) -> Tensor:
    """(1, heads, nodes, width), of queries of that shape, and keys and values with a divisor of its heads."""
    attended: Tensor = _kernel(compiled=query.is_cuda)(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    return attended


@cache
def _kernel(*, compiled: bool) -> Callable[..., Any]:
    """Uncompiled it makes the whole matrix, as a processor has to. Compiled once for packs of all sizes."""
    kernel: Callable[..., Any] = flex_attention
    return torch.compile(kernel, dynamic=True) if compiled else kernel
