"""The workers of a fan-out as Ray actors, on this machine or on a cluster; one that dies is replaced.

The driver replaces them itself. Ray's own retry of a stream begins it anew and drops as many words as have arrived
before, but a second worker plays only what is left: its first word is news.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from envs.environment import Environment
from envs.spec import EnvironmentSpec
from trainer.fanout import Ended, Hear, Shard, WorkersLost
from trainer.settings import WorkersConfig

logger = logging.getLogger(__name__)
WORKER_STARTS = 3
_STORE_BYTES = 80 * 2**20
"""Of Ray's object store on this machine, its least. No rollout passes through it."""


class Worker:
    """Plays one shard in a process of its own."""

    async def play(self, shard: Shard, specs: Sequence[EnvironmentSpec]) -> AsyncIterator[Ended]:
        """Word of each rollout as it ends. Raises what `Shard.play` raises."""
        environments = {spec.id: Environment.load(spec) for spec in specs}
        words: asyncio.Queue[Ended | None] = asyncio.Queue()
        whole = replace(shard, collection=replace(shard.collection, environments=environments))
        playing = asyncio.create_task(whole.play(words.put_nowait))
        playing.add_done_callback(lambda _: words.put_nowait(None))
        while (word := await words.get()) is not None:
            yield word
        await playing


async def on_ray(workers: WorkersConfig, shards: Sequence[Shard], hear: Hear) -> None:
    """Every shard on an actor of its own. Raises WorkersLost, and what a shard raises; no actor outlives the call."""
    try:
        with _cluster(workers):
            async with asyncio.TaskGroup() as group:
                for shard in shards:
                    group.create_task(_attend(shard, hear))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


@contextmanager
def _cluster(workers: WorkersConfig) -> Iterator[None]:
    """Connected to the cluster that the settings name; without one, to one on this machine that ends afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if workers.address:
        ray.init(address=workers.address)
    else:
        ray.init(
            address="local",
            num_cpus=workers.count,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
        )
    try:
        yield
    finally:
        ray.shutdown()


async def _attend(shard: Shard, hear: Hear) -> None:
    """Have the shard played, by as many workers as it takes."""
    specs = [environment.spec for environment in shard.collection.environments.values()]
    deaths = 0
    while True:
        parcel = replace(shard, collection=replace(shard.collection, environments={}))
        actor: Any = ray.remote(Worker).options(num_cpus=1, scheduling_strategy="SPREAD").remote()
        try:
            async for word in actor.play.remote(parcel, specs):
                hear(await word)
                deaths = 0
            return
        except RayTaskError as failed:  # the worker lives, and what it did went wrong
            raise failed.cause from failed
        except RayError as died:
            deaths += 1
            if deaths == WORKER_STARTS:
                tasks = ", ".join(task.id for task in shard.collection.tasks)
                raise WorkersLost(
                    f"{deaths} workers in a row died before they had finished a rollout of the tasks {tasks}. Look for "
                    f"the reason in Ray's logs, memory first; what was finished is kept. The last: {died}"
                ) from died
            logger.warning("a worker died, and another one plays what is left: %s", died)
        finally:
            ray.kill(actor)  # one that is only out of sight must not go on beside its successor
        shard = shard.left()
