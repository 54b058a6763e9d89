"""A phrase pattern is used in many tasks, so it is checked once and hard."""

import pytest

from envs.spec import Parameter, Returns, Tool
from generators.asks import Ask
from generators.operations import Kind, Operation
from generators.phrase_faults import normalised
from generators.phrases import accept_patterns
from generators.stage import Refused

TOOL = Tool(
    name="set_order_quantity",
    description="Change the quantity of one order.",
    parameters=(
        Parameter(name="order_id", type="string"),
        Parameter(name="quantity", type="integer", description="quantity"),
    ),
    effects=("UPDATE x SET y = 1",),
    returns=Returns(sql="SELECT 1"),
)
CHANGE = Operation(kind=Kind.CHANGE, table="order", column="quantity")
ASK = Ask(TOOL, CHANGE, ("order_id", "quantity"), "Change the quantity.", verb="change")
GOOD = ["Please set order {order_id} to {quantity} pieces.", "I need {quantity} of what is in order {order_id}!"]


def advance(table: str) -> Operation:
    return Operation(kind=Kind.ADVANCE, table=table, column="status", states=("open",), becomes="closed")


def test_good_patterns_are_kept_and_end_like_a_sentence() -> None:
    kept = accept_patterns(
        ASK, [*GOOD, "please give order {order_id} {quantity} pieces?", "Could I have {quantity} in {order_id}."]
    )
    assert kept.corrections == ()
    assert kept.value == (
        GOOD[0],
        "I need {quantity} of what is in order {order_id}.",
        "please give order {order_id} {quantity} pieces.",
        "Could I have {quantity} in {order_id}?",
    )


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("Please set order {order_id} to five pieces.", "placeholders"),
        ("Set {order_id} of {order_id} to {quantity} pieces.", "placeholders"),
        ("Set {order_id} to {quantity} pieces for {customer}.", "placeholders"),
        ("Your order {order_id} has been set to {quantity}.", "report"),
        ("The quantity of {order_id} is {quantity}.", "report"),
        ("{order_id} {quantity}", "length"),
        ("Please change the shipping address of {order_id} to {quantity} pieces.", "changes_another_thing"),
        ("Set order {order_id} right. Make it {quantity} pieces.", "not_one_request"),
        ("How do I set order {order_id} to {quantity} pieces?", "asks_for_information"),
        ("I want to know whether {order_id} has {quantity} pieces.", "asks_for_information"),
        ("Set order {order_id}, not O-17, to {quantity}.", "leaks_a_value"),
        ("Please set the order {order_id} to {quantity} pieces.", "near_duplicate"),
        ("Please give me {quantity} pieces of order {order_id}.", "asks_for_information"),
        ("Please set the booking {order_id} to {quantity} pieces.", "other_thing"),
        ("Order {order_id} has already been set, make it {quantity}.", "report"),
        ("Please, please, please set order {order_id} to {quantity}.", "runaway"),
        ("We raised {order_id} to {quantity}, please.", "report"),
        ("Order {order_id} needs to become {quantity} pieces.", "report"),
        ("Set your order {order_id} to {quantity} pieces.", "wrong_person"),
        ("Set order {order_id} to {quantity} and remove it afterwards.", "says_more"),
        ("I want order {order_id} at {quantity} pieces today.", "says_more"),
        ("Please let order {order_id} have {quantity} quantity.", "not_a_sentence"),
    ],
)
def test_a_bad_pattern_is_left_out_for_its_own_reason(pattern: str, reason: str) -> None:
    kept = accept_patterns(ASK, [*GOOD, pattern])
    assert pattern not in kept.value
    assert [each.reason for each in kept.corrections] == [reason]
    with pytest.raises(Refused) as refusal:
        accept_patterns(ASK, [GOOD[0], pattern])
    assert refusal.value.reason == reason


