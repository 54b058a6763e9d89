"""Collecting rollouts: many conversations between one policy and many episodes, at once, each handed over when done.

The engine is anything with `complete`; environments run in this process. How one rollout goes is `player`'s affair,
what it is worth is decided elsewhere.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from random import Random

from envs.environment import Environment
from envs.record import content_id, derive_seed
from envs.task import Preference, Task, Toolbox
from envs.toolbox import sample_preference, sample_toolbox
from serving.blocking import run_blocking
from trainer.conversation import Conversation, Tokenizer
from trainer.dialects.choice import dialect_for
from trainer.dialects.protocol import DialectName
from trainer.experts import Experts
from trainer.player import Assignment, Instance, Player, Policy, Stage
from trainer.rollout import Rollout, rollout_identity
from trainer.settings import RolloutConfig
from trainer.users import user_for


@dataclass(frozen=True)
class Collection:
    """The tasks to roll out, their environments by id, the settings, and the account that the rollouts belong to.

    Collection(tasks, {environment.id: environment}, assignment, RolloutConfig(samples_per_task=4))
    """

    tasks: Sequence[Task]
    environments: Mapping[str, Environment]
    """By environment id; those of other domains than a task's lend it distractors."""
    assignment: Assignment
    config: RolloutConfig
    done: Set[str] = frozenset()
    """Ids of rollouts that are there already and are not repeated."""
    dialect: DialectName | None = None
    """What the policy speaks where that is not for the settings to say, as with rules."""

    def served_as(self, model: str) -> "Collection":
        """The same, by an engine that calls the policy `model`."""
        return replace(self, assignment=self.assignment.model_copy(update={"model": model}))

    def without(self, finished: Iterable[str]) -> "Collection":
        """What is left of it when these rollouts are done too."""
        return replace(self, done={*self.done, *finished})


async def collect(
    collection: Collection,
    policy: Policy,
    tokenizer: Tokenizer,
    on_rollout: Callable[[Rollout], None] = lambda _: None,
) -> list[Rollout]:
    """Roll the policy out `config.samples_per_task` times on each task; the new rollouts, sorted by id.

    A coroutine, to be awaited: `rollouts = await collect(collection, policy, tokenizer)`. `policy` answers tokens with
    tokens (a `serving.Client`), `tokenizer` is the base model's, from transformers. `on_rollout` is called with each
    rollout as it ends; what it has been called with survives an engine that dies, whose error
    (`serving.errors.EndpointError`) ends the collection: restart the engine and collect what is left. Raises KeyError
    for a task whose environment is missing, ToolboxUnavailable and KeyMissing for settings that ask for what is not
    there.
    """
    tasks, environments, config = collection.tasks, collection.environments, collection.config
    room = asyncio.Semaphore(config.concurrency)
    finished: list[Rollout] = []
    drawn = {task.id: draw_toolbox(task, environments, collection.assignment, config) for task in tasks}
    user = user_for(config.user)

    async def play(stage: Stage, task: Task, sample: int, seed: int) -> None:
        async with room:
            rollout = await Player(Instance(task, *drawn[task.id], sample, seed), stage).play()
        finished.append(rollout)
        on_rollout(rollout)

    try:
        async with Experts(config.toolbox.pool) as experts, contextlib.aclosing(user), asyncio.TaskGroup() as group:
            conversation = Conversation(tokenizer, dialect_for(collection.dialect or config.dialect, tokenizer))
            stage = Stage(environments, policy, conversation, experts, user, collection.assignment, config)
            for rollout_id, (task, sample, seed) in planned(tasks, collection.assignment, config).items():
                if rollout_id not in collection.done:
                    group.create_task(play(stage, task, sample, seed))
    except BaseExceptionGroup as several:
        # All of them met the same dying engine or the same bug: the first names it.
        raise several.exceptions[0] from None
    return sorted(finished, key=lambda rollout: rollout.id)


def collect_sync(
    collection: Collection,
    policy: Policy,
    tokenizer: Tokenizer,
    on_rollout: Callable[[Rollout], None] = lambda _: None,
) -> list[Rollout]:
    """`collect` for code that is no coroutine: it blocks until the rollouts are there, sorted by id.

    It may be called where an event loop runs, as in a notebook; the rollouts then run in another thread, where
    `on_rollout` is called too. Ctrl-C ends it, and keeps what `on_rollout` was called with. Raises as `collect`.

        rollouts = collect_sync(Collection(tasks, environments, assignment, RolloutConfig()), policy, tokenizer)
    """
    return run_blocking(collect(collection, policy, tokenizer, on_rollout))


def planned(tasks: Sequence[Task], assignment: Assignment, config: RolloutConfig) -> dict[str, tuple[Task, int, int]]:
    """Rollout id → (task, sample, seed) of every rollout of a collection, in order.

    Seeds, and so ids, follow from all settings that shape a rollout: under other settings it is another rollout.
    """
    identity = assignment.model_dump(include={"campaign", "iteration", "purpose", "policy_id"})
    unshaped = {"concurrency", "samples_per_task", "workers"}
    shaping = content_id({name: value for name, value in config.canonical_fields().items() if name not in unshaped})
    plan = {}
    for task in tasks:
        for sample in range(config.samples_per_task):
            seed = derive_seed(shaping, assignment.campaign, assignment.iteration, assignment.purpose, task.id, sample)
            plan[rollout_identity(**identity, task_id=task.id, sample=sample, seed=seed)] = (task, sample, seed)
    return plan


def draw_toolbox(
    task: Task, environments: Mapping[str, Environment], assignment: Assignment, config: RolloutConfig
) -> tuple[Toolbox, Preference]:
    """Toolbox and preference of one task instance: the same for all its samples and for every policy.

    Evaluations of all iterations share them too, or their differences would be those of the draw.
    """
    redrawn = assignment.purpose == "training" and config.toolbox.redrawn == "per_iteration"
    rng = Random(
        derive_seed(
            "toolbox",
            config.toolbox.seed,
            assignment.campaign,
            assignment.purpose,
            assignment.iteration if redrawn else -1,
            task.id,
        )
    )
    spec = environments[task.environment_id].spec
    others = [environment.spec for environment in environments.values() if environment.spec.domain != spec.domain]
    toolbox = sample_toolbox(task, spec, config.toolbox, others, rng)
    return toolbox, sample_preference(task, toolbox, config.toolbox, rng)
