"""What an episode does, what it undoes, and how a verdict is reached."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from envs.base_state import BaseState
from envs.environment import Environment
from envs.errors import EnvironmentBroken
from envs.proof.mutations import column_values
from envs.spec import EnvironmentSpec, Parameter, Returns, Tool
from envs.state import open_state
from envs.task import Change, ToolCall
from envs.verdict import Outcome
from tests.fixtures import CLOCK, call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def shop_with(*tools: Tool) -> EnvironmentSpec:
    return shop_spec(tools=(*shop_spec().tools, *tools))


def tool(name: str, *effects: str, returns: str = "SELECT 1 AS done", **parameters: str) -> Tool:
    """A tool without guards, its parameters given as name=type."""
    declared = tuple(Parameter.model_validate({"name": n, "type": t}) for n, t in parameters.items())
    return Tool(name=name, description="", parameters=declared, effects=effects, returns=Returns(sql=returns))


def test_the_golden_program_solves_its_task_and_doing_nothing_does_not(shop: Environment) -> None:
    for task in shop_tasks(shop):
        assert shop.judge(task, task.golden, task.golden_answer).outcome is Outcome.SOLVED
        assert shop.judge(task, (), "").outcome is Outcome.FAILED


def test_an_episode_leaves_nothing_behind(shop: Environment) -> None:
    with shop.episode() as first:
        assert first.call("cancel_order", order_id="ORD-1").ok
    with shop.episode() as second:
        assert second.changeset() == ()
        assert second.call("cancel_order", order_id="ORD-1").ok


def test_episodes_open_at_once_do_not_see_each_other(shop: Environment) -> None:
    with shop.episode() as one, shop.episode() as other:
        one.call("cancel_order", order_id="ORD-1")
        assert other.changeset() == ()
        assert other.call("cancel_order", order_id="ORD-1").ok


def test_changes_are_net_sorted_and_hold_changed_columns_only(shop: Environment) -> None:
    replay = shop.replay([call("cancel_order", order_id="ORD-3")])
    assert replay.changeset == (
        Change(table="orders", operation="update", key="ORD-3", old={"status": "pending"}, new={"status": "cancelled"}),
        Change(table="products", operation="update", key="PRD-4", old={"stock": 7}, new={"stock": 8}),
    )


def test_what_is_done_and_undone_is_no_change(shop: Environment) -> None:
    calls = [call("change_quantity", order_id="ORD-1", quantity=quantity) for quantity in (5, 1)]
    assert shop.replay(calls).changeset == ()


def test_booleans_are_booleans_in_answers_and_changes() -> None:
    flip = tool("flip", "UPDATE products SET giftable = :to", returns="SELECT giftable FROM products", to="boolean")
    replay = Environment.load(shop_with(flip)).replay([call("flip", to=True)])
    assert replay.results[0].value == {"giftable": True}
    assert [(change.old, change.new) for change in replay.changeset] == [({"giftable": False}, {"giftable": True})] * 2


def test_new_ids_follow_the_highest_seeded_one_and_are_given_back(shop: Environment) -> None:
    order = call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=1)
    refused = call("place_order", customer_id="CUS-77", product_id="PRD-2", quantity=1)
    for _ in range(2):
        replay = shop.replay([order, refused, order])
        assert [result.ok for result in replay.results] == [True, False, True]
        assert [change.key for change in replay.changeset if change.operation == "insert"] == ["ORD-6", "ORD-7"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (call("cancel_ordr", order_id="ORD-1"), "there is no tool cancel_ordr; there are find_customer"),
        (call("cancel_order"), "missing order_id"),
        (call("cancel_order", order_id="ORD-1", why="x"), "unknown argument why; it takes order_id"),
        (call("cancel_order", order_id=1), "order_id must be a string, not 1"),
        (call("cancel_order", order_id=None), "order_id must be a string, not null"),
        (call("change_quantity", order_id="ORD-1", quantity="3"), 'quantity must be an integer, not "3"'),
        (call("change_quantity", order_id="ORD-1", quantity=True), "quantity must be an integer, not true"),
        (call("change_quantity", order_id="ORD-1", quantity=2.0), "quantity must be an integer, not 2.0"),
        (call("change_quantity", order_id="ORD-1", quantity=0), "quantity must be at least 1, not 0"),
        (call("change_quantity", order_id="ORD-1", quantity=99), "quantity must be at most 20, not 99"),
        (call("set_order_status", order_id="ORD-1", status="lost"), "status must be one of pending, paid, shipped"),
        (call("cancel_order", order_id="ORD-99"), "there is no order ORD-99"),
        (call("cancel_order", order_id="ORD-2"), "order ORD-2 is not pending"),
        (call("cancel_order", order_id="{tool.__class__}"), "there is no order {tool.__class__}"),
        (call("cancel_order", order_id="\ud800"), "order_id is not valid text"),
        (call("cancel_order", order_id="x" * 5_000), "order_id must be text of at most"),
        (call("get_order", order_id="ORD-99"), 'nothing found for order_id "ORD-99"'),
        (call("place_order", customer_id="CUS-9", product_id="PRD-2", quantity=1), "there is no customer CUS-9"),
    ],
)
def test_a_wrong_call_is_answered_with_one_helpful_line_and_changes_nothing(
    shop: Environment, wrong: ToolCall, said: str
) -> None:
    with shop.episode() as episode:
        result = episode.attempt(wrong)
        assert not result.ok
        assert result.error is not None and said in result.error and "\n" not in result.error
        assert episode.changeset() == ()


def test_a_call_that_fails_halfway_is_undone_as_a_whole() -> None:
    halfway = tool(
        "halfway",
        "UPDATE products SET stock = stock + 1",
        "UPDATE customers SET email = :email",
        email="string",
    )
    replay = Environment.load(shop_with(halfway)).replay([call("halfway", email="same@example.org")])
    assert replay.results[0].error == "halfway: another row of customers already has this email"
    assert replay.changeset == ()
    assert replay.broken is None


@pytest.mark.parametrize("format_, wrong", [("date", "2026-02-30"), ("date", "now"), ("datetime", "2026-03-02")])
def test_dates_must_be_dates(format_: str, wrong: str) -> None:
    parameter = Parameter.model_validate({"name": "day", "type": "string", "format": format_})
    when = Tool(name="when", description="", parameters=(parameter,), returns=Returns(sql="SELECT :day AS day"))
    result = Environment.load(shop_with(when)).replay([call("when", day=wrong)]).results[0]
    assert result.error is not None and "must be a date" in result.error


def test_a_value_the_table_refuses_is_an_answer_without_sql_in_it() -> None:
    move = tool("move", "UPDATE orders SET placed_on = :day WHERE id = 'ORD-1'", day="string")
    environment = Environment.load(shop_with(move))
    for day in ("now", "2026-02-30", "soon"):
        result = environment.replay([call("move", day=day)]).results[0]
        assert result.error == "move: this value is not allowed for placed_on of orders"


def test_the_clock_stands_still() -> None:
    clock = tool("clock", returns="SELECT datetime('now') AS sqlite, :now AS now, :today AS today, current_date AS day")
    result = Environment.load(shop_with(clock)).replay([call("clock")]).results[0]
    assert result.value == {"sqlite": "2026-03-02 09:00:00", "now": CLOCK, "today": "2026-03-02", "day": "2026-03-02"}


BREAKING = {
    "an endless query": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS i FROM n",
    "a giant string": "SELECT length(format('%.2000000c', 'x')) AS x",
    "a result that is not JSON": "SELECT x'00' AS x",
    "an infinite number": "SELECT 9e999 AS x",
    "an overflow": "SELECT sum(9223372036854775807) AS x FROM orders",
}


@pytest.mark.parametrize("case", BREAKING)
def test_a_tool_that_breaks_is_an_environment_error_and_never_a_failure(case: str) -> None:
    environment = Environment.load(shop_with(tool("broken", returns=BREAKING[case])))
    task = make_task(environment, "", [call("cancel_order", order_id="ORD-1")])
    calls = [call("cancel_order", order_id="ORD-1"), call("broken")]
    verdict = environment.judge(task, calls, "")
    assert verdict.outcome is Outcome.ENVIRONMENT_ERROR
    assert verdict.reasons[0].startswith("tool broken: ")
    assert environment.judge(task, task.golden, "").outcome is Outcome.SOLVED


@pytest.mark.parametrize(
    "effect",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "UPDATE orders SET quantity = (SELECT max(i) FROM n)",
        "INSERT OR ROLLBACK INTO customers VALUES ('CUS-1', 'A', 'a@b.c', 'X')",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) "
        "INSERT INTO customers SELECT 'CUS-x' || i, printf('%.90000c', 'x'), 'e' || i, '' FROM n",
    ],
    ids=["endless", "rolls the episode back", "fills the memory"],
)
def test_a_write_that_takes_the_transaction_with_it_breaks_the_episode_only(effect: str) -> None:
    environment = Environment.load(shop_with(tool("broken", effect)))
    with environment.episode(shop_tasks(environment)[2]) as episode:
        episode.call("cancel_order", order_id="ORD-1")
        with pytest.raises(EnvironmentBroken, match="tool broken"):
            episode.call("broken")
        with pytest.raises(EnvironmentBroken):
            episode.call("cancel_order", order_id="ORD-3")
        assert episode.verdict("").outcome is Outcome.ENVIRONMENT_ERROR
    assert environment.replay([call("cancel_order", order_id="ORD-1")]).broken is None


def test_an_answer_of_many_rows_shows_fifty() -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n ORDER BY i"
    many = Tool(name="many", description="", returns=Returns(sql=numbers, shape="many"))
    result = Environment.load(shop_with(many)).replay([call("many")]).results[0]
    assert isinstance(result.value, list) and len(result.value) == 50


def test_a_verdict_says_what_is_missing_different_and_not_asked_for(shop: Environment) -> None:
    task = shop_tasks(shop)[6]
    calls = [
        call("set_order_status", order_id="ORD-1", status="paid"),
        call("change_quantity", order_id="ORD-3", quantity=2),
    ]
    assert shop.judge(task, calls, "You placed it on March 20.").reasons == (
        "different: update orders ORD-1: status pending → paid; "
        "the goal is update orders ORD-1: status pending → cancelled",
        "missing: update products PRD-1: stock 4 → 5",
        "not asked for: update orders ORD-3: quantity 1 → 2",
        "not told: placed_on",
    )


def test_equal_specifications_have_equal_base_states() -> None:
    assert BaseState.build(shop_spec()).sha256 == BaseState.build(shop_spec()).sha256


def test_queries_read_the_base_state_and_cannot_write(shop: Environment) -> None:
    rows = shop.query("SELECT id, giftable FROM products WHERE stock > :least ORDER BY id", {"least": 6})
    assert rows == [{"id": "PRD-2", "giftable": True}, {"id": "PRD-4", "giftable": True}]
    for wrong in ("DELETE FROM orders", "SELECT nothing FROM orders", "PRAGMA user_version", "COMMIT"):
        with pytest.raises(EnvironmentBroken):
            shop.query(wrong)


def any_call(environment: Environment) -> st.SearchStrategy[ToolCall]:
    """Calls as a policy makes them: mostly with known values, sometimes with nonsense."""

    def arguments(tool: Tool) -> st.SearchStrategy[ToolCall]:
        nonsense: st.SearchStrategy[JsonValue] = st.one_of(st.text(), st.integers(), st.booleans(), st.none())
        known = {
            parameter.name: st.sampled_from(column_values(parameter.source or "orders.id", environment)) | nonsense
            for parameter in tool.parameters
        }
        return st.fixed_dictionaries(known).map(lambda chosen: ToolCall(tool=tool.name, arguments=chosen))

    return st.sampled_from(environment.spec.tools).flatmap(arguments)


_SHOP = Environment.load(shop_spec())


@settings(max_examples=60)
@given(calls=st.lists(any_call(_SHOP), max_size=8))
def test_whatever_is_called_replays_alike_solves_its_own_goal_and_rolls_back(calls: list[ToolCall]) -> None:
    task = make_task(_SHOP, "", calls)
    assert _SHOP.judge(task, calls, "").outcome is Outcome.SOLVED
    assert _SHOP.replay(calls) == _SHOP.replay(calls, reverse_unordered_selects=True)
    state = open_state(_SHOP.base)
    before = state.content_hash()
    state.begin()
    for each in calls:
        compiled = _SHOP.tools[each.tool]
        seen = state.content_hash()
        if not compiled.invoke(state, each.arguments, CLOCK).ok:
            assert state.content_hash() == seen
    state.rollback()
    assert state.content_hash() == before
    state.close()
