"""Simulated experts: right as often as declared, wrong in a plausible way, and never knowing what nobody told them."""

import pytest

from envs.environment import Environment
from envs.experts import Advice, Competence, SimulatedProfile, next_calls, simulated_advice
from envs.spec import Returns, Tool
from envs.task import Task
from envs.verdict import Outcome
from tests.fixtures import call, make_task, shop_spec, shop_tasks
from tests.trainer.staging import FOOL, SAGE, talking_task


@pytest.fixture(scope="module")
def shop() -> Environment:
    return Environment.load(shop_spec())


@pytest.fixture(scope="module")
def tasks(shop: Environment) -> list[Task]:
    return shop_tasks(shop)


def made(shop: Environment, task: Task, count: int) -> list:
    results = shop.replay(task.golden).results
    return [(each, result.value) for each, result in zip(task.golden, results, strict=True)][:count]


def ask(
    shop: Environment, task: Task, profile: SimulatedProfile, count: int = 0, question: str = "", asked: int = 0
) -> Advice:
    return simulated_advice(profile, task, shop, question or task.instruction, made(shop, task, count), asked)


def test_an_expert_that_is_always_right_leads_to_the_solution_of_every_task(shop, tasks) -> None:
    for task in tasks:
        calls = []
        while (advice := ask(shop, task, SAGE, len(calls))).calls:
            calls += advice.calls
        assert tuple(calls) == task.golden
        assert shop.judge(task, calls, advice.answer or "").outcome is Outcome.SOLVED


def test_an_expert_that_is_always_wrong_never_solves_a_task_by_itself(shop, tasks) -> None:
    for task in tasks:
        for asked in range(10):
            first = ask(shop, task, FOOL, asked=asked)
            assert first.calls and first.calls != task.golden[: len(first.calls)]
            last = ask(shop, task, FOOL, len(task.golden), asked=asked)
            assert shop.judge(task, [*task.golden, *last.calls], last.answer or "").outcome is not Outcome.SOLVED


def test_a_wrong_advice_looks_like_a_right_one(shop, tasks) -> None:
    advice = ask(shop, tasks[3], FOOL)
    assert [each.tool for each in advice.calls] == ["change_quantity"]
    assert set(advice.calls[0].arguments) == {"order_id", "quantity"}


def test_an_expert_advises_at_most_as_many_calls_as_one_turn_takes(shop) -> None:
    golden = tuple(call("get_order", order_id=f"ORD-{number % 5 + 1}") for number in range(11))
    task = shop_tasks(shop)[0].model_copy(
        update={"golden": golden, "instruction": "Show ORD-1, ORD-2, ORD-3, ORD-4, ORD-5."}
    )
    assert next_calls(task, shop, []) == golden[:8]
    assert next_calls(task, shop, made(shop, task, 8)) == golden[8:]


def test_calls_that_wait_for_a_result_are_told_only_when_it_is_there(shop, tasks) -> None:
    by_email = tasks[6]
    assert [each.tool for each in next_calls(by_email, shop, [])] == ["find_customer"]
    assert [each.tool for each in next_calls(by_email, shop, made(shop, by_email, 1))] == ["list_orders"]
    independent = tasks[5]
    assert next_calls(independent, shop, []) == independent.golden
    assert next_calls(independent, shop, made(shop, independent, 2)) == ()


def test_the_declared_competence_is_the_measured_one(shop, tasks) -> None:
    even = SAGE.model_copy(update={"competence": (Competence(probability=0.7),)})
    right = sum(ask(shop, tasks[2], even, asked=asked).calls == tasks[2].golden for asked in range(2000))
    assert 0.66 < right / 2000 < 0.74


def test_competence_is_declared_by_domain_and_difficulty(tasks) -> None:
    some = SAGE.model_copy(
        update={
            "competence": (
                Competence(probability=0.1, domain="library"),
                Competence(probability=0.9, domain="shop", max_difficulty=1),
                Competence(probability=0.4, max_difficulty=2),
            )
        }
    )
    assert [some.probability(tasks[place]) for place in (2, 4, 6)] == [0.9, 0.4, 0.0]


def test_equal_questions_at_equal_moments_get_equal_answers(shop, tasks) -> None:
    unsure = SAGE.model_copy(update={"competence": (Competence(probability=0.5),)})
    first = [ask(shop, tasks[2], unsure, asked=asked) for asked in range(20)]
    assert first == [ask(shop, tasks[2], unsure, asked=asked) for asked in range(20)]
    assert len({advice.id for advice in first}) > 1


def test_a_question_without_the_request_is_not_understood(shop, tasks) -> None:
    advice = ask(shop, tasks[2], SAGE, question="What now?")
    assert not advice.calls and "whole request" in advice.remark


def test_what_only_the_user_knows_has_to_be_in_the_question(shop, tasks) -> None:
    advice = ask(shop, tasks[2], SAGE, question="Please cancel my order.")
    assert not advice.calls and "order" in advice.remark
    talking = talking_task(shop)
    assert ask(shop, talking, SAGE).remark == "I need to know the order_id."
    told = ask(shop, talking, SAGE, question=f"{talking.instruction} The order id is ORD-1.")
    assert told.calls == talking.golden


def test_an_expert_may_fail_as_often_as_declared(shop, tasks) -> None:
    absent = SAGE.model_copy(update={"failure_rate": 1.0})
    assert ask(shop, tasks[2], absent) == Advice(failed=True)


def test_a_wrong_answer_without_facts_is_one_write_too_many(shop, tasks) -> None:
    advice = ask(shop, tasks[2], FOOL, 1)
    assert len(advice.calls) == 1 and shop.spec.tool(advice.calls[0].tool).writes


def test_a_call_without_arguments_is_replaced_by_another_tool() -> None:
    counting = Tool(
        name="count_customers",
        description="Count the customers.",
        returns=Returns(sql="SELECT count(*) AS customers FROM customers", shape="scalar"),
    )
    with Environment.load(shop_spec(tools=(*shop_spec().tools, counting))) as wider:
        task = make_task(wider, "How many customers are there?", [call("count_customers")])
        advice = simulated_advice(FOOL, task, wider, task.instruction, [], 0)
        assert [each.tool for each in advice.calls] != ["count_customers"]
