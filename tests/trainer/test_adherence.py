"""Preference adherence: what holds for any rollout and any preference, and how rollouts are paired."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envs.task import Preference
from envs.verdict import Outcome
from tests.trainer.test_evaluate import rollout
from trainer.adherence import COST_UNIT_USD, OtherPreference, adherence, preference_score
from trainer.rewards import Measures
from trainer.settings import RewardConfig

ROUNDING = 1e-9
TOOLS = ("search", "ask", "buy")
WEIGHT = st.floats(0, 1)
PREFERENCES = st.builds(
    Preference,
    text=st.just("Like this."),
    accuracy=WEIGHT,
    cost=WEIGHT,
    latency=WEIGHT,
    tools=st.dictionaries(st.sampled_from(TOOLS), WEIGHT),
)
MEASURES = st.builds(
    Measures,
    rollout_id=st.just("r"),
    group_id=st.just("g"),
    outcome=st.sampled_from([Outcome.SOLVED, Outcome.FAILED]),
    calls=st.dictionaries(st.sampled_from(TOOLS), st.integers(0, 9)),
    cost_usd=st.floats(0, 1),
    latency_s=st.floats(0, 1e3),
)
SOLVED = MEASURES.map(lambda each: each.model_copy(update={"outcome": Outcome.SOLVED}))
CHEAP = Preference(text="Keep it cheap.", cost=0.5)


@given(MEASURES, MEASURES, PREFERENCES)
def test_what_is_not_solved_scores_nothing(policy, base, preference) -> None:
    assume(policy.outcome is Outcome.FAILED)
    assert preference_score(policy, base, preference) == 0


@given(SOLVED, MEASURES, PREFERENCES, st.floats(0, 1), st.floats(0, 1e3))
def test_spending_more_money_or_time_never_scores_higher(policy, base, preference, usd, seconds) -> None:
    more = policy.model_copy(update={"cost_usd": policy.cost_usd + usd, "latency_s": policy.latency_s + seconds})
    assert preference_score(more, base, preference) <= preference_score(policy, base, preference) + ROUNDING


@given(SOLVED, MEASURES, PREFERENCES, st.sampled_from(TOOLS))
def test_using_a_wished_tool_more_never_scores_lower_and_another_tool_changes_nothing(
    policy, base, preference, tool
) -> None:
    more = policy.model_copy(update={"calls": {**policy.calls, tool: policy.calls.get(tool, 0) + 1}})
    before, after = preference_score(policy, base, preference), preference_score(more, base, preference)
    assert after >= before if tool in preference.tools else after == before


@given(SOLVED, PREFERENCES)
def test_the_base_policy_beside_itself_has_at_most_the_weights(base, preference) -> None:
    weights = [preference.accuracy, preference.cost, preference.latency, *preference.tools.values()]
    assert 0 <= preference_score(base, base, preference) <= sum(weights) + ROUNDING


def test_a_policys_own_cents_count() -> None:
    """In dollars, max(1, cost) would be 1 for both, and the dear rollout as good as the cheap one."""
    base, cheap, dear = (
        Measures(rollout_id="r", group_id="g", outcome=Outcome.SOLVED, cost_usd=cost) for cost in (0.006, 0.003, 0.012)
    )
    assert preference_score(cheap, base, CHEAP) == pytest.approx(1 + 0.5 * 2)
    assert preference_score(dear, base, CHEAP) == pytest.approx(1 + 0.5 * 0.5)


def test_what_costs_less_than_anything_counts_as_the_least_amount() -> None:
    base, free = (
        Measures(rollout_id="r", group_id="g", outcome=Outcome.SOLVED, cost_usd=cost) for cost in (0.002, 0.0)
    )
    assert preference_score(free, base, CHEAP) == pytest.approx(1 + 0.5 * 0.002 / COST_UNIT_USD)


def test_calls_are_measured_by_those_of_the_base_policy() -> None:
    wish = Preference(text="Use search.", tools={"search": 0.3})
    policy = Measures(rollout_id="r", group_id="g", outcome=Outcome.SOLVED, calls={"search": 4})
    assert preference_score(policy, policy.model_copy(update={"calls": {}}), wish) == pytest.approx(1 + 0.3 * 4)
    assert preference_score(policy, policy.model_copy(update={"calls": {"search": 8}}), wish) == pytest.approx(1.15)


def test_a_negative_weight_is_refused() -> None:
    one = Measures(rollout_id="r", group_id="g", outcome=Outcome.SOLVED)
    with pytest.raises(ValueError, match="negative weight"):
        preference_score(one, one, Preference(text="Waste money.", cost=-1))


def told(task: str, outcome: Outcome = Outcome.SOLVED, cost_usd: float = 0.01, preference: Preference = CHEAP):
    return rollout(0, outcome, cost_usd=cost_usd, task_id=task).model_copy(update={"preference": preference})


def test_rollouts_are_paired_by_task_and_the_order_changes_nothing() -> None:
    mine = [told("a", cost_usd=0.005), told("b", Outcome.FAILED), told("c", cost_usd=0.02)]
    base = [told("a"), told("b"), told("c", Outcome.FAILED)]
    found = adherence(mine, base, RewardConfig())
    assert found is not None and (found.n, found.unpaired, found.solved) == (3, 0, 2)
    assert found.score_mean == pytest.approx((2 + 0 + 1.25) / 3)
    assert found.base_score_mean == pytest.approx((1.5 + 1.5 + 0) / 3)
    assert found.gain_mean == pytest.approx(found.score_mean - found.base_score_mean)
    assert found.gain_interval is not None and found.gain_interval[0] <= found.gain_mean <= found.gain_interval[1]
    assert adherence(mine[::-1], base[::-1], RewardConfig()) == found


def test_what_has_no_pair_or_was_not_judged_is_counted_and_enters_nothing() -> None:
    mine = [told("a"), told("b"), told("c", Outcome.ENVIRONMENT_ERROR), told("d", preference=Preference())]
    base = [told("a"), told("b", Outcome.ENVIRONMENT_ERROR), told("c"), told("d", preference=Preference())]
    found = adherence(mine, base, RewardConfig())
    assert found is not None and (found.n, found.unpaired) == (1, 2)
    assert found.gain_mean == 0 and found.gain_interval is None


def test_without_a_stated_preference_or_a_baseline_there_is_no_adherence() -> None:
    assert adherence([told("a", preference=Preference())], [told("a")], RewardConfig()) is None
    assert adherence([told("a")], [], RewardConfig()) is None


def test_rollouts_under_other_preferences_are_not_compared() -> None:
    with pytest.raises(OtherPreference, match="Keep it cheap"):
        adherence([told("a")], [told("a", preference=Preference(text="Hurry.", latency=0.5))], RewardConfig())
