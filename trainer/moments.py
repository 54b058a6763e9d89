"""AdamW's moments, handed from checkpoint to checkpoint, so that a loop of small updates is one long optimization.

An optimizer that starts anew moves every weight by the whole learning rate in its first step, noise as much as signal:
its running averages are of one gradient. They lie beside the weights, in safetensors' format under another suffix,
because what reads a model folder takes every `*.safetensors` there for weights.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from trainer.admission import parent_of
from trainer.checkpoint import MOMENTS
from trainer.jobs import UpdateJob
from trainer.policy import trainable
from trainer.sharding import held_optimizer, whole_optimizer
from trainer.stepping import Stepper


def continue_moments(stepper: Stepper, job: UpdateJob) -> None:
    """Take up the parent's moments. Where it has none, or trained other weights, they begin at zero."""
    parent = parent_of(job)
    if parent is None or parent.moments_sha256 is None or job.parent_adapter_path is None:
        return
    if (parent.weights == "whole") != (job.config.method == "full"):
        return
    found = load_file(Path(job.parent_adapter_path) / MOMENTS)
    places = {name: place for place, (name, _) in enumerate(trainable(stepper.model))}
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in found.items():
        name, _, moment = key.rpartition(".")
        slots.setdefault(places[name], {})[moment] = value
    # the settings are this job's: a learning rate may change from one update to the next
    state = {"state": slots, "param_groups": stepper.optimizer.state_dict()["param_groups"]}
    stepper.optimizer.load_state_dict(held_optimizer(state, stepper.parameters))


def moments_writer(stepper: Stepper) -> Callable[[Path], None]:
    """A function that writes the moments into a folder. All processes of a team ask for it, and one calls it."""
    names = [name for name, _ in trainable(stepper.model)]
    slots = whole_optimizer(stepper.optimizer.state_dict())["state"]
    tensors = {
        f"{names[place]}.{moment}": value.cpu().contiguous()
        for place, slot in slots.items()
        for moment, value in slot.items()
    }

    def write(folder: Path) -> None:
        save_file({name: tensors[name] for name in sorted(tensors)}, str(folder / MOMENTS))

    return write