def test_an_order_to_do_something_must_name_it_and_a_count_must_count() -> None:
    ship = TOOL.model_copy(
        update={
            "name": "ship_order",
            "description": "Ship one order: it becomes shipped.",
            "parameters": TOOL.parameters[:1],
        }
    )
    with pytest.raises(Refused) as refusal:
        accept_patterns(
            Ask(ship, advance("order"), ("order_id",), "Ship order {order_id}.", verb="ship"),
            ["Can I have order {order_id} by the end of the week?", "Please get order {order_id} going now."],
        )
    assert refusal.value.reason == "other_meaning"
    find = Tool(
        name="find_orders_by_status",
        description="List the orders with this status.",
        parameters=(Parameter(name="status", type="string", enum=("open", "closed")),),
        returns=Returns(sql="SELECT 1 ORDER BY 1", shape="many"),
    )
    search = Operation(kind=Kind.FIND, table="order", by=("status",))
    with pytest.raises(Refused) as refusal:
        accept_patterns(
            Ask(find, search, ("status",), "Ask how many.", question="how many."),
            ["What are the orders with status {status}?", "Show me orders that are {status} now."],
        )
    assert refusal.value.reason == "does_not_count"


def test_a_count_counts_what_the_search_finds_and_no_less() -> None:
    find = Tool(
        name="find_enrolments_by_member",
        description="List the enrolments with this member.",
        parameters=(Parameter(name="member_id", type="string"),),
        returns=Returns(sql="SELECT 1 ORDER BY 1", shape="many"),
    )
    search = Operation(kind=Kind.FIND, table="enrolment", by=("member_id",))
    asked = "how many enrolments there are with the member {member_id}."
    ask = Ask(find, search, ("member_id",), f"Ask {asked}", question=asked)
    good = ["How many enrolments does {member_id} have?", "What is the number of enrolments of {member_id}?"]
    others = {
        "How many members came with {member_id}?": "counts_another_thing",
        "How many enrolments of {member_id} are currently active?": "says_more",
        "How many members are enrolled with {member_id}?": "counts_another_thing",
        "Is there a number of enrolments of {member_id}?": "does_not_count",
        "I want to know how many enrolments of {member_id} has.": "not_a_sentence",
    }
    kept = accept_patterns(ask, [*good, *others])
    assert kept.value == tuple(good)
    assert [each.reason for each in kept.corrections] == list(others.values())


def test_to_let_something_expire_is_not_to_extend_it() -> None:
    expire = Tool(
        name="expire_reservation",
        description="Expire one reservation: it becomes expired.",
        parameters=(Parameter(name="reservation_id", type="string"),),
        effects=("UPDATE x SET y = 1",),
    )
    good = ["Please let reservation {reservation_id} expire.", "Expire {reservation_id} for me, would you?"]
    kept = accept_patterns(
        Ask(expire, advance("reservation"), ("reservation_id",), "Expire reservation {reservation_id}.", verb="expire"),
        [*good, "Can you extend the expiration date of {reservation_id}?"],
    )
    assert [each.reason for each in kept.corrections] == ["other_meaning"]


def test_to_confirm_is_not_to_ask_whether_it_is_confirmed() -> None:
    confirm = Tool(
        name="confirm_visit",
        description="Confirm one visit: it becomes confirmed.",
        parameters=(Parameter(name="visit_id", type="string", description="visit id"),),
        effects=("UPDATE x SET y = 1",),
    )
    good = ["Please confirm visit {visit_id}.", "Could you confirm my visit {visit_id} for me?"]
    kept = accept_patterns(
        Ask(confirm, advance("visit"), ("visit_id",), "Confirm visit {visit_id}.", verb="confirm"),
        [*good, "Can you confirm if my visit {visit_id} is on?", "Visit {visit_id} waits, so confirm it."],
    )
    assert kept.value == tuple(good)
    assert [each.reason for each in kept.corrections] == ["report", "report"]


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("Tell me how many there are?", "Tell me how many there are."),
        ("Have you a table for {guests}", "Have you a table for {guests}?"),
        ("For {guests}, can you find a table?", "For {guests}, can you find a table?"),
    ],
)
def test_an_order_ends_with_a_full_stop_and_a_question_with_its_mark(given: str, normal: str) -> None:
    assert normalised(given) == normal
