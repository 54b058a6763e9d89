"""What evaluation rollouts say about a policy: success with its interval, cost, latency, per domain. No torch.

Environment errors are counted beside the result and never enter it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from envs.intervals import wilson_interval
from envs.record import Record
from envs.verdict import Outcome
from trainer.rollout import Rollout


class Summary(Record):
    """One policy on one set of tasks."""

    scope: str
    """`all` or a domain."""
    simulated_experts: bool
    """Whether an expert was simulated: then success and cost are those of a declaration, and must be shown as such."""
    n: int
    """Rollouts judged, environment errors left out."""
    solved: int
    success: float
    success_low: float
    success_high: float
    """Wilson score interval; 0 to 1 when nothing was judged."""
    environment_errors: int
    cost_usd_mean: float
    cost_per_solved_usd: float | None
    latency_s_mean: float
    turns_mean: float
    calls_mean: float
    completion_tokens_mean: float
    stop_reasons: dict[str, int]


def summarise(rollouts: Sequence[Rollout], confidence: float = 0.95) -> list[Summary]:
    """The summary over all rollouts, then one per domain in alphabetical order."""
    domains = sorted({rollout.domain for rollout in rollouts})
    parts = [[rollout for rollout in rollouts if rollout.domain == domain] for domain in domains]
    return [
        _summary("all", rollouts, confidence),
        *(_summary(domain, part, confidence) for domain, part in zip(domains, parts, strict=True)),
    ]


def _summary(scope: str, rollouts: Sequence[Rollout], confidence: float) -> Summary:
    judged = [rollout for rollout in rollouts if rollout.outcome is not Outcome.ENVIRONMENT_ERROR]
    solved = sum(rollout.solved for rollout in judged)
    low, high = wilson_interval(solved, len(judged), confidence)
    cost = math.fsum(rollout.cost_usd for rollout in judged)

    def mean(values: list[float]) -> float:
        return fmean(values) if values else 0.0

    return Summary(
        scope=scope,
        simulated_experts=any(rollout.simulated_experts for rollout in rollouts),
        n=len(judged),
        solved=solved,
        success=solved / len(judged) if judged else 0.0,
        success_low=low,
        success_high=high,
        environment_errors=len(rollouts) - len(judged),
        cost_usd_mean=cost / len(judged) if judged else 0.0,
        cost_per_solved_usd=cost / solved if solved else None,
        latency_s_mean=mean([rollout.latency_s for rollout in judged]),
        turns_mean=mean([float(len(rollout.turns)) for rollout in judged]),
        calls_mean=mean([float(sum(rollout.calls_per_tool().values())) for rollout in judged]),
        completion_tokens_mean=mean([float(rollout.completion_tokens) for rollout in judged]),
        stop_reasons=dict(sorted(Counter(str(rollout.stop_reason) for rollout in rollouts).items())),
    )
