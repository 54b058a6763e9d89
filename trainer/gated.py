"""The feed-forward part of a layer as one operation, where its three linear layers carry adapters.

y = down(silu(gate(x)) ⊙ up(x)). Of its four widest tensors two are kept for the way back; the other two are a few
products away and are made again.
"""

from types import MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers.activations import SiLUActivation

from trainer.adapted import Adapted, FusedLora

_LAYERS = ("gate_proj", "up_proj", "down_proj")
"""As transformers calls them in Llama, Mistral, Qwen, SmolLM and others."""
_WEIGHTS = 3  # tensors of an `Adapted`
Scales: TypeAlias = tuple[float, float, float]


def fuse_gated(model: torch.nn.Module) -> None:
    """Have feed-forward parts of this form compute in one operation, after `trainer.adapted.fuse_adapters`.

    Those of another form, with other activations or biases, stay as they are.
    """
    for module in model.modules():
        if _is_gated(module):
            module.forward = MethodType(_gated, module)


def _is_gated(module: torch.nn.Module) -> bool:
    children = dict(module.named_children())
    layers = [layer for name in _LAYERS if isinstance(layer := children.get(name), FusedLora)]
    return (
        set(children) == {*_LAYERS, "act_fn"}
        and len(layers) == len(_LAYERS)
        and isinstance(children["act_fn"], torch.nn.SiLU | SiLUActivation)
        and all(layer.get_base_layer().bias is None for layer in layers)
    )


def _gated(module: torch.nn.Module, x: Tensor) -> Tensor:
    layers = [getattr(module, name) for name in _LAYERS]
    if not all(layer.adapted for layer in layers):
        whole: Tensor = type(module).forward(module, x)
        return whole
    *weights, scales = zip(*(layer.numbers() for layer in layers), strict=True)
    y: Tensor = _GatedLayers.apply(x, scales, *(tensor for layer in zip(*weights, strict=True) for tensor in layer))
    return y


class _GatedLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Scales, *weights: Tensor) -> Tensor:
        gate, up, down = _layers(weights, scales)
        rows = x.flatten(0, -2)  # (tokens, width)
        opened, opened_low = gate.forward(rows)  # (tokens, wide), (tokens, rank)
        passed, passed_low = up.forward(rows)
        y, low = down.forward(silu(opened).mul_(passed))
        ctx.save_for_backward(x, opened, opened_low, passed, passed_low, low, *weights)
        ctx.scales = scales
        return y.view_as(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, opened, opened_low, passed, passed_low, low, *weights = ctx.saved_tensors
        gate, up, down = _layers(weights, ctx.scales)
        rows = x.flatten(0, -2)
        activated = silu(opened)
        of_product, *of_down = down.backward(slopes[0].flatten(0, -2), activated * passed, low)
        of_x, *of_up = up.backward(activated.mul_(of_product), rows, passed_low)
        of_opened = torch.ops.aten.silu_backward(of_product.mul_(passed), opened)
        through_gate, *of_gate = gate.backward(of_opened, rows, opened_low)
        return (of_x.add_(through_gate).view_as(x), None, None, *of_gate, None, *of_up, None, *of_down)


def _layers(weights: Any, scales: Scales) -> list[Adapted]:
    triples = zip(*[iter(weights)] * _WEIGHTS, strict=True)
    return [Adapted(weight, down, up, scale) for (weight, down, up), scale in zip(triples, scales, strict=True)]
