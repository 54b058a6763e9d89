"""What evaluation rollouts say about a policy: success, cost, latency and turns with their intervals, per domain.

Environment errors are counted beside the result and never enter it. No torch.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from statistics import fmean

from envs.intervals import bootstrap_interval, wilson_interval
from envs.summary import ALL, Summary
from envs.verdict import Outcome
from trainer.adherence import adherence
from trainer.rollout import Rollout
from trainer.settings import RewardConfig


def summarise(rollouts: Sequence[Rollout], confidence: float = 0.95, split: str = "test") -> list[Summary]:
    """The summary over all rollouts of a split, then one per domain in alphabetical order."""
    domains = sorted({rollout.domain for rollout in rollouts})
    parts = [[rollout for rollout in rollouts if rollout.domain == domain] for domain in domains]
    return [
        _summary(split, ALL, rollouts, confidence),
        *(_summary(split, domain, part, confidence) for domain, part in zip(domains, parts, strict=True)),
    ]


def summarise_splits(
    rollouts: Sequence[Rollout],
    base: Sequence[Rollout],
    splits: Mapping[str, Set[str]],
    rewards: RewardConfig,
    confidence: float,
) -> list[tuple[Summary, list[Rollout]]]:
    """Per split its summary and those of its domains, each with the rollouts that count in it.

    `splits` holds task ids by split. `base` are the base policy's rollouts on the same tasks; without them adherence
    to preferences is not measured.
    """
    counted: list[tuple[Summary, list[Rollout]]] = []
    for split, task_ids in splits.items():
        part = [rollout for rollout in rollouts if rollout.task_id in task_ids]
        whole, *domains = summarise(part, confidence, split)
        met = adherence(part, base, rewards, confidence)
        counted.append((whole.model_copy(update={"adherence": met}), part))
        for summary in domains:
            counted.append((summary, [rollout for rollout in part if rollout.domain == summary.scope]))
    return counted


def _summary(split: str, scope: str, rollouts: Sequence[Rollout], confidence: float) -> Summary:
    judged = [rollout for rollout in rollouts if rollout.outcome is not Outcome.ENVIRONMENT_ERROR]
    solved = sum(rollout.solved for rollout in judged)
    low, high = wilson_interval(solved, len(judged), confidence)
    cost = math.fsum(rollout.cost_usd for rollout in judged)

    def mean(of: Callable[[Rollout], float]) -> float:
        return fmean(of(rollout) for rollout in judged) if judged else 0.0

    def interval(of: Callable[[Rollout], float]) -> tuple[float, float] | None:
        return bootstrap_interval([[of(rollout) for rollout in task] for task in _by_task(judged)], confidence)

    return Summary(
        split=split,
        scope=scope,
        simulated_experts=any(rollout.simulated_experts for rollout in rollouts),
        n=len(judged),
        solved=solved,
        success=solved / len(judged) if judged else 0.0,
        success_low=low,
        success_high=high,
        environment_errors=len(rollouts) - len(judged),
        cost_usd_mean=cost / len(judged) if judged else 0.0,
        cost_usd_interval=interval(_cost),
        cost_per_solved_usd=cost / solved if solved else None,
        latency_s_mean=mean(_latency),
        latency_s_interval=interval(_latency),
        turns_mean=mean(_turns),
        turns_interval=interval(_turns),
        calls_mean=mean(lambda rollout: sum(rollout.calls_per_tool().values())),
        completion_tokens_mean=mean(lambda rollout: rollout.completion_tokens),
        stop_reasons=dict(sorted(Counter(str(rollout.stop_reason) for rollout in rollouts).items())),
    )


def _by_task(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """Rollouts of one task together, sorted: the order in which rollouts came changes no interval."""
    tasks: dict[str, list[Rollout]] = {}
    for rollout in sorted(rollouts, key=lambda rollout: (rollout.task_id, rollout.sample)):
        tasks.setdefault(rollout.task_id, []).append(rollout)
    return list(tasks.values())


def _cost(rollout: Rollout) -> float:
    return rollout.cost_usd


def _latency(rollout: Rollout) -> float:
    return rollout.latency_s


def _turns(rollout: Rollout) -> float:
    return len(rollout.turns)
