"""From rewards to advantages: what is trained on, and the name of everything that is not."""

import pytest

from envs.fates import LeftOut
from envs.verdict import Outcome
from trainer.advantages import advantages_of, counts, reward_rows
from trainer.rewards import Reward
from trainer.rollout import StopReason
from trainer.settings import RewardConfig


def reward(rollout_id: str, value: float | None, group_id: str = "g") -> Reward:
    outcome = Outcome.ENVIRONMENT_ERROR if value is None else Outcome.SOLVED if value else Outcome.FAILED
    return Reward(rollout_id=rollout_id, group_id=group_id, outcome=outcome, value=value)


def found(rewards, config=RewardConfig(), stops=None) -> dict:  # noqa: B008
    stop_reasons = {r.rollout_id: StopReason.ANSWERED for r in rewards} | (stops or {})
    return {a.rollout_id: a.left_out or a.advantage for a in advantages_of(rewards, stop_reasons, config)}


def test_advantages_are_centred_within_their_group() -> None:
    rewards = [reward("a", 1.0), reward("b", 0.0), reward("c", 1.0, "h"), reward("d", 0.5, "h")]
    assert found(rewards) == {"a": 0.5, "b": -0.5, "c": 0.25, "d": -0.25}


def test_dividing_by_the_deviation_is_a_switch() -> None:
    assert found([reward("a", 0.8), reward("b", 0.6)], RewardConfig(divide_by_std=True)) == {
        "a": pytest.approx(1.0),
        "b": pytest.approx(-1.0),
    }


def test_groups_without_any_signal_are_left_out_by_name() -> None:
    assert found([reward("a", 0.0), reward("b", 0.0)]) == {"a": LeftOut.ZERO_VARIANCE, "b": LeftOut.ZERO_VARIANCE}


def test_an_all_solved_group_whose_costs_differ_still_teaches() -> None:
    assert found([reward("a", 1.1), reward("b", 1.0)]) == {"a": pytest.approx(0.05), "b": pytest.approx(-0.05)}


def test_environment_errors_are_left_out_and_do_not_move_the_mean() -> None:
    assert found([reward("a", 1.0), reward("b", 0.0), reward("c", None)]) == {
        "a": 0.5,
        "b": -0.5,
        "c": LeftOut.ENVIRONMENT_ERROR,
    }


def test_rollouts_that_cannot_be_trained_on_are_named_and_do_not_move_the_mean() -> None:
    rewards = [reward("a", 1.0), reward("b", 0.0), reward("c", 1.0), reward("d", None)]
    stops = {each.rollout_id: StopReason.ANSWERED for each in rewards}
    advantages = advantages_of(rewards, stops, RewardConfig(), {"c", "d"})
    assert [each.left_out for each in advantages] == [None, None, LeftOut.UNTRAINABLE, LeftOut.ENVIRONMENT_ERROR]
    assert [each.advantage for each in advantages[:2]] == [0.5, -0.5]
    assert counts(advantages)["untrainable"] == 1
    assert "untrainable" not in counts(advantages_of(rewards, stops, RewardConfig()))


def test_a_rollout_left_without_its_group_is_named() -> None:
    assert found([reward("a", 1.0), reward("b", None)]) == {"a": LeftOut.ALONE, "b": LeftOut.ENVIRONMENT_ERROR}


def test_truncated_and_malformed_rollouts_are_masked_only_when_asked() -> None:
    rewards = [reward("a", 1.0), reward("b", 0.0), reward("c", 0.0), reward("d", 0.0)]
    stops = {"c": StopReason.MAX_TOKENS, "d": StopReason.MALFORMED_LIMIT}
    assert set(found(rewards, stops=stops).values()) == {0.75, -0.25}
    masked = found(rewards, RewardConfig(truncated="mask", malformed="mask"), stops)
    assert masked == {"a": 0.5, "b": -0.5, "c": LeftOut.TRUNCATED, "d": LeftOut.MALFORMED}


def test_every_fate_is_counted_and_stored() -> None:
    rewards = [reward("a", 1.0), reward("b", 0.0), reward("c", None)]
    advantages = advantages_of(rewards, dict.fromkeys("abc", StopReason.ANSWERED), RewardConfig())
    assert counts(advantages) == {
        "trained": 2,
        "environment_error": 1,
        "truncated": 0,
        "malformed": 0,
        "alone": 0,
        "zero_variance": 0,
    }
    assert [row["status"] for row in reward_rows(rewards, advantages)] == ["trained", "trained", "environment_error"]
