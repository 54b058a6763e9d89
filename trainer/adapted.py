"""A frozen linear layer and its adapter as one operation: peft's formula without the tensors between.

y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ. Taken apart it makes three more tensors of y's size forward and two of x's backward, in every
layer. They cost time, and more memory than they are large: the C library's allocator rarely puts another tensor of that
size where an aligned one was freed, so that between kept activations they stay as holes.
"""

from typing import Any, NamedTuple, TypeAlias

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from torch.nn.functional import linear

Gradients: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Of x, A and B."""


class Adapted(NamedTuple):
    """The layer's numbers."""

    weight: Tensor  # (outputs, inputs), frozen
    down: Tensor  # A, (rank, inputs)
    up: Tensor  # B, (outputs, rank)
    scale: float

    def forward(self, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y (tokens, outputs), and x·Aᵀ (tokens, rank), of x (tokens, inputs)."""
        low = x @ self.down.t()
        return linear(x, self.weight, bias).addmm_(low, self.up.t(), alpha=self.scale), low

    def backward(self, slope: Tensor, x: Tensor, low: Tensor) -> Gradients:
        """From y's gradient (tokens, outputs) and what `forward` had and gave."""
        of_low = (slope @ self.up).mul_(self.scale)
        of_x = (slope @ self.weight).addmm_(of_low, self.down)
        return of_x, of_low.t() @ x, (slope.t() @ low).mul_(self.scale)


class FusedLora(LoraLinear):
    """peft's layer, computed in one operation while its adapter is in use."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        if not self.adapted or args or kwargs:
            return super().forward(x, *args, **kwargs)
        y: Tensor = _AdaptedLinear.apply(x, self.get_base_layer().bias, *self.numbers())
        return y

    @property
    def adapted(self) -> bool:
        """Whether the adapter is in use, and not folded in."""
        return not self.disable_adapters and not self.merged

    def numbers(self) -> Adapted:
        """What the layer computes with."""
        (name,) = self.active_adapters
        weight, down, up = self.get_base_layer().weight, self.lora_A[name].weight, self.lora_B[name].weight
        return Adapted(weight, down, up, self.scaling[name])  # type: ignore[arg-type]  # peft's ModuleDict forgets


def fuse_adapters(model: torch.nn.Module) -> None:
    """Have the model's plain LoRA layers compute in one operation; all others stay with peft.

    Plain: one adapter, no dropout, no bias and no variant of its own, all of one dtype, on a frozen `nn.Linear`.
    """
    for layer in model.modules():
        if type(layer) is LoraLinear and _plain(layer):
            layer.__class__ = FusedLora  # the same state under the same names: only `forward` differs


def _plain(layer: LoraLinear) -> bool:
    base = layer.get_base_layer()
    if type(base) is not torch.nn.Linear or len(layer.active_adapters) != 1 or layer.lora_variant:
        return False
    (name,) = layer.active_adapters
    down, up = layer.lora_A[name], layer.lora_B[name]
    return (
        isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and up.bias is None
        and not base.weight.requires_grad
        and base.weight.dtype == down.weight.dtype == up.weight.dtype
    )


class _AdaptedLinear(torch.autograd.Function):
    """Kept for the way back are x, and x·Aᵀ, which is narrow."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, weight: Tensor, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        y, low = Adapted(weight, down, up, scale).forward(x.flatten(0, -2), bias)
        ctx.save_for_backward(x, low, weight, down, up)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor, None]:
        x, low, weight, down, up = ctx.saved_tensors
        layer = Adapted(weight, down, up, ctx.scale)
        of_x, of_down, of_up = layer.backward(slopes[0].flatten(0, -2), x.flatten(0, -2), low)
        return of_x.view_as(x), None, None, of_down, of_up, None
