"""Adapted layers in one operation: peft's numbers and gradients, with less kept for the way back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaMLP

from tests.trainer.small import VOCABULARY, small_job
from trainer.adapted import Adapted, FusedLora, _AdaptedLinear
from trainer.gated import _GatedLayers
from trainer.policy import load_policy, make_deterministic, trainable
from trainer.settings import UpdateConfig


def policy(folder: Path, *, fused: bool) -> torch.nn.Module:
    """The small model in float64 with an adapter that does something; or the same as peft computes it."""
    job = small_job(folder)
    make_deterministic(0, 1)
    model = load_policy(job, UpdateConfig())
    for name, parameter in trainable(model):
        if "lora_B" in name:  # it starts at zero, where half of the gradients vanish
            torch.nn.init.normal_(parameter, std=0.3)
    for layer in [] if fused else model.modules():
        if isinstance(layer, FusedLora):
            layer.__class__ = LoraLinear
        if isinstance(layer, LlamaMLP):
            del layer.forward
    return model.double()


def answers(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Logits for two sequences, and the gradient of everything that learns."""
    logits = model(input_ids=torch.arange(20).reshape(2, 10) % VOCABULARY).logits
    logits.square().sum().backward()
    return logits.detach(), torch.cat([parameter.grad.flatten() for _, parameter in trainable(model)])


def kept(run: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the way back, every storage once."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        held = run()
    del held
    return sum(found.values())


def test_every_adapted_layer_of_a_usual_model_is_fused(tmp_path: Path) -> None:
    model = policy(tmp_path, fused=True)
    layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
    assert len(layers) == 2 * 7 and all(isinstance(layer, FusedLora) for layer in layers)
    feed_forward = [module for module in model.modules() if isinstance(module, LlamaMLP)]
    assert len(feed_forward) == 2 and all("forward" in vars(module) for module in feed_forward)


def test_logits_and_gradients_are_those_of_peft(tmp_path: Path) -> None:
    ours, ours_gradient = answers(policy(tmp_path, fused=True))
    theirs, theirs_gradient = answers(policy(tmp_path, fused=False))
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert (ours_gradient - theirs_gradient).norm() <= 1e-12 * theirs_gradient.norm() and theirs_gradient.norm() > 0


def test_less_is_kept_for_the_way_back(tmp_path: Path) -> None:
    def bytes_kept(*, fused: bool) -> int:
        model = policy(tmp_path, fused=fused)
        weights = sum(parameter.untyped_storage().nbytes() for parameter in model.parameters())
        long = torch.arange(600).reshape(1, -1) % VOCABULARY
        return kept(lambda: model(input_ids=long).logits) - weights

    assert bytes_kept(fused=True) < 0.85 * bytes_kept(fused=False)


def test_without_its_adapter_a_fused_model_is_its_base(tmp_path: Path) -> None:
    model = policy(tmp_path, fused=True)
    ids = torch.arange(10)[None]
    with model.disable_adapter():
        off = model(input_ids=ids).logits
    assert not torch.allclose(off, model(input_ids=ids).logits, atol=1e-3)
    model.merge_adapter()
    merged = model(input_ids=ids).logits
    model.unmerge_adapter()
    assert torch.allclose(merged, model(input_ids=ids).logits, atol=1e-10)


def test_layers_of_two_dtypes_stay_with_peft(tmp_path: Path) -> None:
    make_deterministic(0, 1)
    model = load_policy(small_job(tmp_path), UpdateConfig(dtype="bfloat16"))
    assert not any(isinstance(module, FusedLora) for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def layer(outputs: int, inputs: int, *, learns: bool = True) -> list[Tensor]:
    """W, A and B of a layer of rank 2."""
    return [drawn(outputs, inputs), drawn(2, inputs).requires_grad_(learns), drawn(outputs, 2).requires_grad_(learns)]


@pytest.mark.parametrize("bias", [None, drawn(5)])
def test_gradients_of_a_layer_are_its_slopes(bias: Tensor | None) -> None:
    x = drawn(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *weights: _AdaptedLinear.apply(x, bias, *weights, 0.7), (x, *layer(5, 4)))


def test_gradients_of_the_feed_forward_part_are_its_slopes() -> None:
    x = drawn(1, 3, 4).requires_grad_()
    weights = (*layer(6, 4), *layer(6, 4), *layer(4, 6))
    assert torch.autograd.gradcheck(lambda x, *weights: _GatedLayers.apply(x, (0.7, 1.3, 0.4), *weights), (x, *weights))


def test_a_layer_is_its_formula() -> None:
    x, (weight, down, up) = drawn(3, 4), layer(5, 4, learns=False)
    y, low = Adapted(weight, down, up, 0.7).forward(x)
    assert torch.allclose(y, x @ (weight + 0.7 * up @ down).t()) and torch.allclose(low, x @ down.t())
