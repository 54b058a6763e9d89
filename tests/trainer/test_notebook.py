"""Rollouts where an event loop runs already, as in a notebook: the same ones, and Ctrl-C ends them."""

import asyncio
import os
import signal
from contextlib import nullcontext
from functools import partial

import pytest

from envs.environment import Environment
from envs.task import Task
from serving.endpoint import Completion, CompletionRequest
from tests.trainer.conftest import Script
from tests.trainer.sinks import InMemory
from trainer.collect import Collection, collect, collect_sync
from trainer.conversation import Tokenizer
from trainer.fanout import fan_out
from trainer.player import Assignment
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig


@pytest.fixture
def collection(shop: Environment, tasks: list[Task], assignment: Assignment) -> Collection:
    return Collection(tasks, {shop.id: shop}, assignment, RolloutConfig(samples_per_task=2, concurrency=1))


def essence(rollouts: list[Rollout]) -> list[tuple[str, str, list[tuple[int, ...]]]]:
    return [(one.id, one.outcome, [turn.completion_ids for turn in one.turns]) for one in rollouts]


def test_collecting_in_a_notebook_gives_the_rollouts_of_a_script(
    collection: Collection, tokenizer: Tokenizer, scripted, golden_script: Script
) -> None:
    def rollouts() -> list[Rollout]:
        return collect_sync(collection, scripted(golden_script), tokenizer)

    async def notebook() -> tuple[list[Rollout], list[Rollout]]:
        return rollouts(), await collect(collection, scripted(golden_script), tokenizer)

    called, awaited = asyncio.run(notebook())
    assert essence(called) == essence(awaited) == essence(rollouts()) and len(called) == 2 * len(collection.tasks)
    assert all(rollout.solved for rollout in called)


def test_workers_of_this_process_are_fanned_out_to_in_a_notebook(
    collection: Collection, tokenizer: Tokenizer, scripted, golden_script: Script
) -> None:
    sink = InMemory()

    async def notebook() -> None:
        fan_out(collection, [partial(nullcontext, scripted(golden_script))], tokenizer, sink, lambda _: None)

    asyncio.run(notebook())
    assert len(sink.ended) == 2 * len(collection.tasks)


def test_ctrl_c_in_a_notebook_ends_collecting_and_keeps_what_has_ended(
    collection: Collection, tokenizer: Tokenizer, scripted, golden_script: Script
) -> None:
    kept: list[Rollout] = []

    class Stuck:
        """A policy that answers one rollout and then no more."""

        policy = scripted(golden_script)

        async def complete(self, request: CompletionRequest) -> Completion:
            if kept:
                await asyncio.sleep(60)
            return await self.policy.complete(request)

    def ended(rollout: Rollout) -> None:
        kept.append(rollout)
        os.kill(os.getpid(), signal.SIGINT)

    async def notebook() -> None:
        collect_sync(collection, Stuck(), tokenizer, ended)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(notebook())
    assert len(kept) == 1
