"""The mean of the weights after each of the last steps (stochastic weight averaging, arXiv 1803.05407).

Where examples choose between equals, such as which of three experts to ask, the last few decide what a policy does
most, and from step to step it swings past the middle. The mean over a swing is near it.
"""

import torch
from torch import Tensor

from trainer.sharding import as_held, whole
from trainer.stepping import Stepper

_STEPS = "averaged_steps"


class WeightMean:
    """A running mean of the weights that learn, float32 on the processor. All processes of a team take part."""

    def __init__(self, stepper: Stepper) -> None:
        self.memory: dict[str, Tensor] = {}
        """What a run that goes on after a kill needs of it."""
        self._stepper = stepper

    def include(self) -> None:
        """Count the weights as they are now."""
        steps = self.memory[_STEPS] = self.memory.get(_STEPS, torch.zeros((), dtype=torch.int64)) + 1
        for place, parameter in enumerate(self._stepper.parameters):
            weights = whole(parameter.detach()).float().cpu()
            mean = self.memory.setdefault(str(place), torch.zeros_like(weights))
            mean += (weights - mean) / steps

    def adopt(self) -> None:
        """Let the policy have the mean's weights; without any it stays as it is."""
        if _STEPS not in self.memory:
            return
        with torch.no_grad():
            for place, parameter in enumerate(self._stepper.parameters):
                parameter.copy_(as_held(self.memory[str(place)], parameter))
