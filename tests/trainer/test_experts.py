"""Rollouts with experts and distractors: what they say, what they cost, and that their words are never trained on."""

import asyncio
from collections.abc import Callable

import pytest

from envs.environment import Environment
from envs.experts import EndpointProfile
from envs.task import Task
from envs.toolbox import ToolboxConfig
from envs.verdict import Outcome
from tests.trainer.conftest import ScriptedPolicy, history_of
from tests.trainer.endpoint import endpoint
from tests.trainer.staging import FOOL, SAGE, library_spec, with_experts
from trainer.advantages import Advantage
from trainer.collect import Assignment, Collection, collect, draw_toolbox
from trainer.conversation import Tokenizer
from trainer.dialect import system_prompt
from trainer.experts import KeyMissing
from trainer.rollout import Rollout, StopReason
from trainer.rows import training_rows
from trainer.settings import RolloutConfig

Scripted = Callable[..., ScriptedPolicy]


@pytest.fixture
def worlds(shop: Environment):
    library = Environment.load(library_spec())
    yield {shop.id: shop, library.id: library}
    library.close()


@pytest.fixture
def roll(worlds, tokenizer: Tokenizer, assignment: Assignment) -> Callable[..., list[Rollout]]:
    def run(policy: ScriptedPolicy, tasks: list[Task], config: RolloutConfig) -> list[Rollout]:
        return asyncio.run(collect(Collection(tasks, worlds, assignment, config), policy, tokenizer))

    return run


def asking(task: Task, *rest: str) -> list[str]:
    return [f'expert_a(question="{task.instruction}")', *rest]


def model_expert(base_url: str, **settings: object) -> EndpointProfile:
    return EndpointProfile(
        name="model", base_url=base_url, model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=4.0
    ).model_copy(update=settings)


def test_a_simulated_expert_tells_the_next_call_and_is_paid_by_the_token(roll, scripted: Scripted, tasks) -> None:
    lines = asking(tasks[2], 'cancel_order(order_id="ORD-1")', "Answer: Done.")
    [rollout] = roll(scripted(lines), [tasks[2]], with_experts(SAGE))
    assert rollout.solved and rollout.simulated_experts
    asked = rollout.turns[0]
    assert asked.results[0].value == 'cancel_order(order_id="ORD-1")'
    [charge] = asked.charges
    assert (charge.kind, charge.simulated, charge.latency_s) == ("expert", True, 3.0)
    assert charge.output_tokens == 100 + 8
    tokens = asked.prompt_tokens * rollout.toolbox.input_usd_per_mtok
    tokens += asked.completion_tokens * rollout.toolbox.output_usd_per_mtok
    paid = charge.input_tokens * 2.0 + charge.output_tokens * 8.0
    assert asked.cost_usd == pytest.approx((tokens + paid) / 1e6)
    assert asked.latency_s >= 3.0


def test_the_prompt_names_experts_with_capability_and_prices_and_nothing_else(worlds, shop, tasks, assignment) -> None:
    config = with_experts(SAGE, FOOL)
    toolbox, _ = draw_toolbox(tasks[0], worlds, assignment, config)
    prompt = system_prompt(shop.spec, toolbox)
    assert "(question) - Knows everything. [$2 in, $8 out per million tokens]" in prompt
    assert "sage" not in prompt and "simulated" not in prompt


def test_what_experts_say_stands_there_as_said_and_is_never_trained_on(
    roll, scripted: Scripted, tasks, tokenizer: Tokenizer
) -> None:
    policy = scripted(asking(tasks[2], 'cancel_order(order_id="ORD-1")', "Answer: Done."))
    [rollout] = roll(policy, [tasks[2]], with_experts(SAGE))
    for turn, prompt in zip(rollout.turns, policy.prompts, strict=True):
        assert history_of(rollout)[: len(prompt)] == prompt
        assert turn.prompt_tokens == len(prompt)
    advantage = Advantage(rollout_id=rollout.id, group_id=rollout.group_id, reward=1.0, advantage=1.0)
    [row] = training_rows([rollout], [advantage])
    written = [token for token, trained in zip(row.token_ids, row.trained, strict=True) if trained]
    assert written == [token for turn in rollout.turns for token in turn.completion_ids]
    assert 'tool\ncancel_order(order_id="ORD-1")<' in tokenizer.decode(policy.prompts[1], skip_special_tokens=False)


