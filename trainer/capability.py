"""What experts can do, as measured: each works alone on sample tasks, and what came of it is written for policies."""

from collections.abc import Mapping, Sequence

from envs.environment import Environment
from envs.experts import Profile
from envs.task import Task
from envs.verdict import Outcome
from serving.blocking import run_blocking
from trainer.baselines import RULES, RulePolicy
from trainer.collect import Collection, collect
from trainer.conversation import Tokenizer
from trainer.player import Assignment
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig


def capability_text(rollouts: Sequence[Rollout]) -> str:
    """What rollouts say about the expert that was asked in them: per domain, how many tasks were solved with it.

    Tasks on which the environment broke say nothing about it.
    """
    judged = [rollout for rollout in rollouts if rollout.outcome is not Outcome.ENVIRONMENT_ERROR]
    counts = []
    for domain in sorted({rollout.domain for rollout in judged}):
        there = [rollout for rollout in judged if rollout.domain == domain]
        counts.append(f"{sum(rollout.solved for rollout in there)} of {len(there)} {domain} tasks")
    return f"Solved {', '.join(counts)}." if counts else ""


def measured(
    config: RolloutConfig, tasks: Sequence[Task], environments: Mapping[str, Environment], tokenizer: Tokenizer
) -> RolloutConfig:
    """The settings with the capability of every expert of the pool written from its results on `tasks`.

    Each expert is asked for every step of every task, once; what it says is done. `environments` is by id. Raises
    trainer.experts.KeyMissing for an endpoint whose key is not set.
    """
    pool = tuple(
        profile.model_copy(update={"capability": _measure(profile, config, tasks, environments, tokenizer)})
        for profile in config.toolbox.pool
    )
    return config.model_copy(update={"toolbox": config.toolbox.model_copy(update={"pool": pool})})


def _measure(
    profile: Profile,
    config: RolloutConfig,
    tasks: Sequence[Task],
    environments: Mapping[str, Environment],
    tokenizer: Tokenizer,
) -> str:
    alone = config.toolbox.model_copy(update={"pool": (profile,), "experts": 1, "distractors": 0})
    once = config.model_copy(update={"samples_per_task": 1, "toolbox": alone})
    who = Assignment(campaign="capability", iteration=0, purpose="evaluation", policy_id=profile.name, model="")
    policy = RulePolicy(RULES["cheapest_expert"], tokenizer)
    collection = Collection(tasks, environments, who, once, dialect="compact")
    return capability_text(run_blocking(collect(collection, policy, tokenizer)))
