"""Each check on the verifier fails with a verifier or a task made to fail it, and on nothing else that is right."""

from collections.abc import Iterator

import pytest

from envs.environment import Environment, Replay
from envs.episode import verdict_on
from envs.proof import audit, prove
from envs.spec import Parameter, Returns, Tool
from envs.task import Fact, Task
from envs.verdict import Outcome, Verdict
from tests.envs.proofs import failures, shop_with
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def test_rejects_wrong_argument_fails_when_no_argument_matters() -> None:
    close = Tool(
        name="ship_order_four",
        description="",
        parameters=(Parameter(name="reason", type="string"),),
        effects=("UPDATE orders SET status = 'shipped' WHERE id = 'ORD-4' AND :reason IS NOT NULL",),
        returns=Returns(sql="SELECT 1 AS done"),
    )
    environment = shop_with(close)
    task = make_task(environment, "Ship it, reason haste.", [call("ship_order_four", reason="haste")])
    assert failures(task, environment) == ["rejects_wrong_argument"]
    assert "1 equivalent" in prove(task, environment).check("rejects_wrong_argument").evidence


def test_rejects_wrong_argument_fails_when_any_entity_will_do() -> None:
    ship = Tool(
        name="ship",
        description="",
        parameters=(Parameter(name="order_id", type="string", source="orders.id"),),
        effects=("UPDATE orders SET status = 'shipped' WHERE id = 'ORD-4' AND :order_id IS NOT NULL",),
        returns=Returns(sql="SELECT 1 AS done"),
    )
    environment = shop_with(ship)
    task = make_task(environment, "Ship ORD-4.", [call("ship", order_id="ORD-4")])
    assert failures(task, environment) == ["rejects_wrong_argument"]
    assert "0 failed, 2 equivalent" in prove(task, environment).check("rejects_wrong_argument").evidence


@pytest.mark.parametrize(
    ("effects", "check"),
    [((), "accepts_alternative"), (("UPDATE orders SET quantity = 9",), "rejects_collateral")],
    ids=["read", "write"],
)
def test_a_tool_that_breaks_the_environment_fails_the_check_that_comes_upon_it(
    effects: tuple[str, ...], check: str
) -> None:
    breaks = Returns(sql="SELECT x'00' AS x")
    environment = shop_with(
        *(Tool(name=f"wreck_{number}", description="", effects=effects, returns=breaks) for number in range(8))
    )
    found = [failures(task, environment) for task in shop_tasks(environment)]
    assert [check] in found and all(failed in ([], [check]) for failed in found)
    tasks = shop_tasks(environment)
    assert audit(environment, tasks, candidates=len(tasks), blocked=0).tasks == len(tasks)


def test_equivalent_mutants_are_counted_and_not_held_against_a_task() -> None:
    log = Tool(
        name="ship",
        description="",
        parameters=(
            Parameter(name="order_id", type="string", source="orders.id"),
            Parameter(name="why", type="string"),
        ),
        effects=("UPDATE orders SET status = 'shipped' WHERE id = :order_id AND :why IS NOT NULL",),
        returns=Returns(sql="SELECT id FROM orders WHERE id = :order_id"),
    )
    environment = shop_with(log)
    task = make_task(environment, "Ship ORD-4, for haste.", [call("ship", order_id="ORD-4", why="haste")])
    proof = prove(task, environment)
    assert proof.accepted
    assert "1 equivalent" in proof.check("rejects_wrong_argument").evidence


class OnlyWhatWasAskedFor(Environment):
    """A verifier with the usual fault: it looks whether the goal's changes are there, and at nothing else."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        made = tuple(change for change in replay.changeset if change in task.goal.changeset)
        return verdict_on(task, made, answer, self.spec.clock)


def test_rejects_collateral_fails_when_the_verifier_looks_only_at_what_was_asked_for() -> None:
    environment = OnlyWhatWasAskedFor.load(shop_spec())
    task = make_task(
        environment, "Set order ORD-4 to shipped.", [call("set_order_status", order_id="ORD-4", status="shipped")]
    )
    assert failures(task, environment) == ["rejects_collateral"]


class NoAnswerNeeded(Environment):
    """A verifier that forgets to read the answer once something was changed."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        verdict = super().judge_replay(task, replay, answer)
        told = all(not reason.startswith("not told") for reason in verdict.reasons)
        return verdict if told or len(verdict.reasons) > 1 else Verdict(outcome=Outcome.SOLVED)


def test_rejects_partial_answer_fails_when_the_answer_is_not_read() -> None:
    environment = NoAnswerNeeded.load(shop_spec())
    assert failures(shop_tasks(environment)[6], environment) == ["rejects_partial_answer"]


def test_rejects_partial_answer_fails_when_one_fact_tells_another(shop: Environment) -> None:
    facts = [Fact(label="first", kind="integer", value=12), Fact(label="second", kind="integer", value=12)]
    task = make_task(
        shop, "Twice the stock of Brass Lamp, please.", [call("get_product", name="Brass Lamp")], facts, "12"
    )
    assert failures(task, shop) == ["rejects_partial_answer"]


class WordForWord(Environment):
    """A verifier that wants the golden calls and nothing else, as trajectory matching does."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        verdict = super().judge_replay(task, replay, answer)
        same = replay.calls == task.golden or verdict.outcome is not Outcome.SOLVED
        return verdict if same else Verdict(outcome=Outcome.FAILED, reasons=("other calls",))


def test_accepts_alternative_fails_when_the_verifier_wants_the_golden_calls() -> None:
    environment = WordForWord.load(shop_spec())
    assert failures(shop_tasks(environment)[2], environment) == ["accepts_alternative"]


class NoSeparators(Environment):
    """A verifier that takes no thousands separator."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        return super().judge_replay(task, replay, answer.replace(",", "|"))


def test_accepts_alternative_fails_when_a_notation_is_not_understood() -> None:
    environment = NoSeparators.load(shop_spec())
    fact = Fact(label="price_cents", kind="cents", value=1234500)
    rows = dict(shop_spec().rows)
    rows["products"] = (*rows["products"], ("PRD-9", "Gold Sofa", 1234500, 1, False))
    environment = NoSeparators.load(shop_spec(rows=rows))
    golden = [call("get_product", name="Gold Sofa")]
    task = make_task(environment, "How much is the Gold Sofa?", golden, [fact], "It costs $12345.00.")
    assert failures(task, environment) == ["accepts_alternative"]


def test_accepts_alternative_fails_when_the_goal_depends_on_the_order_of_independent_calls(shop: Environment) -> None:
    golden = [
        call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=3),
        call("place_order", customer_id="CUS-2", product_id="PRD-4", quantity=1),
    ]
    task = make_task(shop, "Order 3 of PRD-2 for CUS-1, and 1 of PRD-4 for CUS-2.", golden)
    assert failures(task, shop) == ["accepts_alternative"]
    assert "in the other order" in prove(task, shop).check("accepts_alternative").evidence


def test_calls_that_need_each_other_are_not_reordered(shop: Environment) -> None:
    golden = [
        call("set_order_status", order_id="ORD-4", status="pending"),
        call("change_quantity", order_id="ORD-4", quantity=2),
    ]
    assert failures(make_task(shop, "Set ORD-4 to pending and its quantity to 2.", golden), shop) == []
