"""Splits of a dataset: which tasks a policy may learn from. Seeded: the same tasks are divided in the same way."""

from collections.abc import Iterable

from envs.prices import held_out_prices
from envs.record import Record, derive_seed
from envs.task import Task

SHARES = (("train", 0.7), ("validation", 0.1), ("test", 0.2))
UNSEEN = ("unseen_domain", "unseen_tool", "unseen_prices", "unseen_preference")
"""Splits that are kept from training altogether."""


class Split(Record):
    """Where a task belongs."""

    task_id: str
    split: str
    """One of `SHARES` or of `UNSEEN`."""


class Unseen(Record):
    """What is kept from training altogether, to see how a policy does with what it has never met."""

    domains: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    """A name, for the tool in every domain that has one of that name, or `domain.name`."""
    prices: bool = False
    """Whether one in eight regions of token prices is held out (`envs.prices`)."""

    def split_of(self, task: Task, seed: int) -> str | None:
        """The split of a task that is kept from training; None for the others."""
        if task.domain in self.domains:
            return "unseen_domain"
        if any(self.holds(task.domain, call.tool) for call in task.golden):
            return "unseen_tool"
        if self.prices and held_out_prices(task.toolbox, seed):
            return "unseen_prices"
        return "unseen_preference" if task.preference.held_out else None

    def offered_by(self, task: Task) -> tuple[str, ...]:
        """Held-out tools that a task only offers: whoever learns from it reads their names and prices all the same."""
        return tuple(tool for tool in task.toolbox.tools if self.holds(task.domain, tool))

    def holds(self, domain: str, tool: str) -> bool:
        """Whether a tool is held out."""
        return tool in self.tools or f"{domain}.{tool}" in self.tools


def split_tasks(tasks: Iterable[Task], seed: int, unseen: Unseen | None = None) -> tuple[Split, ...]:
    """What is unseen in splits of its own, and the rest in the shares of `SHARES`, sorted by task.

    Preferences in held-out words are always unseen, other things where `unseen` names them. Shares hold per domain and
    number of golden calls. Tasks with one instruction stay together: a request seen in training never comes back in
    the test.
    """
    unseen = unseen or Unseen()
    splits = []
    strata: dict[tuple[str, int], dict[str, list[str]]] = {}
    for task in tasks:
        if kept := unseen.split_of(task, seed):
            splits.append(Split(task_id=task.id, split=kept))
            continue
        stratum = strata.setdefault((task.domain, task.difficulty), {})
        stratum.setdefault(task.instruction, []).append(task.id)
    for _, requests in sorted(strata.items()):
        ordered = sorted(requests, key=lambda instruction: (derive_seed(instruction, seed), instruction))
        for position, instruction in enumerate(ordered):
            name = _share(position, len(ordered))
            splits += [Split(task_id=task_id, split=name) for task_id in requests[instruction]]
    return tuple(sorted(splits, key=lambda split: split.task_id))


def _share(position: int, count: int) -> str:
    end = 0.0
    for name, share in SHARES:
        end += share * count
        if position < end - 1e-9:
            return name
    return SHARES[-1][0]
