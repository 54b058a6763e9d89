"""How well a policy meets the preferences that users state, beside the policy that training began with. No torch.

The preference-aware reward of ToolOrchestra (arXiv 2511.21689, appendix L). It compares with a baseline rollout of the
same task and not with a group, so that it means the same for every policy; training uses `trainer.rewards`.
"""

from collections.abc import Sequence
from math import fsum
from statistics import fmean

from envs.intervals import bootstrap_interval, wilson_interval
from envs.summary import Adherence
from envs.task import Preference
from envs.verdict import Outcome
from trainer.rewards import Measures, measures_of
from trainer.rollout import Rollout
from trainer.settings import RewardConfig

COST_UNIT_USD = 1e-4
"""What costs are counted in: the cheapest call that is ever drawn (`envs.toolbox.draw_call_price`)."""
LATENCY_UNIT_S = 1.0


class OtherPreference(ValueError):
    """A rollout and its baseline were told different preferences: their scores cannot be compared."""


def preference_score(policy: Measures, base: Measures, preference: Preference) -> float:
    """R_e of one rollout under a stated preference P (arXiv 2511.21689, equations 5 and 6).

    R_e = Σ_k M̂[k]·P[k] if the rollout solved its task, else 0, where M is measured for the policy and M_0 for the
    base policy on the same task:

        M̂[k] = M[k] / max(1, M_0[k])   for calls of each tool, and for the outcome
        M̂[k] = M_0[k] / max(1, M[k])   for cost and latency

    The 1 is the smallest amount that counts: one call, one solved task, `COST_UNIT_USD`, `LATENCY_UNIT_S`. (In dollars
    it would exceed nearly every cost, and the policy's own cost would not matter.) The paper adds the examples up; we
    take their mean, so that splits of different sizes can be compared. Raises ValueError for a negative weight.
    """
    weights = (preference.accuracy, preference.cost, preference.latency, *preference.tools.values())
    if min(weights) < 0:
        raise ValueError(f"preference {preference.text!r} has a negative weight; weights are 0 or more.")
    if policy.outcome is not Outcome.SOLVED:
        return 0.0
    calls = fsum(
        weight * policy.calls.get(tool, 0) / max(1, base.calls.get(tool, 0))
        for tool, weight in sorted(preference.tools.items())
    )
    cost = _spared(policy.cost_usd / COST_UNIT_USD, base.cost_usd / COST_UNIT_USD)
    latency = _spared(policy.latency_s / LATENCY_UNIT_S, base.latency_s / LATENCY_UNIT_S)
    return calls + preference.accuracy + preference.cost * cost + preference.latency * latency


def _spared(spent: float, base: float) -> float:
    return base / max(1.0, spent)


def adherence(
    rollouts: Sequence[Rollout], base: Sequence[Rollout], config: RewardConfig, confidence: float = 0.95
) -> Adherence | None:
    """The scores of a policy's rollouts, paired with the base policy's; None where no pair states a preference.

    Raises OtherPreference.
    """
    baseline = {_place(rollout): rollout for rollout in base if _judged(rollout)}
    stated = [rollout for rollout in rollouts if rollout.preference.text]
    pairs = [
        (rollout, baseline[_place(rollout)])
        for rollout in sorted(stated, key=_place)
        if _judged(rollout) and _place(rollout) in baseline
    ]
    if not pairs:
        return None
    scores: dict[str, list[tuple[float, float]]] = {}
    for mine, other in pairs:
        scores.setdefault(mine.task_id, []).append(_scores(mine, other, config))
    solved = sum(mine.solved for mine, _ in pairs)
    low, high = wilson_interval(solved, len(pairs), confidence)
    both = [pair for task in scores.values() for pair in task]
    return Adherence(
        n=len(pairs),
        unpaired=len(stated) - len(pairs),
        solved=solved,
        success=solved / len(pairs),
        success_low=low,
        success_high=high,
        cost_usd_mean=fmean(mine.cost_usd for mine, _ in pairs),
        latency_s_mean=fmean(measures_of(mine, config).latency_s for mine, _ in pairs),
        score_mean=fmean(score for score, _ in both),
        score_interval=bootstrap_interval([[score for score, _ in task] for task in scores.values()], confidence),
        base_score_mean=fmean(base_score for _, base_score in both),
        gain_mean=fmean(score - base_score for score, base_score in both),
        gain_interval=bootstrap_interval([[one - two for one, two in task] for task in scores.values()], confidence),
    )


def _scores(mine: Rollout, other: Rollout, config: RewardConfig) -> tuple[float, float]:
    if mine.preference != other.preference:
        raise OtherPreference(
            f"task {mine.task_id}: the policy was told {mine.preference.text!r}, the base policy "
            f"{other.preference.text!r}. Evaluate both under the same settings: materialise `baseline` again."
        )
    policy, base = measures_of(mine, config), measures_of(other, config)
    return preference_score(policy, base, mine.preference), preference_score(base, base, mine.preference)


def _place(rollout: Rollout) -> tuple[str, int]:
    return rollout.task_id, rollout.sample


def _judged(rollout: Rollout) -> bool:
    return rollout.outcome is not Outcome.ENVIRONMENT_ERROR
