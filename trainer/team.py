"""The processes that take one step together: rows dealt by whole groups, gradients summed, statistics gathered.

Every process reads all rows, so what the sums are divided by is known without asking; one process is a team of itself.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor

from trainer.admission import JobRefused
from trainer.rows import TrainingRow

Value = TypeVar("Value")


class Team:
    """This process among `size`. Sums are taken in the order of ranks: the same in every run."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    def share(self, rows: Sequence[TrainingRow]) -> list[TrainingRow]:
        """The rows of this process: whole groups, since they share their prompts, dealt by length.

        The longest group goes to whoever has least so far.
        """
        if self.size == 1:
            return list(rows)
        lengths: dict[str, int] = {}
        for row in rows:
            lengths[row.group_id] = lengths.get(row.group_id, 0) + len(row.token_ids)
        loads = [0] * self.size
        mine = set()
        for group in sorted(lengths, key=lambda group: (-lengths[group], group)):
            taker = loads.index(min(loads))
            loads[taker] += lengths[group]
            if taker == self.rank:
                mine.add(group)
        return [row for row in rows if row.group_id in mine]

    def gather(self, value: Value) -> list[Value]:
        """Everybody's value, by rank."""
        return [value] if self.size == 1 else gather_object([value])

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Everybody's numbers, added place by place."""
        return [sum(column) for column in zip(*self.gather(list(numbers)), strict=True)]

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Every parameter's gradient becomes the sum over all processes; one without rows adds nothing."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = reduce(parameter.grad, "sum")

    def concatenated(self, tensors: Tensor) -> Tensor:
        """Everybody's (features, tokens), side by side by rank."""
        return torch.cat(self.gather(tensors), dim=1)


ALONE = Team()


@contextmanager
def joined(size: int) -> Iterator[Team]:
    """The team of `size` processes; which of them this one is, its launcher has put into the environment.

    They speak by gloo between processors and by nccl between accelerators, one each. Raises JobRefused when the
    launcher has started another number.
    """
    if size == 1 and "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        if state.num_processes != size:
            raise JobRefused(
                f"the job's settings say processes: {size}, but the launcher started {state.num_processes}. Start as "
                "many, or one without a launcher: it starts the others."
            )
        yield Team(state.process_index, size)
    finally:
        state.destroy_process_group()
