"""Fan-out: the groups of a collection dealt out to workers, through one seam with two sides.

A worker plays whole groups with a client of its own, so that a group's samples share an engine and its prefix cache,
and makes each rollout durable where it is played; back comes only word that it ended. `in_process` is one side of the
seam, `fanout_ray.on_ray` the other.
"""

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import NamedTuple, Protocol, TypeAlias

from serving.blocking import run_blocking
from trainer.collect import Collection, collect, planned
from trainer.conversation import Tokenizer
from trainer.player import Policy
from trainer.rollout import Rollout
from trainer.settings import WorkersConfig


class RayMissing(RuntimeError):
    """Workers on Ray were asked for where Ray is not installed."""


class WorkersLost(RuntimeError):
    """Workers die one after the other without finishing anything."""


class Ended(NamedTuple):
    """Word of a rollout that has ended and is durable."""

    rollout_id: str
    solved: bool
    completion_tokens: int

    @classmethod
    def of(cls, rollout: Rollout) -> "Ended":
        return cls(rollout.id, rollout.solved, rollout.completion_tokens)


class Sink(Protocol):
    """Where rollouts become durable. Workers get copies of it: it holds paths, and no handles."""

    def keep(self, rollout: Rollout) -> None:
        """Store it, whole or not at all, before returning. Called by workers."""
        ...

    def kept(self) -> Set[str]:
        """The ids of what is stored, whoever stored it; there may be others among them. Never called by workers."""
        ...


OpenPolicy: TypeAlias = Callable[[], AbstractAsyncContextManager[Policy]]
"""Connects a worker to the policy, and disconnects it at the end."""
Hear: TypeAlias = Callable[[Ended], None]


@dataclass(frozen=True)
class Shard:
    """Whole groups of a collection and all that a worker needs to play them. Without environments it can be pickled."""

    collection: Collection
    policy: OpenPolicy
    tokenizer: Tokenizer
    sink: Sink

    async def play(self, hear: Hear) -> None:
        """Roll out what the collection says is not done. Raises what `collect`, the policy and the sink raise."""

        def end(rollout: Rollout) -> None:
            self.sink.keep(rollout)
            hear(Ended.of(rollout))

        async with self.policy() as policy:
            await collect(self.collection, policy, self.tokenizer, end)

    def left(self) -> "Shard":
        """The same without the rollouts that are durable by now."""
        return replace(self, collection=self.collection.without(self.sink.kept()))


Map: TypeAlias = Callable[[Sequence[Shard], Hear], Coroutine[None, None, None]]
"""The seam: plays every shard, hears each rollout that ends, and raises what the first shard that fails raises."""


def map_of(workers: WorkersConfig) -> Map:
    """The side of the seam that the settings name. Raises RayMissing."""
    if workers.kind == "process":
        return in_process
    if importlib.util.find_spec("ray") is None:
        raise RayMissing("rollouts.workers.kind is `ray`, and Ray is not installed: pip install 'envloom[ray]'.")
    from trainer.fanout_ray import on_ray

    return partial(on_ray, workers)


async def in_process(shards: Sequence[Shard], hear: Hear) -> None:
    """All shards at once in this process: what they wait for is the engine."""
    try:
        async with asyncio.TaskGroup() as group:
            for shard in shards:
                group.create_task(shard.play(hear))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def fan_out(
    collection: Collection, policies: Sequence[OpenPolicy], tokenizer: Tokenizer, sink: Sink, hear: Hear
) -> None:
    """Roll out what the sink does not hold yet, on the workers of `collection.config.workers`.

    `policies` are one for all workers, or several that workers take in turn. Raises RayMissing, WorkersLost, and what
    a worker raises (see `Shard.play`); what has been kept until then is durable.
    """
    workers = collection.config.workers
    spread = map_of(workers)
    left = collection.without(sink.kept())
    parts = zip(deal(left, workers.count), cycle(policies), strict=False)
    shards = [Shard(part, policy, tokenizer, sink) for part, policy in parts]
    if shards:
        run_blocking(spread(shards, hear))


def deal(collection: Collection, count: int) -> list[Collection]:
    """At most `count` parts of about equal size with the groups of which something is left, in order."""
    unfinished = [
        task
        for task in collection.tasks
        if not planned([task], collection.assignment, collection.config).keys() <= collection.done
    ]
    return [replace(collection, tasks=unfinished[first::count]) for first in range(min(count, len(unfinished)))]
