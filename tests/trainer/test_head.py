"""A head that does not learn gives the logprobs and gradients that one that does would give, without its logits."""

import pytest
import torch

from trainer.head import score_tokens

WIDTH, VOCABULARY, TOKENS = 16, 300, 11


def scored(head: torch.nn.Linear, *, learns: bool, chunk: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logprobs, entropies, and the gradient of the hidden states."""
    head.requires_grad_(learns)
    torch.manual_seed(1)
    hidden = (3 * torch.randn(TOKENS, WIDTH)).to(head.weight.dtype).requires_grad_()
    logprobs, entropies = score_tokens(head, hidden, torch.randint(VOCABULARY, (TOKENS,)), chunk)
    (logprobs * torch.linspace(-1, 2, TOKENS)).sum().backward()
    assert not entropies.requires_grad
    assert hidden.grad is not None
    return logprobs.detach(), entropies, hidden.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_head_gives_what_one_that_learns_gives(dtype, tolerance, bias) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=bias).to(dtype)
    for frozen, learning in zip(
        scored(head, learns=False, chunk=4), scored(head, learns=True, chunk=TOKENS), strict=True
    ):
        assert (frozen - learning).norm() <= tolerance * learning.norm()


def test_a_head_that_learns_gets_its_gradient() -> None:
    head = torch.nn.Linear(WIDTH, VOCABULARY)
    scored(head, learns=True, chunk=4)
    assert head.weight.grad is not None and head.weight.grad.norm() > 0


def test_nothing_is_kept_where_no_gradient_is_asked_for() -> None:
    head = torch.nn.Linear(WIDTH, VOCABULARY).requires_grad_(False)
    with torch.no_grad():
        logprobs, _ = score_tokens(head, torch.randn(TOKENS, WIDTH), torch.arange(TOKENS), 4)
    assert logprobs.grad_fn is None
