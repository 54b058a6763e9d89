"""Collecting rollouts: many conversations between one policy and many episodes, at once, each handed over when done.

The engine is anything with `complete`; environments run in this process. How one rollout goes is `player`'s affair,
what it is worth is decided elsewhere.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

from envs.environment import Environment
from envs.record import content_id, derive_seed
from envs.task import Preference, Task, Toolbox
from envs.toolbox import sample_preference, sample_toolbox
from trainer.conversation import Conversation, Tokenizer
from trainer.experts import Experts
from trainer.jobs import RolloutConfig
from trainer.player import Assignment, Instance, Player, Policy, Stage
from trainer.rollout import Rollout, rollout_identity
from trainer.users import user_for


async def collect(
    tasks: Sequence[Task],
    environments: Mapping[str, Environment],
    policy: Policy,
    tokenizer: Tokenizer,
    assignment: Assignment,
    config: RolloutConfig,
    *,
    done: Collection[str] = frozenset(),
    on_rollout: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """Roll the policy out `config.samples_per_task` times on each task; the new rollouts, sorted by id.

    `environments` is by environment id; those of other domains than a task's lend it distractors.
    Rollouts whose id is in `done` are not repeated. `on_rollout` is called with each rollout as it ends; what it has
    been called with survives an engine that dies, whose error (`serving.errors.EndpointError`) ends the collection:
    restart the engine and call again with `done`.
    Raises KeyError for a task whose environment is missing, ToolboxUnavailable and KeyMissing for settings that ask
    for what is not there.
    """
    room = asyncio.Semaphore(config.concurrency)
    finished: list[Rollout] = []
    drawn = {task.id: draw_toolbox(task, environments, assignment, config) for task in tasks}
    user = user_for(config.user)

    async def play(stage: Stage, task: Task, sample: int, seed: int) -> None:
        async with room:
            rollout = await Player(Instance(task, *drawn[task.id], sample, seed), stage).play()
        finished.append(rollout)
        if on_rollout is not None:
            on_rollout(rollout)

    try:
        async with Experts(config.toolbox.pool) as experts, contextlib.aclosing(user), asyncio.TaskGroup() as group:
            stage = Stage(environments, policy, Conversation(tokenizer), experts, user, assignment, config)
            for rollout_id, (task, sample, seed) in planned(tasks, assignment, config).items():
                if rollout_id not in done:
                    group.create_task(play(stage, task, sample, seed))
    except BaseExceptionGroup as several:
        # All of them met the same dying engine or the same bug: the first names it.
        raise several.exceptions[0] from None
    return sorted(finished, key=lambda rollout: rollout.id)


def planned(tasks: Sequence[Task], assignment: Assignment, config: RolloutConfig) -> dict[str, tuple[Task, int, int]]:
    """Rollout id → (task, sample, seed) of every rollout of a collection, in order.

    Seeds, and so ids, follow from all settings that shape a rollout: under other settings it is another rollout.
    """
    identity = assignment.model_dump(include={"campaign", "iteration", "purpose", "policy_id"})
    shaping = content_id(config.model_dump(mode="json", exclude={"concurrency", "samples_per_task"}))
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