def test_an_endpoint_expert_sees_tools_question_and_results_and_is_paid_what_it_counts(
    roll, scripted: Scripted, tasks
) -> None:
    task = tasks[4]
    with endpoint(lambda _: "place_order(...)") as (url, requests):
        lines = ['get_product(name="Wool Rug")', *asking(task, "Answer: Done.")]
        [rollout] = roll(scripted(lines), [task], with_experts(model_expert(url)))
    assert not rollout.simulated_experts
    [charge] = rollout.turns[1].charges
    assert (charge.input_tokens, charge.output_tokens, charge.simulated) == (1000, 50, False)
    assert charge.cost_usd(rollout.toolbox) == pytest.approx((1000 * 1.0 + 50 * 4.0) / 1e6)
    system, user = (message["content"] for message in requests[0]["messages"])
    assert "place_order(" in system and "expert_a" not in system
    assert task.instruction in user and 'get_product(name="Wool Rug")' in user and "PRD-4" in user


@pytest.mark.parametrize(("answer", "delay_s"), [(500, 0.0), (400, 0.0), ("late", 1.0), ("  ", 0.0)])
def test_an_expert_that_fails_is_a_result_and_is_charged(roll, scripted: Scripted, tasks, answer, delay_s) -> None:
    with endpoint(lambda _: answer, delay_s) as (url, _):
        lines = asking(tasks[2], 'cancel_order(order_id="ORD-1")', "Answer: Done.")
        [rollout] = roll(scripted(lines), [tasks[2]], with_experts(model_expert(url, timeout_s=0.4)))
    assert rollout.solved
    assert rollout.turns[0].results[0].error == "expert_a gave no answer (it has 0.4 s)"
    assert rollout.turns[0].charges[0].cost_usd(rollout.toolbox) > 0


def test_a_simulated_failure_takes_its_time_and_is_charged(roll, scripted: Scripted, tasks) -> None:
    absent = SAGE.model_copy(update={"failure_rate": 1.0, "timeout_s": 30.0})
    [rollout] = roll(scripted(asking(tasks[2], "Answer: Sorry.")), [tasks[2]], with_experts(absent))
    [charge] = rollout.turns[0].charges
    assert not rollout.turns[0].results[0].ok and charge.latency_s == 30.0
    assert charge.input_tokens > 0 and charge.output_tokens == 0


def test_an_endpoint_that_counts_no_tokens_is_charged_by_estimate(roll, scripted: Scripted, tasks) -> None:
    with endpoint(lambda _: "x" * 40, usage=False) as (url, _):
        lines = asking(tasks[2], "Answer: Done.")
        [rollout] = roll(scripted(lines), [tasks[2]], with_experts(model_expert(url)))
    assert rollout.turns[0].charges[0].output_tokens == 10
    assert rollout.turns[0].charges[0].input_tokens > 50


def test_a_question_that_is_no_text_costs_nothing(roll, scripted: Scripted, tasks) -> None:
    [rollout] = roll(scripted(["expert_a(question=1)", "Answer: x"]), [tasks[2]], with_experts(SAGE))
    assert "must be a string" in (rollout.turns[0].results[0].error or "")
    assert rollout.turns[0].charges[0].cost_usd(rollout.toolbox) == 0.0


def test_a_missing_key_is_named_before_anything_is_asked(roll, scripted: Scripted, tasks) -> None:
    with pytest.raises(KeyMissing, match="set the environment variable NO_SUCH_KEY"):
        roll(scripted([]), [tasks[2]], with_experts(model_expert("http://x/v1", api_key_variable="NO_SUCH_KEY")))


