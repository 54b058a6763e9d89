"""Weights shared out among a team's processes, layer by layer (FSDP2, torch's `fully_shard`).

Each process holds its part of every weight, of its gradient and of its optimizer state, and borrows a layer's other
parts while it computes that layer. So all processes go forward and backward equally often, at the same time.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer


def share_out(computation: nn.Module, device: torch.device, processes: int) -> None:
    """Share the weights of a module out onto the devices; its forward gives tensors, alone or in a tuple.

    Decoder layers are borrowed one at a time, all else for the whole pass. Gradients are sums over the processes.
    """
    mesh = init_device_mesh(device.type, (processes,))
    layers = [module for module in computation.modules() if isinstance(module, GradientCheckpointingLayer)]
    for module in (*layers, computation):
        fully_shard(module, mesh=mesh)
        sharded = cast(FSDPModule, module)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def give_back(computation: nn.Module) -> None:
    """Give back what is still borrowed after a pass forward that none backward followed: it would outlive a change."""
    cast(FSDPModule, computation).reshard()


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be shared out. All processes ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_held(found: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor as `parameter` is held: this process's part where that is shared out."""
    if not isinstance(parameter, DTensor):
        return found
    found = found.to(parameter.device)
    return distribute_tensor(found, parameter.device_mesh, parameter.placements, src_data_rank=None)


def whole_optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with whole tensors. All processes ask together."""
    slots = {
        place: {name: whole(value) if isinstance(value, Tensor) else value for name, value in slot.items()}
        for place, slot in state["state"].items()
    }
    return {**state, "state": slots}


def held_optimizer(state: dict[str, Any], parameters: list[nn.Parameter]) -> dict[str, Any]:
    """An optimizer's state as its parameters are held, out of one with whole tensors."""
    slots = {
        place: {
            name: as_held(value, parameters[place]) if torch.is_tensor(value) and value.dim() else value
            for name, value in slot.items()
        }
        for place, slot in state["state"].items()
    }
    return {**state, "state": slots}
