"""The processes that take one step together: rows dealt by whole groups, gradients summed, statistics gathered.

Every process reads all rows, so what the sums are divided by is known without asking; one process is a team of itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

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
        if self.size == 1:
            return [value]
        values: list[Value | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

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
            dist.all_reduce(parameter.grad)

    def concatenated(self, tensors: Tensor) -> Tensor:
        """Everybody's (features, tokens), side by side by rank."""
        return torch.cat(self.gather(tensors), dim=1)


ALONE = Team()


@contextmanager
def joined(rank: int, size: int, meeting: Path) -> Iterator[Team]:
    """The team of `size` processes that meet at `meeting`, a file that none of them has made yet.

    By gloo between processors and nccl between accelerators, one each.
    """
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        yield Team(rank, size)
    finally:
        dist.destroy_process_group()
