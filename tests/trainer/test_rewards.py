"""The reward: what it must never do, whatever the group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.task import Preference
from envs.verdict import Outcome
from trainer.rewards import Measures, explain, preference_or_default, score_group
from trainer.settings import RewardConfig

TOOLS = ("ask_expert", "search")
USD = st.floats(0, 10, allow_subnormal=False)
WEIGHTS = st.floats(0, 1)
MEASURES = st.builds(
    Measures,
    rollout_id=st.uuids().map(str),
    group_id=st.just("g"),
    outcome=st.sampled_from(list(Outcome)),
    calls=st.dictionaries(st.sampled_from(TOOLS), st.integers(1, 4)),
    cost_usd=USD,
    latency_s=USD,
)
GROUPS = st.lists(MEASURES, min_size=1, max_size=8, unique_by=lambda measures: measures.rollout_id)
PREFERENCES = st.builds(
    Preference,
    accuracy=WEIGHTS,
    cost=WEIGHTS,
    latency=WEIGHTS,
    tools=st.dictionaries(st.sampled_from(TOOLS), WEIGHTS),
)


def values(group, preference) -> dict[str, float | None]:
    return {reward.rollout_id: reward.value for reward in score_group(group, preference)}


@given(GROUPS, PREFERENCES)
def test_a_failed_rollout_never_beats_a_solved_one(group, preference) -> None:
    found = values(group, preference)
    solved = [found[m.rollout_id] for m in group if m.outcome is Outcome.SOLVED]
    failed = [found[m.rollout_id] for m in group if m.outcome is Outcome.FAILED]
    assert all(value == 0 for value in failed)
    assert all(value >= preference.accuracy for value in solved)


@given(GROUPS, PREFERENCES, MEASURES, USD, USD)
def test_a_dearer_or_slower_rollout_never_scores_higher(group, preference, one, more_usd, more_s) -> None:
    dearer = one.model_copy(
        update={
            "rollout_id": "dearer",
            "cost_usd": one.cost_usd + more_usd,
            "latency_s": one.latency_s + more_s,
        }
    )
    found = values([*group, one, dearer], preference)
    if one.outcome is not Outcome.ENVIRONMENT_ERROR:
        assert found["dearer"] <= found[one.rollout_id]


def test_a_dearer_rollout_scores_lower_when_cost_matters() -> None:
    cheap = Measures(rollout_id="cheap", group_id="g", outcome=Outcome.SOLVED, cost_usd=0.01)
    dear = Measures(rollout_id="dear", group_id="g", outcome=Outcome.SOLVED, cost_usd=0.02)
    assert values([dear, cheap], Preference(cost=0.1)) == {"cheap": 1.1, "dear": 1.0}


@given(st.data(), GROUPS, PREFERENCES)
def test_the_order_of_a_group_does_not_matter(data, group, preference) -> None:
    assert values(data.draw(st.permutations(group)), preference) == values(group, preference)


@given(GROUPS, PREFERENCES, MEASURES)
def test_an_environment_error_gets_no_reward_and_changes_nobodys(group, preference, other) -> None:
    broken = other.model_copy(update={"rollout_id": "broken", "outcome": Outcome.ENVIRONMENT_ERROR})
    found = values([*group, broken], preference)
    assert found.pop("broken") is None
    assert found == values(group, preference)


@given(GROUPS, PREFERENCES)
def test_a_tool_nobody_called_adds_nothing(group, preference) -> None:
    with_unused = preference.model_copy(update={"tools": {**preference.tools, "never_called": 1.0}})
    assert values(group, with_unused) == values(group, preference)


@given(GROUPS, PREFERENCES)
def test_the_explanation_adds_up_to_the_reward(group, preference) -> None:
    for reward in score_group(group, preference):
        if reward.outcome is Outcome.SOLVED:
            assert reward.value == pytest.approx(sum(row["normalised"] * row["weight"] for row in explain(reward)))


def test_rollouts_that_did_not_call_a_tool_count_as_zero_calls() -> None:
    calls = [{"ask_expert": 2}, {}, {"ask_expert": 1}]
    group = [Measures(rollout_id=str(i), group_id="g", outcome=Outcome.SOLVED, calls=c) for i, c in enumerate(calls)]
    assert values(group, Preference(tools={"ask_expert": 1.0})) == {"0": 2.0, "1": 1.0, "2": 1.5}


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="-cost_usd is -1"):
        score_group([], Preference(cost=-1.0))


def test_a_stated_preference_goes_before_the_campaigns() -> None:
    stated = Preference(text="Cheap, please.", cost=0.7)
    assert preference_or_default(stated, RewardConfig()) == stated
    assert preference_or_default(Preference(), RewardConfig(cost=0.3)).cost == 0.3
