"""Memory that lies unused between kept activations goes back to the system while more of them pile up.

glibc 2.36 rarely puts an aligned block where one of the same size was freed, and torch aligns all of them: a
forward pass leaves holes of half the size of what it keeps. Given back, a hole costs a page fault where it is used
again, about a thirtieth of a step, and takes a seventh off the peak (docs/training.md).
"""

import ctypes
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

_LAYERS_BETWEEN = 3


def give_back_holes(model: torch.nn.Module) -> None:
    """Have the allocator give unused pages back after every third decoder layer. Of use on processors only.

    C libraries other than glibc have no such call; there the model stays as it is.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return

    def trim(*_: Any) -> None:
        library.malloc_trim(0)

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers[_LAYERS_BETWEEN - 1 :: _LAYERS_BETWEEN]:
        layer.register_forward_hook(trim)
