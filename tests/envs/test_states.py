"""A tree of states answers what fresh episodes answer, also where calls break it, mint ids or run programs."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from envs.environment import Environment
from envs.episode import Episode
from envs.errors import EnvironmentBroken
from envs.proof.states import StateTree
from envs.spec import Returns, Tool
from envs.task import ToolCall
from envs.tools import ToolResult
from tests.envs.programs import needs_workers, program_tool, shop_with
from tests.fixtures import call, shop_spec

PLACED = call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=1)
CANCELLED = call("cancel_order", order_id="ORD-1")
LOOKED = call("get_order", order_id="ORD-6")
REFUSED = call("cancel_order", order_id="ORD-2")


@pytest.fixture
def shop() -> Iterator[Environment]:
    with Environment.load(shop_spec()) as environment:
        yield environment


def check(environment: Environment, *programs: list[ToolCall]) -> None:
    """Every program twice, in one tree."""
    with closing(StateTree(environment)) as states:
        for program in [*programs, *programs]:
            assert states.replay(program) == environment.replay(program)


def test_programs_that_share_calls_answer_as_they_do_alone(shop: Environment) -> None:
    check(
        shop,
        [PLACED, LOOKED, CANCELLED],
        [LOOKED, PLACED, LOOKED],
        [CANCELLED, PLACED, LOOKED],
        [PLACED, PLACED, CANCELLED, CANCELLED],
        [REFUSED, PLACED, REFUSED, LOOKED],
        [],
        [PLACED, LOOKED],
    )


def test_ids_are_minted_as_if_no_other_branch_had_been(shop: Environment) -> None:
    other = call("place_order", customer_id="CUS-2", product_id="PRD-2", quantity=1)
    with closing(StateTree(shop)) as states:
        for first in (PLACED, other, PLACED):
            state = states.after([first])
            assert [change.key for change in states.changeset(state) if change.operation == "insert"] == ["ORD-6"]


def test_a_call_is_made_once_per_state(shop: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    attempt = Episode.attempt

    def counted(episode: Episode, each: ToolCall, *, undoable: bool = False) -> ToolResult:
        made.append(each.tool)
        return attempt(episode, each, undoable=undoable)

    monkeypatch.setattr(Episode, "attempt", counted)
    with closing(StateTree(shop)) as states:
        for _ in range(3):
            states.replay([CANCELLED, LOOKED, REFUSED, LOOKED])
    assert made == ["cancel_order", "get_order", "cancel_order"]


@pytest.mark.parametrize(
    "tool",
    [
        Tool(name="broken", description="", returns=Returns(sql="SELECT x'00' AS x")),
        Tool(
            name="broken",
            description="",
            effects=(
                "UPDATE orders SET quantity = 7",
                "INSERT OR ROLLBACK INTO customers VALUES ('CUS-1', 'A', 'a@b.c', 'X')",
            ),
            returns=Returns(sql="SELECT 1 AS x"),
        ),
    ],
    ids=["read", "rolls the episode back"],
)
def test_a_call_that_breaks_the_episode_leaves_the_other_states_reachable(tool: Tool) -> None:
    with Environment.load(shop_with(tool)) as environment:
        broken = call("broken")
        check(environment, [PLACED, broken, LOOKED], [PLACED, LOOKED], [CANCELLED, broken], [CANCELLED, PLACED])
        with closing(StateTree(environment)) as states:
            state = states.after([PLACED, CANCELLED])
            with pytest.raises(EnvironmentBroken, match="tool broken"):
                states.call(state, broken)
            assert states.changeset(state) == environment.replay([PLACED, CANCELLED]).changeset


@needs_workers
def test_programs_of_tools_are_undone_like_sql() -> None:
    code = """
        made = new_id("orders")
        db_exec("UPDATE orders SET quantity = quantity + 1")
        [made, db_query("SELECT max(quantity) AS quantity FROM orders")]
    """
    with Environment.load(shop_with(program_tool(code, writes=True))) as environment:
        grown = call("program")
        check(environment, [grown, grown], [CANCELLED, grown], [grown, CANCELLED, PLACED], [PLACED, grown])


def test_the_environment_is_as_before_when_the_tree_is_closed(shop: Environment) -> None:
    with closing(StateTree(shop)) as states:
        states.after([PLACED, CANCELLED])
    with shop.episode() as episode:
        assert episode.changeset() == ()
        with shop.fork() as untouched, untouched.episode() as other:
            assert episode.content_hash() == other.content_hash()
