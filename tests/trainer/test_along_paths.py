"""Attention segment by segment: what torch computes with a mask over the whole trie, gradients included."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from trainer.along_paths import AlongPaths, Branch, looks
from trainer.attention import trie_attention

BRANCHES = (Branch((0, 5), ()), Branch((5, 7), ((0, 3),)), Branch((7, 10), ((0, 2), (5, 6))))
"""Rows of one trie: the second leaves the first after three nodes, the third is on both."""


def states(heads: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(heads)
    return torch.randn(1, heads, 10, 4, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


def over_everything(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same with one mask, and all nodes computed for all."""
    seen = torch.zeros(10, 10, dtype=torch.bool)
    for branch in BRANCHES:
        path = [node for span in branch.spans for node in range(*span)]
        for own in range(*branch.own):
            seen[own, [node for node in path if node <= own]] = True
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=0.6).transpose(1, 2)


@pytest.mark.parametrize("heads", [1, 2, 4], ids=lambda heads: f"{heads} heads on 1 or 2")
def test_values_and_gradients_are_those_of_one_mask(heads: int) -> None:
    inputs = (states(heads), states(min(heads, 2)), states(min(heads, 2)))
    slope = torch.randn(1, 10, heads, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    ours, plain = AlongPaths.apply(*inputs, BRANCHES, 0.6), over_everything(*inputs)
    assert torch.allclose(ours, plain, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(found, inputs, slope) for found in (ours, plain)), strict=True):
        assert torch.allclose(one, other, atol=1e-12) and other.abs().max() > 0.1


def test_every_node_looks_at_all_of_its_path_once() -> None:
    looked: dict[int, list[int]] = {node: [] for node in range(10)}
    for seeing, seen, causal, more in looks(BRANCHES):
        for node in range(*seeing.indices(10)):
            assert more == bool(looked[node])
            looked[node] += range(seen.start, node + 1 if causal else seen.stop)
    paths = {
        own: [n for span in branch.spans for n in range(*span)] for branch in BRANCHES for own in range(*branch.own)
    }
    assert looked == {node: [other for other in path if other <= node] for node, path in paths.items()}


def test_states_of_bfloat16_are_joined_in_float32() -> None:
    inputs = (states(4, torch.bfloat16), states(2, torch.bfloat16), states(2, torch.bfloat16))
    found = AlongPaths.apply(*inputs, BRANCHES, 0.6)
    assert torch.allclose(found.double(), over_everything(*(each.double() for each in inputs)), atol=0.03)
    found.float().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in inputs)


def test_gradients_are_its_slopes() -> None:
    inputs = (states(4), states(2), states(2))
    assert torch.autograd.gradcheck(lambda *given: AlongPaths.apply(*given, BRANCHES, None), inputs)


def test_states_of_two_dtypes_are_left_to_torch() -> None:
    """As in mixed precision: rotated queries and keys are float32 there, values bfloat16."""
    query, key, value = states(4, torch.float32), states(2, torch.float32), states(2, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = trie_attention(torch.nn.Identity(), query, key, value, None, scaling=0.6, branches=BRANCHES)
    exact = over_everything(query.double(), key.double(), value.double())
    assert torch.allclose(found.double(), exact, atol=0.03)
    found.float().sum().backward()
    assert value.grad is not None and value.grad.abs().sum() > 0
