"""The reward of ToolOrchestra (arXiv 2511.21689, section 3.2): M(τ) normalised within the group, times preference P.

M(τ) = [calls of each tool, outcome, −cost, −latency]. Each element is min-max normalised over the group's unmasked
rollouts and is 0 where it is constant; R(τ) = M_norm·P when τ solved its task, else 0. Costs are negated *before* they
are normalised, so a dearer rollout never scores higher. Amounts that only rounding tells apart (`serving.amounts`) are
one amount. One deliberate difference: the outcome is 0 or 1 already and stays as it is. In a mixed group that is its
min-max; in an all-solved group it adds the same constant to every reward, which centring removes, and keeps "solved is
worth at least `accuracy`" true in every group.
"""

from collections.abc import Sequence
from math import fsum

from pydantic import Field

from envs.record import Record
from envs.task import Preference
from envs.verdict import Outcome
from serving.amounts import levels, total
from trainer.rollout import Rollout
from trainer.settings import RewardConfig

OUTCOME, COST, LATENCY = "outcome", "-cost_usd", "-latency_s"


class Measures(Record):
    """The part of a rollout that a reward depends on."""

    rollout_id: str
    group_id: str
    outcome: Outcome
    calls: dict[str, int] = Field(default_factory=dict)
    """How often each tool, distractor and expert was called, by the name it had in the group's toolbox."""
    cost_usd: float = 0.0
    latency_s: float = 0.0

    @property
    def masked(self) -> bool:
        """An environment that broke says nothing about the policy."""
        return self.outcome is Outcome.ENVIRONMENT_ERROR


class Term(Record):
    """One element of M(τ): its way from raw value to contribution, so that the arithmetic can be read and redone."""

    name: str
    raw: float
    low: float
    high: float
    """The group's extremes."""
    normalised: float
    weight: float
    """The element of P."""

    @property
    def product(self) -> float:
        return self.normalised * self.weight


class Reward(Record):
    """The reward of one rollout with its arithmetic."""

    rollout_id: str
    group_id: str
    outcome: Outcome
    value: float | None
    """None where the rollout is masked: an environment error is never a 0."""
    terms: tuple[Term, ...] = ()

    def element(self, term: Term) -> float:
        """An element of M_norm as it counts: 0 where the task was not solved."""
        return term.normalised if self.outcome is Outcome.SOLVED else 0.0


def measures_of(rollout: Rollout, config: RewardConfig) -> Measures:
    """The part of a rollout that a reward depends on: outcome, calls per tool, cost in USD and latency in seconds.

    Latency follows from the tokens, or is the measured one, as `config.latency_from` says.
    """
    by_tokens = rollout.completion_tokens * config.seconds_per_completion_token
    of_experts = rollout.experts_latency_s
    return Measures(
        rollout_id=rollout.id,
        group_id=rollout.group_id,
        outcome=rollout.outcome,
        calls=rollout.calls_per_tool(),
        cost_usd=rollout.cost_usd,
        latency_s=rollout.latency_s if config.latency_from == "measured" else total((by_tokens, of_experts)),
    )


def preference_or_default(stated: Preference, config: RewardConfig) -> Preference:
    """The task's own preference when it states one in words, else the campaign's weights."""
    if stated.text:
        return stated
    return Preference(accuracy=config.accuracy, cost=config.cost, latency=config.latency)


def score_group(group: Sequence[Measures], preference: Preference) -> list[Reward]:
    """Rewards of one group, in its order: the normalized measures weighted by the preference, 0 where not solved.

    `group` holds the measures of all attempts of one policy at one task. Masked rollouts get no reward (`value` is
    None) and change no other reward. Raises ValueError for a negative weight: it would turn the preference into its
    opposite.

        rewards = score_group([measures_of(rollout, config) for rollout in group], Preference(accuracy=1, cost=0.2))
    """
    weights = {OUTCOME: preference.accuracy, COST: preference.cost, LATENCY: preference.latency}
    weights |= {_calls(tool): weight for tool, weight in preference.tools.items()}
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(
                f"preference weight of {name} is {weight}; weights are 0 or more, costs are negated already."
            )
    elements = [_elements(measures, preference) for measures in group if not measures.masked]
    level_of = {name: levels([row[name] for row in elements]) for name in (elements[0] if elements else {})}
    return [_reward(measures, preference, level_of, weights) for measures in group]


def _calls(tool: str) -> str:
    return f"calls.{tool}"


def _elements(measures: Measures, preference: Preference) -> dict[str, float]:
    """M(τ) without the tools no preference weighs: they contribute 0 whatever their counts."""
    calls = {_calls(tool): float(measures.calls.get(tool, 0)) for tool in sorted(preference.tools)}
    outcome = 1.0 if measures.outcome is Outcome.SOLVED else 0.0
    # 0.0 - x, not -x: a cost of 0 must not become -0.0 in the stored arithmetic.
    return {**calls, OUTCOME: outcome, COST: 0.0 - measures.cost_usd, LATENCY: 0.0 - measures.latency_s}


def _reward(
    measures: Measures, preference: Preference, level_of: dict[str, dict[float, float]], weights: dict[str, float]
) -> Reward:
    """`level_of`: per element, each raw value of the group → the value that it counts as."""
    identity = {"rollout_id": measures.rollout_id, "group_id": measures.group_id, "outcome": measures.outcome}
    if measures.masked:
        return Reward(**identity, value=None)
    terms = tuple(
        Term(
            name=name,
            raw=raw,
            low=min(level_of[name].values()),
            high=max(level_of[name].values()),
            normalised=raw if name == OUTCOME else _min_max(raw, level_of[name]),
            weight=weights[name],
        )
        for name, raw in _elements(measures, preference).items()
    )
    solved = measures.outcome is Outcome.SOLVED
    return Reward(**identity, value=fsum(term.product for term in terms) if solved else 0.0, terms=terms)


def _min_max(raw: float, level_of: dict[float, float]) -> float:
    low, high = min(level_of.values()), max(level_of.values())
    return (level_of[raw] - low) / (high - low) if high > low else 0.0


def explain(reward: Reward) -> list[dict[str, float | str]]:
    """The arithmetic of one reward as rows: element, raw value, group extremes, normalised, weight, product."""
    return [{**term.model_dump(), "product": term.product} for term in reward.terms]
