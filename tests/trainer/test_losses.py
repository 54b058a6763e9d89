"""The losses against their formulas."""

import pytest
import torch

from trainer.losses import LOSSES, cispo_loss, clipped_ratio_loss, gspo_loss

BEHAVIOUR = torch.tensor([-1.0, -1.0, -1.0, -1.0])
SEQUENCE = torch.tensor([0, 0, 1, 1])


def gradient(loss, logprobs: torch.Tensor, advantages: list[float], **bounds) -> torch.Tensor:
    logprobs = logprobs.clone().requires_grad_()
    loss(logprobs, BEHAVIOUR, torch.tensor(advantages), SEQUENCE, 4, **bounds).backward()
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


def test_packs_of_one_step_add_up_to_the_global_token_mean() -> None:
    logprobs, advantages = BEHAVIOUR + 0.1, torch.tensor([1.0, 2.0, -1.0, 0.5])
    whole = clipped_ratio_loss(logprobs, BEHAVIOUR, advantages, SEQUENCE, 4)
    parts = [
        clipped_ratio_loss(logprobs[part], BEHAVIOUR[part], advantages[part], SEQUENCE[part] * 0, 4)
        for part in (slice(0, 1), slice(1, 4))
    ]
    assert torch.allclose(whole, sum(parts))
