"""Each check on the golden program fails on a task made to fail it, and on nothing else that is right."""

from collections.abc import Iterator

import pytest

from envs.environment import Environment, Replay
from envs.proof import CheckOutcome, prove
from envs.spec import Returns, Rule, Tool
from envs.task import Fact, Goal, Task
from envs.verdict import Outcome, Verdict
from tests.envs.proofs import failures, shop_with
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def test_golden_executes_fails_when_a_call_is_refused(shop: Environment) -> None:
    task = make_task(shop, "Cancel order ORD-2.", [call("cancel_order", order_id="ORD-2")])
    assert failures(task, shop) == ["golden_executes"]
    assert "is not pending" in prove(task, shop).check("golden_executes").evidence


def test_golden_executes_fails_when_the_goal_is_another(shop: Environment) -> None:
    task = shop_tasks(shop)[2].model_copy(update={"goal": Goal()})
    assert failures(task, shop) == ["golden_executes"]


def test_golden_executes_fails_on_an_unknown_tool_and_asks_no_further(shop: Environment) -> None:
    proof = prove(make_task(shop, "Do it.", [call("do_it")]), shop)
    assert proof.rejected_by == ("golden_executes",)
    assert {check.outcome for check in proof.checks[1:]} == {CheckOutcome.NOT_APPLICABLE}


def test_golden_executes_fails_when_the_environment_breaks() -> None:
    broken = Tool(name="broken", description="", returns=Returns(sql="SELECT x'00' AS x"))
    environment = shop_with(broken)
    assert failures(make_task(environment, "Break.", [call("broken")]), environment) == ["golden_executes"]


def test_deterministic_fails_when_a_tool_takes_whatever_row_comes_first() -> None:
    any_order = Tool(
        name="any_pending_order",
        description="",
        returns=Returns(sql="SELECT id AS order_id FROM orders WHERE status = 'pending' LIMIT 1"),
    )
    environment = shop_with(any_order)
    golden = [call("any_pending_order"), call("cancel_order", order_id="ORD-1")]
    task = make_task(environment, "Cancel any pending order.", golden)
    assert failures(task, environment) == ["deterministic"]
    assert "reversed" in prove(task, environment).check("deterministic").evidence


def test_not_vacuous_fails_when_doing_nothing_is_right(shop: Environment) -> None:
    golden = [call("change_quantity", order_id="ORD-1", quantity=1)]
    task = make_task(shop, "Set the quantity of ORD-1 to 1.", golden)
    assert "not_vacuous" in failures(task, shop)
    untouched = make_task(shop, "Look at ORD-1.", [call("get_order", order_id="ORD-1")])
    assert "not_vacuous" in failures(untouched, shop)
    assert failures(make_task(shop, "Leave everything as it is.", []), shop) == ["not_vacuous"]


class NothingDoneNothingWrong(Environment):
    """A verifier that asks only whether something went wrong."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        return super().judge_replay(task, replay, answer) if replay.calls else Verdict(outcome=Outcome.SOLVED)


def test_not_vacuous_fails_when_the_verifier_takes_nothing_for_right() -> None:
    environment = NothingDoneNothingWrong.load(shop_spec())
    golden = [call("cancel_order", order_id="ORD-1"), call("cancel_order", order_id="ORD-3")]
    task = make_task(environment, "Cancel ORD-1 and ORD-3.", golden)
    assert failures(task, environment) == ["not_vacuous"]


def test_minimal_fails_when_a_write_changes_nothing(shop: Environment) -> None:
    golden = [call("set_order_status", order_id="ORD-1", status="pending"), call("cancel_order", order_id="ORD-1")]
    task = make_task(shop, "Make sure ORD-1 is pending, then cancel it.", golden)
    assert failures(task, shop) == ["minimal"]
    assert "call 0 (set_order_status)" in prove(task, shop).check("minimal").evidence


def test_minimal_fails_when_a_read_is_not_used(shop: Environment) -> None:
    golden = [call("get_order", order_id="ORD-1"), call("cancel_order", order_id="ORD-1")]
    assert failures(make_task(shop, "Look at order ORD-1 and cancel it.", golden), shop) == ["minimal"]


def test_minimal_fails_when_a_read_tells_what_the_instruction_says(shop: Environment) -> None:
    golden = [call("find_customer", email="ada@example.org"), call("list_orders", customer_id="CUS-1")]
    fact = Fact(label="status", kind="text", value="shipped")
    said = "What is the status of my older order? I am CUS-1, ada@example.org."
    assert failures(make_task(shop, said, golden, [fact], "It is shipped."), shop) == ["minimal"]


def test_a_read_is_used_when_its_rows_are_counted_or_summed(shop: Environment) -> None:
    golden = [call("list_orders", customer_id="CUS-3")]
    for label, value in (("orders", 2), ("pieces", 4)):
        fact = Fact(label=label, kind="integer", value=value)
        task = make_task(shop, f"I am CUS-3. How many {label} did I order?", golden, [fact], f"You ordered {value}.")
        assert failures(task, shop) == []


def test_a_list_of_facts_is_proven_like_its_parts(shop: Environment) -> None:
    golden = [call("list_orders", customer_id="CUS-3")]
    fact = Fact(label="orders", kind="text", value=["ORD-4", "ORD-5"])
    task = make_task(shop, "I am CUS-3. Which orders are mine?", golden, [fact], "ORD-5 and ORD-4.")
    assert failures(task, shop) == []
    leaky = task.model_copy(update={"instruction": "I am CUS-3. Are ORD-4 and ORD-5 mine, and what else?"})
    assert failures(leaky, shop) == ["no_leak"]


OLD_ENOUGH = Rule(
    tool="set_order_status",
    sql="SELECT placed_on <= date(:today, '-7 days') FROM orders WHERE id = :order_id",
    text="An order's status is not touched in its first week.",
)


def test_policy_consistent_fails_when_a_golden_call_breaks_a_rule_that_no_tool_enforces() -> None:
    environment = Environment.load(shop_spec(rules=(OLD_ENOUGH,)))

    def dropping(order: str) -> Task:
        golden = [call("set_order_status", order_id=order, status="cancelled")]
        return make_task(environment, f"Please set my order {order} to cancelled.", golden)

    assert failures(dropping("ORD-4"), environment) == ["policy_consistent"]
    assert "first week" in prove(dropping("ORD-4"), environment).check("policy_consistent").evidence
    assert prove(dropping("ORD-2"), environment).check("policy_consistent").outcome is CheckOutcome.PASSED
