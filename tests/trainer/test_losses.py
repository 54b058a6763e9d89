"""The losses against their formulas."""

import pytest
import torch

from trainer.losses import LOSSES, cispo_loss, clipped_ratio_loss, gspo_loss, importance_weight, kl_estimate

BEHAVIOUR = torch.tensor([-1.0, -1.0, -1.0, -1.0])
SEQUENCE = torch.tensor([0, 0, 1, 1])


def gradient(loss, logprobs: torch.Tensor, advantages: list[float], **bounds) -> torch.Tensor:
    logprobs = logprobs.clone().requires_grad_()
    (loss(logprobs, BEHAVIOUR, torch.tensor(advantages), SEQUENCE, **bounds).losses.sum() / 4).backward()
    return logprobs.grad


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_on_policy_every_loss_is_the_plain_policy_gradient(loss) -> None:
    assert torch.allclose(gradient(loss, BEHAVIOUR, [1.0, 1.0, -2.0, -2.0]), torch.tensor([-1.0, -1, 2, 2]) / 4)


def test_a_token_that_moved_far_enough_is_pushed_no_further() -> None:
    moved = BEHAVIOUR + torch.log(torch.tensor([1.3, 1.2, 0.7, 0.9]))
    pushed = gradient(clipped_ratio_loss, moved, [1.0, 1.0, -1.0, -1.0])
    assert (pushed == 0).tolist() == [True, False, True, False]


def test_a_token_that_moved_the_wrong_way_is_still_pulled_back() -> None:
    moved = BEHAVIOUR + torch.log(torch.tensor([0.5, 0.5, 1.5, 1.5]))
    assert (gradient(clipped_ratio_loss, moved, [1.0, 1.0, -1.0, -1.0]) != 0).all()


def test_cispo_bounds_the_weight_and_keeps_the_gradient() -> None:
    moved = BEHAVIOUR + torch.log(torch.tensor([5.0, 1.0, 5.0, 1.0]))
    assert torch.allclose(gradient(cispo_loss, moved, [1.0] * 4), -torch.tensor([1.28, 1.0, 1.28, 1.0]) / 4)


def test_gspo_clips_whole_sequences() -> None:
    moved = BEHAVIOUR + torch.log(torch.tensor([1.5, 1.0, 1.0, 1.0]))
    pushed = gradient(gspo_loss, moved, [1.0] * 4, low=0.2, high=0.1)
    assert (pushed == 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "clipped"),
    [
        ("clipped_ratio", [True, False, True, True]),  # too far where the advantage pushes
        ("cispo", [True, False, False, False]),  # too much weight, wherever it pushes
        ("gspo", [False, False, True, True]),  # a sequence at a time: √(1.3 · 0.9) is near 1, 0.7 is not
    ],
)
def test_every_loss_says_which_tokens_its_bound_holds(name, clipped) -> None:
    moved = BEHAVIOUR + torch.log(torch.tensor([1.3, 0.9, 0.7, 0.7]))
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    found = LOSSES[name](moved, BEHAVIOUR, advantages, SEQUENCE, 0.2, 0.28)
    assert found.clipped.tolist() == clipped


def test_the_kl_estimate_is_unbiased_and_never_negative() -> None:
    """Its expectation under p is the exact divergence of two distributions over three tokens."""
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    estimate = kl_estimate(p.log(), q.log())
    assert (estimate >= 0).all()
    assert torch.allclose((p * estimate).sum(), (p * (p / q).log()).sum())


def test_the_kl_estimate_pulls_towards_the_reference_and_not_where_there_is_no_distance() -> None:
    logprobs = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    kl_estimate(logprobs, torch.tensor([-1.0, -0.5, -2.0])).sum().backward()
    assert logprobs.grad is not None
    assert torch.allclose(logprobs.grad, 1 - torch.tensor([0.0, 0.5, -1.0]).exp())


def test_importance_weights_are_cut_above_and_not_below() -> None:
    trainer, engine = torch.tensor([-1.0, -1.0, -3.0]), torch.tensor([-1.0, -3.0, -1.0])
    weights = importance_weight(trainer, engine, cap=2.0)
    assert torch.allclose(weights, torch.tensor([1.0, 2.0, torch.tensor(-2.0).exp().item()]))