def test_a_distractor_is_answered_in_its_own_world_and_costs(roll, scripted: Scripted, tasks) -> None:
    config = RolloutConfig(samples_per_task=1, toolbox=ToolboxConfig(distractors=2))
    lines = [
        'renew_loan(loan_id="ORD-3")',
        'renew_loan(loan_id="ORD-3")\ncount_books()',
        'cancel_order(order_id="ORD-1")',
        "Answer: Done.",
    ]
    [rollout] = roll(scripted(lines), [tasks[2]], config)
    assert [result.ok for turn in rollout.turns for result in turn.results] == [True] * 4
    assert rollout.solved, "the write of a distractor must not touch the task's state"
    assert rollout.turns[0].charges[0].kind == "distractor"
    assert rollout.turns[0].charges[0].cost_usd(rollout.toolbox) > 0


def test_distractors_are_listed_among_the_tools(roll, scripted: Scripted, tasks, tokenizer: Tokenizer) -> None:
    config = RolloutConfig(samples_per_task=1, toolbox=ToolboxConfig(distractors=2))
    policy = scripted(["Answer: x"])
    roll(policy, [tasks[2]], config)
    told = tokenizer.decode(policy.prompts[0], skip_special_tokens=False)
    names = [line.partition("(")[0] for line in told.splitlines() if ") - " in line]
    assert names == sorted(names) and {"renew_loan", "count_books", "cancel_order"} <= set(names)


def test_toolboxes_are_shared_by_a_group_and_redrawn_by_the_iteration(worlds, tasks, assignment: Assignment) -> None:
    config = with_experts(SAGE, FOOL).model_copy(
        update={"toolbox": ToolboxConfig(pool=(SAGE, FOOL), experts=2, prices="drawn", distractors=1)}
    )

    def drawn(**changes: object):
        return draw_toolbox(tasks[2], worlds, assignment.model_copy(update=changes), config)

    assert drawn() == drawn(policy_id="another")
    assert drawn() != drawn(iteration=1)
    assert drawn(purpose="evaluation") == drawn(purpose="evaluation", iteration=1)
    never = config.model_copy(update={"toolbox": config.toolbox.model_copy(update={"redrawn": "never"})})
    other = assignment.model_copy(update={"iteration": 1})
    assert draw_toolbox(tasks[2], worlds, assignment, never) == draw_toolbox(tasks[2], worlds, other, never)


def test_what_the_user_wishes_is_told_and_stored(roll, scripted: Scripted, tasks, tokenizer: Tokenizer) -> None:
    toolbox = ToolboxConfig(pool=(SAGE,), experts=1, expert_preference_rate=1.0)
    policy = scripted(["Answer: x"])
    [rollout] = roll(policy, [tasks[2]], RolloutConfig(samples_per_task=1, toolbox=toolbox))
    assert rollout.preference.tools == {"expert_a": 0.3}
    told = tokenizer.decode(policy.prompts[0], skip_special_tokens=True)
    assert f"{tasks[2].instruction}\nWhere you can, use expert_a." in told


def test_a_limit_on_cost_stops_the_calls_of_a_turn(roll, scripted: Scripted, tasks) -> None:
    line = "\n".join(asking(tasks[2]) * 3)
    config = with_experts(SAGE, max_cost_usd=0.0015)
    [rollout] = roll(scripted([line, line]), [tasks[2]], config)
    assert rollout.stop_reason is StopReason.COST_LIMIT and rollout.outcome is Outcome.FAILED
    results = rollout.turns[0].results
    assert results[0].ok and results[-1].error == "not made: cost_limit"
    assert len(rollout.turns) == 1 and len(rollout.turns[0].charges) < 3


def test_declared_latency_counts_against_the_time_limit(roll, scripted: Scripted, tasks) -> None:
    slow = SAGE.model_copy(update={"latency_s": 1000.0})
    [rollout] = roll(scripted(asking(tasks[2], "Answer: x")), [tasks[2]], with_experts(slow, max_wall_s=500.0))
    assert rollout.stop_reason is StopReason.TIME_LIMIT
