"""Difficulty: pass@k against all subsets, what counts as an attempt, and which tasks are preferred."""

import asyncio
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from envs.difficulty import Difficulty, pass_at_k
from envs.environment import Environment
from envs.task import Task
from envs.verdict import Outcome
from tests.trainer.conftest import Script
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Tokenizer
from trainer.difficulty import DifficultyConfig, difficulties, sampling_weights
from trainer.draw import draw_tasks
from trainer.settings import RolloutConfig


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_attempt(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    every = fmean(any(subset) for subset in combinations(right, k))
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(every)


@pytest.mark.parametrize(("attempts", "solved", "k"), [(3, 1, 4), (3, 4, 1), (3, -1, 1), (3, 1, 0)])
def test_pass_at_k_of_too_few_attempts_is_refused(attempts: int, solved: int, k: int) -> None:
    with pytest.raises(ValueError, match="is not defined"):
        pass_at_k(attempts, solved, k)


def test_fewer_attempts_than_k_are_refused_when_the_campaign_is_read() -> None:
    with pytest.raises(ValidationError, match="pass@4 needs 4"):
        DifficultyConfig(k=4, samples_per_task=3)


def test_a_policy_is_measured_by_its_rollouts(
    shop: Environment, tokenizer: Tokenizer, tasks: list[Task], golden_script: Script, scripted
) -> None:
    """A scripted policy that knows two tasks, one of them every other time only."""
    always, sometimes, never = tasks[2], tasks[3], tasks[0]
    asked = dict.fromkeys((task.id for task in (always, sometimes, never)), 0)

    def script(told: str, turn: int) -> str:
        task = next(task for task in (always, sometimes, never) if f"user\n{task.instruction}<" in told)
        if turn == 0:
            asked[task.id] += 1
        knows = task is always or (task is sometimes and asked[task.id] % 2 == 0)
        return golden_script(told, turn) if knows else "Answer: I do not know."

    config = DifficultyConfig(k=2, samples_per_task=4).rollout_config(RolloutConfig(concurrency=1))
    who = Assignment(campaign="c", iteration=-1, purpose="difficulty", policy_id="sha", model="scripted")
    posed = [always, sometimes, never]
    rollouts = asyncio.run(collect(Collection(posed, {shop.id: shop}, who, config), scripted(script), tokenizer))
    found = {one.task_id: one for one in difficulties(rollouts, 2)}
    assert {task_id: (one.solved, one.attempts) for task_id, one in found.items()} == {
        always.id: (4, 4), sometimes.id: (2, 4), never.id: (0, 4),
    }  # fmt: skip
    assert [found[task.id].pass_at_k for task in (always, sometimes, never)] == [1.0, pytest.approx(5 / 6), 0.0]
    assert {one.policy_id for one in found.values()} == {"sha"}

    [one] = difficulties([rollouts[0].model_copy(update={"outcome": Outcome.ENVIRONMENT_ERROR})], 2)
    assert (one.attempts, one.solved, one.pass_at_k) == (0, 0, None), "a broken environment says nothing of the policy"


def measured(task_id: str, solved: int, attempts: int = 8) -> Difficulty:
    return Difficulty(task_id=task_id, domain="shop", policy_id="p", k=1, attempts=attempts, solved=solved)


def test_tasks_solved_sometimes_are_preferred_and_none_is_dropped() -> None:
    weights = sampling_weights([measured(str(n), n) for n in range(9)], [*map(str, range(9)), "unmeasured"])
    assert max(weights, key=weights.__getitem__) == "4"
    assert weights["0"] == weights["8"] == min(weights.values()) > 0
    assert weights["0"] < weights["unmeasured"] < weights["4"]
    more = sampling_weights([measured("0", 0, attempts=64)], ["0"])
    assert 0 < more["0"] < weights["0"], "the more attempts fail, the less is hoped for"


def test_a_task_of_twice_the_weight_is_drawn_twice_as_often_and_a_light_one_still_is(tasks: list[Task]) -> None:
    heavy, light = tasks[0], tasks[1]
    weights = {task.id: 1.0 for task in tasks} | {heavy.id: 2.0, light.id: 0.25}
    drawn = [task.id for n in range(200) for task in draw_tasks(tasks, 2, seed=0, iteration=n, weights=weights)]
    usual = drawn.count(tasks[2].id)
    assert drawn.count(heavy.id) == pytest.approx(2 * usual, abs=1)
    assert drawn.count(light.id) == pytest.approx(usual / 4, abs=1) and drawn.count(light.id) > 0
