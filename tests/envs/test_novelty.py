"""Near-duplicates and held-out requests: what counts as the same, and what must not."""

import random

import pytest

from envs.environment import Environment
from envs.proof import HeldOut, HeldOutRequest, Known
from envs.proof.held_out import OVERLAP, signature
from envs.proof.novelty import NEAR, _shingles, program_shape, words_of
from envs.task import Scenario, Task
from tests.fixtures import call, make_task, shop_spec, shop_tasks

LONG = (
    "I am moving house next week, so please cancel my order {0} first of all, and then tell me at once when exactly "
    "the order {1} was placed by my wife, because the invoice has gone missing."
)


@pytest.fixture(scope="module")
def shop() -> Environment:
    return Environment.load(shop_spec())


def cancelling(shop: Environment, first: str, second: str, text: str = LONG) -> Task:
    golden = [call("cancel_order", order_id=first), call("get_order", order_id=second)]
    return make_task(shop, text.format(first, second), golden)


def test_a_shape_names_entities_by_their_role(shop: Environment) -> None:
    task = shop_tasks(shop)[4]
    assert program_shape(task) == "get_product(name=…) > place_order(customer_id=CUS#1, product_id=PRD#2, quantity=…)"
    assert program_shape(cancelling(shop, "ORD-1", "ORD-2")) == program_shape(cancelling(shop, "ORD-3", "ORD-4"))
    assert program_shape(cancelling(shop, "ORD-1", "ORD-1")) != program_shape(cancelling(shop, "ORD-1", "ORD-2"))
    assert program_shape(shop_tasks(shop)[0]).endswith("? price_cents:cents"), "what is asked for belongs to it"


def test_a_word_changed_in_a_long_request_does_not_make_it_new(shop: Environment) -> None:
    known = Known()
    known.add(cancelling(shop, "ORD-1", "ORD-2"))
    changed = LONG.replace("next week", "next month")
    assert "alike" in (known.repeated_by(cancelling(shop, "ORD-3", "ORD-4", changed)) or "")
    others = "The first one is {0}, which I want cancelled. Also, on which day did we order {1}?"
    assert known.repeated_by(cancelling(shop, "ORD-3", "ORD-4", others)) is None


def test_what_a_user_tells_when_asked_is_part_of_the_words(shop: Environment) -> None:
    def withheld(order: str) -> Task:
        task = make_task(shop, "Please cancel an order of mine.", [call("cancel_order", order_id=order)])
        scenario = Scenario(persona="in a hurry", known={"order": f"the order {order}, which I placed by mistake"})
        return task.model_copy(update={"scenario": scenario})

    known = Known()
    known.add(withheld("ORD-1"))
    assert "same words" not in (known.repeated_by(withheld("ORD-3")) or "")


def test_the_index_overlooks_nothing_that_comparing_all_pairs_finds(shop: Environment) -> None:
    rng, known, accepted = random.Random(1), Known(), list[frozenset[str]]()
    base = cancelling(shop, "ORD-1", "ORD-2")
    found = 0
    for number in range(300):
        words = LONG.format("ORD-7", "ORD-8").split()
        for place in rng.sample(range(len(words)), rng.randrange(6)):
            words[place] = rng.choice(["soon", "today", "please", "kindly"])
        golden = [call("cancel_order", order_id=f"ORD-{number}"), call("get_order", order_id=f"ORD-{number + 1000}")]
        task = base.model_copy(update={"instruction": " ".join(words), "golden": tuple(golden)})
        shingles = _shingles(words_of(task.instruction))
        near = any(len(shingles & other) / len(shingles | other) >= NEAR for other in accepted)
        assert (known.repeated_by(task) is not None) == near
        found += near
        if not near:
            known.add(task)
            accepted.append(shingles)
    assert 50 < found < 250, "or this would show nothing"


def held_out(instruction: str, *tools: str) -> HeldOut:
    return HeldOut([HeldOutRequest(instruction=instruction, tools=tools, source="bench.jsonl:1")])


def test_a_held_out_request_inside_a_longer_one_contaminates_it() -> None:
    inside = held_out("Tell me at once when exactly the order #W88 was placed by my wife.")
    found = inside.repeated_by(LONG.format("ORD-1", "ORD-2"), ())
    assert found is not None and (found.reason, found.source, found.share) == ("instruction", "bench.jsonl:1", 1.0)
    assert inside.repeated_by("When was the order ORD-2 placed?", ()) is None


def test_eight_common_words_in_two_long_texts_are_no_contamination() -> None:
    common = "I would like to know the status of my"
    text = f"{common} parcel, and since the courier left it at a neighbour's door, who of them has signed for it."
    held = held_out(f"{common} refund, which your colleague in the branch promised me three long weeks ago, in cash.")
    assert held.repeated_by(text, ()) is None
    assert held.repeated_by(f"{common} refund, which your colleague in the branch promised me.", ()) is not None


def test_a_request_shorter_than_a_run_is_repeated_only_as_a_whole() -> None:
    assert held_out("Cancel order W7.").repeated_by("cancel order O-12", ()) is not None
    assert held_out("Cancel order W7.").repeated_by("Please cancel order O-12, and then rebook the flight.", ()) is None


@pytest.mark.parametrize("named", ["cancel_order", "cancel_order(order_id)", "Cancel_Order( order_id )"])
def test_a_task_that_takes_mostly_held_out_tools_is_contaminated(shop: Environment, named: str) -> None:
    tools = [shop.spec.tool(name) for name in ("cancel_order", "get_order")]
    found = held_out("Something else entirely.", named).repeated_by("Cancel it.", tools)
    assert found is not None and (found.reason, found.share) == ("tools", OVERLAP)
    third = shop.spec.tool("find_customer")
    assert held_out("Something else entirely.", named).repeated_by("Cancel it.", [*tools, third]) is None


def test_a_tool_of_the_same_name_with_other_parameters_is_another_tool(shop: Environment) -> None:
    tool = shop.spec.tool("change_quantity")
    assert signature(tool) == "change_quantity(order_id, quantity)"
    assert held_out("Else.", "change_quantity(order_id)").repeated_by("Change it.", [tool]) is None
    assert held_out("Else.", "change_quantity(quantity, order_id)").repeated_by("Change it.", [tool]) is not None
