"""Simulated users: the scripted one tells what it is asked, and what breaks a scenario is found."""

import pytest

from envs.environment import Environment
from envs.task import Fact, Scenario, Task
from envs.users import asks_for, scenario_breach, scripted_reply
from tests.fixtures import call, make_task, shop_spec
from tests.trainer.staging import talking_task

SCENARIO = Scenario(
    persona="a customer", known={"order id": "ORD-1", "email address": "ada@example.org"}, unknown=("status",)
)


@pytest.fixture(scope="module")
def shop() -> Environment:
    return Environment.load(shop_spec())


@pytest.fixture(scope="module")
def task(shop: Environment) -> Task:
    """A task whose user knows an order id and an email address, and whose answer is a date and a status."""
    known = make_task(
        shop,
        "When did I place my order?",
        [call("find_customer", email="ada@example.org"), call("get_order", order_id="ORD-1")],
        [Fact(label="placed_on", kind="date", value="2026-02-20")],
    )
    return known.model_copy(update={"scenario": SCENARIO})


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        ("Which order do you mean?", "The order id is ORD-1."),
        ("Please tell me the ORDER_ID.", "The order id is ORD-1."),
        ("What are your e-mail address and order number?", "The order id is ORD-1."),
        ("What are your order and your email address?", "The order id is ORD-1. The email address is ada@example.org."),
        ("What is its status?", "I do not know the status."),
        ("Which colour do you like?", "I do not know."),
    ],
)
def test_the_scripted_user_tells_what_it_is_asked_and_no_more(message: str, reply: str) -> None:
    assert scripted_reply(SCENARIO, message).text == reply
    assert not scripted_reply(SCENARIO, message).ends


def test_the_scripted_user_leaves_when_nothing_is_asked() -> None:
    assert scripted_reply(SCENARIO, "I have cancelled it.").ends


def test_a_thing_is_asked_for_in_singular_and_plural_but_not_inside_other_words() -> None:
    assert asks_for("Which orders?", "order id") and asks_for("which order", "orders")
    assert not asks_for("Which border?", "order id")
    assert asks_for("What is your name?", "name")
    assert asks_for("Which addresses, and for which people?", "address") and asks_for("for which people", "person id")


@pytest.mark.parametrize(
    "reply",
    [
        "The order id is ORD-1.",
        "ord-1",
        "I do not know that.",
        "It is ORD-1, and my email address is ada@example.org.",
    ],
)
def test_a_user_in_its_role_breaks_nothing(shop: Environment, task: Task, reply: str) -> None:
    said = ["What is the order id?" if "ord-1" in reply.casefold() else "What is the weather like?"]
    assert scenario_breach(task, shop, said, reply) is None


@pytest.mark.parametrize(
    ("message", "reply", "found"),
    [
        ("What is the order id?", "It is ORD-1, placed on February 20.", "tells placed_on"),
        ("What is the order id?", "The order id is ORD-7.", "says ORD-7 where the scenario says that the order id"),
        ("Which order?", "I do not know my order.", "does not know the order id"),
        ("Your email address?", "It is bob@example.org.", "says bob@example.org"),
    ],
)
def test_a_user_out_of_its_role_is_found(shop: Environment, task: Task, message: str, reply: str, found: str) -> None:
    assert found in (scenario_breach(task, shop, [message], reply) or "")


def test_an_argument_that_has_to_be_found_must_not_come_from_the_user(shop: Environment) -> None:
    task = make_task(
        shop,
        "My email is ada@example.org. Cancel my order.",
        [call("find_customer", email="ada@example.org"), call("cancel_order", order_id="ORD-1")],
    ).model_copy(update={"scenario": Scenario(persona="a customer")})
    breach = scenario_breach(task, shop, ["Which order?"], "It is ORD-1.")
    assert breach == "tells order_id (ORD-1), which the user cannot know"


def test_repeating_what_the_policy_said_tells_nothing(shop: Environment, task: Task) -> None:
    assert scenario_breach(task, shop, ["You placed it on 2026-02-20, right?"], "Yes, on 2026-02-20.") is None


def test_without_a_scenario_there_is_nothing_to_break(shop: Environment) -> None:
    task = talking_task(shop).model_copy(update={"scenario": None})
    with pytest.raises(ValueError, match="no scenario"):
        scenario_breach(task, shop, ["?"], "x")
