"""What holds from measures to advantages for any group, whether elements are compared together or one by one."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.fates import LeftOut
from envs.task import Preference
from envs.verdict import Outcome
from tests.trainer.test_rewards import GROUPS, MEASURES, PREFERENCES, USD
from trainer.advantages import advantages_of
from trainer.rewards import Measures, preference_or_default, score_group
from trainer.rollout import StopReason
from trainer.settings import RewardConfig

ROUNDING = 1e-9
BOTH = pytest.mark.parametrize(
    "config", [RewardConfig(), RewardConfig(advantage="decoupled")], ids=["joint", "decoupled"]
)
DEFAULT = preference_or_default(Preference(), RewardConfig())


def found(*groups: Sequence[Measures], preference: Preference, config: RewardConfig) -> dict[str, float | None]:
    """Advantage per rollout; None where it is left out."""
    named = [[each.model_copy(update={"group_id": str(n)}) for each in group] for n, group in enumerate(groups)]
    rewards = [reward for group in named for reward in score_group(group, preference)]
    stops = {reward.rollout_id: StopReason.ANSWERED for reward in rewards}
    return {each.rollout_id: each.advantage for each in advantages_of(rewards, stops, config)}


def measures(name: str, outcome: Outcome = Outcome.SOLVED, **values: object) -> Measures:
    return Measures(rollout_id=name, group_id="g", outcome=outcome).model_copy(update=values)


@BOTH
@given(GROUPS, MEASURES, USD)
def test_a_dearer_rollout_never_scores_higher_when_cost_matters(config, group, one, more_usd) -> None:
    dearer = one.model_copy(update={"rollout_id": "dearer", "cost_usd": one.cost_usd + more_usd})
    advantages = found([*group, one, dearer], preference=DEFAULT, config=config)
    if advantages["dearer"] is not None:
        assert advantages["dearer"] <= advantages[one.rollout_id] + ROUNDING


@BOTH
def test_of_two_that_solved_it_the_cheaper_one_scores_higher(config) -> None:
    advantages = found([measures("dear", cost_usd=0.2), measures("cheap")], preference=DEFAULT, config=config)
    assert advantages["cheap"] > 0 > advantages["dear"]


@BOTH
@given(GROUPS)
def test_a_failed_rollout_never_beats_a_solved_one_at_default_weights(config, group) -> None:
    advantages = found(group, preference=DEFAULT, config=config)
    solved = [advantages[each.rollout_id] for each in group if each.outcome is Outcome.SOLVED]
    failed = [advantages[each.rollout_id] for each in group if each.outcome is Outcome.FAILED]
    if solved and failed:
        assert max(failed) < min(solved)


@BOTH
@given(st.data(), GROUPS, PREFERENCES)
def test_neither_the_order_of_rollouts_nor_of_tools_matters(config, data, group, preference) -> None:
    tools = dict(data.draw(st.permutations(list(preference.tools.items()))))
    permuted = [
        each.model_copy(update={"calls": dict(reversed(each.calls.items()))})
        for each in data.draw(st.permutations(group))
    ]
    reordered = preference.model_copy(update={"tools": tools})
    assert found(permuted, preference=reordered, config=config) == found(group, preference=preference, config=config)


CALL_USD = st.integers(1, 9).map(lambda tenths: tenths / 10)


@BOTH
@given(st.data(), st.lists(CALL_USD, min_size=1, max_size=5), st.lists(CALL_USD, min_size=1, max_size=5))
def test_the_order_in_which_calls_were_paid_changes_nothing(config, data, prices, others) -> None:
    """Three rollouts make the same calls in other orders, one makes others."""
    orders = [prices, *(data.draw(st.permutations(prices)) for _ in range(2))]
    group = [measures(f"same-{n}", cost_usd=sum(order)) for n, order in enumerate(orders)]
    group.append(measures("other", cost_usd=sum(others)))
    advantages = found(group, preference=DEFAULT, config=config)
    assert len({advantages[f"same-{n}"] for n in range(3)}) == 1
    rewards = {reward.rollout_id: reward.value for reward in score_group(group, DEFAULT)}
    assert len({rewards[f"same-{n}"] for n in range(3)}) == 1


@BOTH
@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=6), st.sampled_from([1e-9, 1e-3, 0.1, 3.0, 1e6]))
def test_another_currency_changes_nothing(config, micro_usd, rate) -> None:
    group = [measures(str(n), cost_usd=usd / 1e6) for n, usd in enumerate(micro_usd)]
    converted = [each.model_copy(update={"cost_usd": each.cost_usd * rate}) for each in group]
    advantages = found(group, preference=DEFAULT, config=config)
    for name, advantage in found(converted, preference=DEFAULT, config=config).items():
        assert advantage == (advantages[name] and pytest.approx(advantages[name], abs=ROUNDING))


@BOTH
def test_costs_that_only_rounding_tells_apart_carry_no_signal(config) -> None:
    group = [measures("one", cost_usd=0.1 + 0.2 + 0.3), measures("two", cost_usd=0.3 + 0.2 + 0.1)]
    rewards = score_group(group, DEFAULT)
    stops = {reward.rollout_id: StopReason.ANSWERED for reward in rewards}
    assert {each.left_out for each in advantages_of(rewards, stops, config)} == {LeftOut.ZERO_VARIANCE}


@BOTH
@given(GROUPS, PREFERENCES)
def test_a_tool_nobody_called_adds_nothing(config, group, preference) -> None:
    wished = preference.model_copy(update={"tools": {**preference.tools, "expert_z": 1.0}})
    assert found(group, preference=wished, config=config) == found(group, preference=preference, config=config)


@BOTH
@given(GROUPS, PREFERENCES, MEASURES)
def test_masked_rollouts_change_nothing(config, group, preference, other) -> None:
    broken = other.model_copy(update={"rollout_id": "broken", "outcome": Outcome.ENVIRONMENT_ERROR})
    advantages = found([*group, broken], preference=preference, config=config)
    assert advantages.pop("broken") is None
    assert advantages == found(group, preference=preference, config=config)


@BOTH
def test_a_wished_for_expert_scores_higher_the_more_it_is_asked(config) -> None:
    group = [measures("often", calls={"expert_a": 2}), measures("once", calls={"expert_a": 1}), measures("never")]
    wish = Preference(text="Use expert_a.", tools={"expert_a": 0.3})
    advantages = found(group, preference=wish, config=config)
    assert advantages["often"] > advantages["once"] > advantages["never"]


def test_decoupled_elements_are_standardised_one_by_one_weighted_and_scaled_by_the_batch() -> None:
    """By hand: outcome 1 1 0, cost element 1 0 0 (what failed has none), weights 1 and 0.5; then the other group."""
    first = [measures("a"), measures("b", cost_usd=2.0), measures("c", Outcome.FAILED, cost_usd=1.0)]
    second = [measures("d"), measures("e", Outcome.FAILED)]
    advantages = found(first, second, preference=Preference(cost=0.5), config=RewardConfig(advantage="decoupled"))
    outcome = [1 / 3 / (2 / 9) ** 0.5, 1 / 3 / (2 / 9) ** 0.5, -2 / 3 / (2 / 9) ** 0.5]
    cost = [2 / 3 / (2 / 9) ** 0.5, -1 / 3 / (2 / 9) ** 0.5, -1 / 3 / (2 / 9) ** 0.5]
    plain = [o + 0.5 * c for o, c in zip(outcome, cost, strict=True)] + [1.0, -1.0]
    scale = (sum(value**2 for value in plain) / 5) ** 0.5
    assert [advantages[name] for name in "abcde"] == pytest.approx([value / scale for value in plain])


def test_decoupled_advantages_keep_apart_what_a_sum_confuses() -> None:
    """Cheap and slow or dear and fast: their sums are equal, and so would be their joint advantages."""
    group = [
        measures("cheap", cost_usd=0.0, latency_s=4.0),
        measures("fast", cost_usd=4.0, latency_s=1.0),
        measures("neither", cost_usd=4.0, latency_s=4.0),
        measures("middling", cost_usd=4.0, latency_s=2.5),
    ]
    preference = Preference(cost=0.5, latency=0.5)
    joint = found(group, preference=preference, config=RewardConfig())
    decoupled = found(group, preference=preference, config=RewardConfig(advantage="decoupled"))
    assert joint["cheap"] == pytest.approx(joint["fast"])
    assert decoupled["cheap"] != pytest.approx(decoupled["fast"], abs=0.01)


@BOTH
def test_a_group_of_failures_carries_no_signal_whatever_they_cost(config) -> None:
    group = [measures(str(n), Outcome.FAILED, cost_usd=float(n)) for n in range(3)]
    rewards = score_group(group, DEFAULT)
    stops = {reward.rollout_id: StopReason.ANSWERED for reward in rewards}
    assert {each.left_out for each in advantages_of(rewards, stops, config)} == {LeftOut.ZERO_VARIANCE}
