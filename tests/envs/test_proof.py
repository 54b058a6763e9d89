"""Each check of the proof fails on a task made to fail it, and on nothing else that is right."""

from collections.abc import Iterator

import pytest

from envs.environment import Environment, Replay
from envs.episode import verdict_on
from envs.proof import CHECKS, POLICY, CheckOutcome, HeldOut, HeldOutRequest, Known, audit, prove
from envs.spec import Column, Constant, EnvironmentSpec, Parameter, Returns, Rule, Table, Tool
from envs.task import Fact, Goal, Task
from envs.verdict import Outcome, Verdict
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def shop_with(*tools: Tool) -> Environment:
    return Environment.load(shop_spec(tools=(*shop_spec().tools, *tools)))


def failures(task: Task, environment: Environment) -> list[str]:
    return [check.name for check in prove(task, environment).checks if check.outcome is CheckOutcome.FAILED]


def test_every_task_of_the_shop_is_proven(shop: Environment) -> None:
    for task in shop_tasks(shop):
        proof = prove(task, shop)
        assert proof.accepted, proof.rejected_by
        assert [check.name for check in proof.checks] == [check.name for check in CHECKS]
        assert all(check.evidence for check in proof.checks)


def test_a_proof_is_the_same_each_time(shop: Environment) -> None:
    task = shop_tasks(shop)[4]
    assert prove(task, shop) == prove(task, Environment.load(shop_spec()))


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
        return super().judge_replay(task, replay, answer.replace(",", " "))


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


def test_discoverable_fails_when_only_the_golden_program_knows_an_id(shop: Environment) -> None:
    task = make_task(shop, "Cancel the order I regret.", [call("cancel_order", order_id="ORD-1")])
    assert failures(task, shop) == ["discoverable"]
    assert "order_id 'ORD-1'" in prove(task, shop).check("discoverable").evidence


def test_discoverable_takes_ids_that_were_minted_by_an_earlier_call(shop: Environment) -> None:
    golden = [
        call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=3),
        call("set_order_status", order_id="ORD-6", status="paid"),
    ]
    task = make_task(shop, "For CUS-1, order three of PRD-2, then set that order to paid.", golden)
    assert failures(task, shop) == []


def account_spec() -> EnvironmentSpec:
    """One table of accounts, with an amount, a date and a choice that people word in their own way."""
    table = Table(
        name="accounts",
        id_prefix="ACC",
        columns=(
            Column(name="limit_cents", type="cents"),
            Column(name="review_on", type="date"),
            Column(name="locked", type="boolean"),
            Column(name="level", type="text"),
        ),
    )
    tool = Tool(
        name="configure",
        description="",
        parameters=(
            Parameter(name="account_id", type="string", source="accounts.id"),
            Parameter(name="limit", type="integer", source="accounts.limit_cents"),
            Parameter(name="review_on", type="string", format="date"),
            Parameter(name="locked", type="boolean"),
            Parameter(name="level", type="string", description="The service level: L1 is standard."),
        ),
        effects=(
            "UPDATE accounts SET limit_cents = :limit, review_on = :review_on, locked = :locked, level = :level "
            "WHERE id = :account_id",
        ),
        returns=Returns(sql="SELECT id FROM accounts WHERE id = :account_id"),
    )
    return EnvironmentSpec(
        domain="accounts",
        title="Accounts",
        policy="",
        tables=(table,),
        rows={"accounts": tuple((f"ACC-{n}", 5000, "2026-01-01", False, "L3") for n in (1, 2))},
        tools=(tool,),
        clock="2026-03-02T09:00:00",
        seed=1,
    )


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("Give ACC-1 a limit of $120.50, review it on March 5, keep it locked, at the standard level.", True),
        ("Give acc-1 a limit of 12050 cents, review it on 5 March 2026, locked: yes, level L1.", True),
        ("Give ACC-1 a limit of $12.05, review it on March 5, keep it locked, at the standard level.", False),
        ("Give ACC-1 a limit of $120.50, review it soon, keep it locked, at the standard level.", False),
        ("Give ACC-1 a limit of $120.50, review it on March 5, at the standard level.", False),
        ("Give ACC-1 a limit of $120.50, review it on March 5, keep it locked, as usual.", False),
        ("Give ACC-11 a limit of $120.50, review it on March 5, keep it locked, at the standard level.", False),
    ],
)
def test_discoverable_reads_amounts_dates_and_documented_constants_as_people_write_them(
    instruction: str, found: bool
) -> None:
    environment = Environment.load(account_spec())
    golden = [call("configure", account_id="ACC-1", limit=12050, review_on="2026-03-05", locked=True, level="L1")]
    assert failures(make_task(environment, instruction, golden), environment) == ([] if found else ["discoverable"])


