"""Evaluation summaries."""

import pytest

from envs.intervals import wilson_interval
from envs.summary import Summary
from envs.task import Toolbox
from envs.verdict import Outcome
from trainer.evaluate import summarise
from trainer.rollout import Rollout, StopReason, Turn

TOOLBOX = Toolbox(tools=(), call_prices_usd={}, input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)


def rollout(sample: int, outcome: Outcome, domain: str = "shop", cost_usd: float = 0.01, task_id: str = "t") -> Rollout:
    turn = Turn(
        index=0, context_ids=(1,), completion_ids=(2,), logprobs=(-0.1,), text="x", finish_reason="stop",
        prompt_tokens=1, completion_tokens=1, latency_s=2.0, cost_usd=cost_usd,
    )  # fmt: skip
    return Rollout(
        campaign="c", iteration=0, purpose="evaluation", task_id=task_id, environment_id="e", domain=domain,
        policy_id="p", sample=sample, seed=0, toolbox=TOOLBOX, turns=(turn,), outcome=outcome,
        stop_reason=StopReason.ANSWERED, answer="x",
    )  # fmt: skip


def test_environment_errors_are_counted_beside_the_result() -> None:
    outcomes = [Outcome.SOLVED, Outcome.FAILED, Outcome.FAILED, Outcome.ENVIRONMENT_ERROR]
    summary = summarise([rollout(i, outcome) for i, outcome in enumerate(outcomes)])[0]
    assert (summary.n, summary.solved, summary.environment_errors) == (3, 1, 1)
    assert summary.success == pytest.approx(1 / 3)
    assert summary.cost_per_solved_usd == pytest.approx(0.03)


def test_each_domain_gets_its_own_line() -> None:
    found = summarise([rollout(0, Outcome.SOLVED, "shop"), rollout(1, Outcome.FAILED, "library")])
    assert [(summary.scope, summary.success) for summary in found] == [("all", 0.5), ("library", 0.0), ("shop", 1.0)]


def test_means_come_with_intervals_over_tasks_whatever_the_order() -> None:
    costs = (0.01, 0.02, 0.05, 0.01, 0.03)
    rollouts = [rollout(0, Outcome.SOLVED, cost_usd=cost, task_id=f"t{n}") for n, cost in enumerate(costs)]
    [summary] = {found.canonical(): found for found in (summarise(rollouts)[0], summarise(rollouts[::-1])[0])}.values()
    assert summary.cost_usd_interval is not None
    assert min(costs) <= summary.cost_usd_interval[0] < summary.cost_usd_mean < summary.cost_usd_interval[1]
    assert summary.latency_s_interval == (2.0, 2.0) and summary.turns_interval == (1.0, 1.0)


def test_samples_of_one_task_tell_nothing_about_other_tasks() -> None:
    rollouts = [rollout(sample, Outcome.SOLVED, cost_usd=0.01 * sample) for sample in range(8)]
    assert summarise(rollouts)[0].cost_usd_interval is None


def test_a_summary_of_before_there_were_intervals_is_still_read() -> None:
    now = summarise([rollout(0, Outcome.SOLVED)])[0].model_dump(mode="json")
    since = ("split", "adherence", "cost_usd_interval", "latency_s_interval", "turns_interval")
    then = Summary.model_validate({name: value for name, value in now.items() if name not in since})
    assert then.split == "test" and then.cost_usd_interval is None


def test_the_wilson_interval_is_the_textbook_one() -> None:
    assert wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0 and wilson_interval(10, 10)[1] == 1.0


def test_nothing_evaluated_is_no_success_and_no_crash() -> None:
    [summary] = summarise([])
    assert (summary.n, summary.success, summary.cost_per_solved_usd) == (0, 0.0, None)
    assert summary.empty and not summarise([rollout(0, Outcome.ENVIRONMENT_ERROR)])[0].empty
