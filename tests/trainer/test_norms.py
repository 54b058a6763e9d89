"""Norms in one operation: the numbers of their formula; norms of another are left alone."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.trainer.small import small_job
from trainer.norms import _RmsNorm, fuse_norms
from trainer.policy import load_policy
from trainer.settings import UpdateConfig

WIDTH = 576


def norm(kind: type[torch.nn.Module] = LlamaRMSNorm) -> torch.nn.Module:
    """With weights that say something, and do not learn."""
    module = kind(WIDTH).requires_grad_(False)
    torch.nn.init.uniform_(module.weight, 0.5, 2.0, generator=torch.Generator().manual_seed(0))
    return module


def is_fused(module: torch.nn.Module) -> bool:
    fuse_norms(module)
    return "forward" in vars(module)


def answers(module: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What it makes of x, and the gradient of x under a slope that has a part along x."""
    given = x.clone().requires_grad_()
    y = module(given)
    (gradient,) = torch.autograd.grad(y, given, x.roll(1, -1) + 0.3 * x)
    return y.detach(), gradient


def truth(module: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The formula as it stands, in float64."""

    class Formula(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * module.weight.double() / torch.sqrt((x * x).mean(-1, keepdim=True) + module.variance_epsilon)

    return answers(Formula(), x.double())


def test_values_and_gradients_are_those_of_the_formula() -> None:
    module = norm()
    x = 40 * torch.randn(1, 50, WIDTH, generator=torch.Generator().manual_seed(1))
    assert is_fused(module)
    for ours, exact in zip(answers(module, x), truth(module, x), strict=True):
        assert (ours - exact).norm() <= 3e-7 * exact.norm()


def test_gradients_are_its_slopes() -> None:
    x = torch.randn(1, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    weight = torch.linspace(0.5, 2.0, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: _RmsNorm.apply(x, weight, 0.1), (x,))


def test_all_norms_of_a_usual_model_are_fused(tmp_path: Path) -> None:
    model = load_policy(small_job(tmp_path), UpdateConfig())
    norms = [module for module in model.modules() if isinstance(module, LlamaRMSNorm)]
    assert len(norms) == 2 * 2 + 1 and all("forward" in vars(module) for module in norms)


class CentredRMSNorm(LlamaRMSNorm):
    """One that calls itself alike, and is not."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return super().forward(hidden_states - hidden_states.mean(-1, keepdim=True))


@pytest.mark.parametrize("kind", [CentredRMSNorm, Gemma3RMSNorm])
def test_norms_of_another_form_stay(kind: type[torch.nn.Module]) -> None:
    assert not is_fused(norm(kind))


def test_norms_that_learn_stay() -> None:
    assert not is_fused(norm().requires_grad_())


def test_norms_of_bfloat16_stay() -> None:
    assert not is_fused(norm().bfloat16())