def test_discoverable_takes_a_documented_constant(shop: Environment) -> None:
    most = Constant(name="most", value=20, description="The largest quantity of one order")
    documented = Environment.load(shop_spec(constants=(most,)))
    golden = [call("change_quantity", order_id="ORD-3", quantity=20)]
    for environment, found in ((documented, []), (shop, ["discoverable"])):
        task = make_task(environment, "Set order ORD-3 to the largest quantity there may be.", golden)
        assert failures(task, environment) == found


def test_no_leak_fails_when_the_instruction_tells_the_answer(shop: Environment) -> None:
    task = shop_tasks(shop)[0].model_copy(update={"instruction": "Does the Linen Chair really cost $120.50?"})
    assert failures(task, shop) == ["no_leak"]


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


def test_novel_fails_on_the_same_calls_in_other_words_and_on_the_same_words_for_other_calls(shop: Environment) -> None:
    known = Known()
    first = make_task(shop, "Please cancel my order ORD-1.", [call("cancel_order", order_id="ORD-1")])
    known.add(first)
    other_words = make_task(shop, "I no longer want ORD-1: cancel it.", first.golden)
    assert prove(other_words, shop, known).rejected_by == ("novel",)
    other_calls = make_task(shop, "please cancel my order ORD-1", [call("cancel_order", order_id="ORD-3")])
    assert "same words" in prove(other_calls, shop, known).check("novel").evidence
    assert prove(first, shop, known).accepted, "a task does not repeat itself"


def test_novel_fails_on_the_same_program_about_another_entity_in_the_same_words_only(shop: Environment) -> None:
    known = Known()
    known.add(make_task(shop, "Please cancel my order ORD-1.", [call("cancel_order", order_id="ORD-1")]))
    cancel = [call("cancel_order", order_id="ORD-3")]
    renamed = prove(make_task(shop, "Please cancel my order ORD-3.", cancel), shop, known)
    assert renamed.rejected_by == ("novel",) and "up to its entities" in renamed.check("novel").evidence
    reworded = make_task(shop, "I have changed my mind, so cancel ORD-3 for me.", cancel)
    assert prove(reworded, shop, known).accepted
    another_program = make_task(
        shop, "Please cancel my order ORD-3 and my order ORD-5.", [*cancel, call("cancel_order", order_id="ORD-5")]
    )
    assert prove(another_program, shop, known).accepted


def test_novel_fails_on_a_request_that_is_held_out_and_names_its_line(shop: Environment) -> None:
    said = "Hi! My email is ada@example.org. Cancel my order that is still pending, and be quick."
    known = Known(HeldOut([HeldOutRequest(instruction=said, source="bench.jsonl:3")]))
    proof = prove(shop_tasks(shop)[6], shop, known)
    assert proof.rejected_by == ("novel",) and "bench.jsonl:3" in proof.check("novel").evidence
    assert prove(shop_tasks(shop)[2], shop, known).accepted


def test_a_failed_check_rejects_only_if_the_policy_says_so(shop: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = [call("get_order", order_id="ORD-1"), call("cancel_order", order_id="ORD-1")]
    proof = prove(make_task(shop, "Look at order ORD-1 and cancel it.", golden), shop)
    assert not proof.accepted
    monkeypatch.setitem(POLICY, "minimal", "label")
    assert proof.accepted


def test_the_policy_names_every_check() -> None:
    assert set(POLICY) == {check.name for check in CHECKS}


def test_a_task_of_another_environment_is_not_judged_here(shop: Environment) -> None:
    with pytest.raises(ValueError, match="belongs to environment"):
        prove(shop_tasks(shop)[0], Environment.load(account_spec()))
