"""Each check on what is known when fails on a task made to fail it, and on nothing else that is right."""

from collections.abc import Iterator

import pytest

from envs.environment import Environment
from envs.proof import HeldOut, HeldOutRequest, Known, prove
from envs.spec import Constant
from tests.envs.proofs import account_spec, failures
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


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
