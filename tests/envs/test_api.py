"""The Python API a person writes against: open, play, be judged, fork, close."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import apsw
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.environment import Environment
from envs.errors import SpecError
from envs.json_schema import input_schema
from envs.seal import HEAP_LIMIT_BYTES
from envs.spec import Parameter, Returns, Tool
from envs.state import open_state
from envs.task import ToolCall
from envs.tools import argument_error
from envs.verdict import Outcome
from tests.envs.test_episode import any_call
from tests.fixtures import shop_spec, shop_tasks

SHOP = Environment.load(shop_spec())


@pytest.fixture
def shop() -> Iterator[Environment]:
    with Environment.load(shop_spec()) as environment:
        yield environment


def test_an_episode_is_judged_by_the_task_it_was_opened_with(shop: Environment) -> None:
    cancel = shop_tasks(shop)[2]
    with shop.episode(cancel) as episode:
        assert episode.verdict(answer="Done.").outcome is Outcome.FAILED
        assert episode.call("cancel_order", order_id="ORD-1").ok
        assert episode.verdict(answer="Done.").outcome is Outcome.SOLVED
        assert episode.call("cancel_order", order_id="ORD-3").ok
        assert episode.verdict(answer="Done.").reasons[0].startswith("not asked for: update orders ORD-3")


def test_an_episode_without_a_task_has_no_verdict(shop: Environment) -> None:
    with shop.episode() as episode, pytest.raises(ValueError, match=r"open it with `environment\.episode\(task\)`"):
        episode.verdict("Done.")


def test_a_task_of_another_environment_is_refused(shop: Environment) -> None:
    other = Environment.load(shop_spec(seed=8))
    with pytest.raises(ValueError, match=f"belongs to environment {shop.id}"), other.episode(shop_tasks(shop)[0]):
        pass


def test_a_specification_in_a_file_is_the_same_environment(shop: Environment, tmp_path: Path) -> None:
    file = tmp_path / "shop.json"
    file.write_bytes(shop.spec.canonical())
    assert Environment.open(file).id == Environment.open(str(file)).id == shop.id


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", "shop.json: Invalid JSON"),
        ('{"domain": 1}', "shop.json: domain: "),
        ('{"domain": "a", "domain": "b"}', "shop.json: Invalid JSON .*same key twice"),
        (SHOP.spec.model_copy(update={"seed": 2**53}).model_dump_json(), "shop.json: seed: is an integer beyond"),
        (SHOP.spec.model_dump_json().replace("12050", "NaN"), r"shop.json: rows.products\[\d\].price_cents"),
        (
            SHOP.spec.model_dump_json().replace("Linen", r"Li\ud800nen"),
            r"shop.json: rows.products\[\d\].name: holds",
        ),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, content: str, place: str) -> None:
    file = tmp_path / "shop.json"
    file.write_text(content)
    with pytest.raises(SpecError, match=place):
        Environment.open(file)


def test_a_fork_shares_what_is_compiled_and_nothing_that_changes(shop: Environment) -> None:
    fork = shop.fork()
    assert fork.base is shop.base and fork.tools is shop.tools and fork.id == shop.id
    with shop.episode() as one, fork.episode() as other:
        one.call("cancel_order", order_id="ORD-1")
        assert other.changeset() == ()
        assert other.call("cancel_order", order_id="ORD-1").ok


def test_every_thread_has_a_fork(shop: Environment) -> None:
    tasks = shop_tasks(shop)

    def judge_all(fork: Environment) -> list[Outcome]:
        with fork:
            return [fork.judge(task, task.golden, task.golden_answer).outcome for task in tasks * 20]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(judge_all, [shop.fork() for _ in range(8)]))
    assert outcomes == [[Outcome.SOLVED] * len(tasks) * 20] * 8


def test_two_thousand_episodes_are_open_at_once(shop: Environment) -> None:
    with ExitStack() as all_open:
        episodes = [all_open.enter_context(shop.episode()) for _ in range(2_000)]
        for number, episode in enumerate(episodes):
            assert episode.call("change_quantity", order_id="ORD-1", quantity=1 + number % 20).ok
        seen = [episode.call("get_order", order_id="ORD-1").value["quantity"] for episode in episodes]
    assert seen == [1 + number % 20 for number in range(2_000)]


def test_too_many_episodes_say_so(shop: Environment) -> None:
    apsw.hard_heap_limit(apsw.memory_used() + 2**20)
    try:
        with ExitStack() as all_open, pytest.raises(MemoryError, match="no room for another episode"):
            while True:
                all_open.enter_context(shop.episode())
    finally:
        apsw.hard_heap_limit(HEAP_LIMIT_BYTES)
    with shop.episode() as episode:
        assert episode.call("cancel_order", order_id="ORD-1").ok


def test_closing_is_final_and_leaves_open_episodes_and_forks_alone(shop: Environment) -> None:
    fork = shop.fork()
    with shop.episode() as episode:
        shop.close()
        assert episode.call("cancel_order", order_id="ORD-1").ok
    shop.close()
    with pytest.raises(ValueError, match="is closed"), shop.episode():
        pass
    with pytest.raises(ValueError, match="is closed"):
        shop.query("SELECT id FROM orders")
    with fork.episode() as episode:
        assert episode.call("cancel_order", order_id="ORD-1").ok
    assert shop.fork().query("SELECT count(*) AS n FROM orders") == [{"n": 5}]


@settings(max_examples=60)
@given(calls=st.lists(any_call(SHOP), max_size=8))
def test_whatever_was_called_the_next_episode_begins_with_the_same_rows(calls: list[ToolCall]) -> None:
    state = open_state(SHOP.base)
    seeded = state.content_hash()
    state.close()
    with SHOP.episode() as episode:
        for call in calls:
            episode.attempt(call)
        assert (episode.content_hash() == seeded) == (episode.changeset() == ())
    with SHOP.episode() as following:
        assert following.content_hash() == seeded


def test_a_tool_is_described_in_json_schema() -> None:
    parameters = (
        Parameter(name="status", type="string", description="the new one", enum=("open", "closed")),
        Parameter(name="pieces", type="integer", minimum=1, maximum=20),
        Parameter(name="weight", type="number", minimum=0.5),
        Parameter(name="day", type="string", format="date"),
        Parameter(name="at", type="string", format="datetime"),
        Parameter(name="gift", type="boolean"),
    )
    tool = Tool(name="any", description="", parameters=parameters, returns=Returns(sql="SELECT 1 AS one"))
    assert input_schema(tool) == {
        "type": "object",
        "properties": {
            "status": {"type": "string", "description": "the new one", "enum": ["open", "closed"]},
            "pieces": {"type": "integer", "minimum": 1, "maximum": 20},
            "weight": {"type": "number", "minimum": 0.5},
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"},
            "gift": {"type": "boolean"},
        },
        "required": ["status", "pieces", "weight", "day", "at", "gift"],
        "additionalProperties": False,
    }


@settings(max_examples=200)
@given(call=any_call(SHOP))
def test_the_schema_lets_through_whatever_the_tool_takes(call: ToolCall) -> None:
    tool = SHOP.tools[call.tool].tool
    checker = jsonschema.Draft202012Validator(input_schema(tool))
    if argument_error(tool, call.arguments) is None:
        assert checker.is_valid(call.arguments)


def test_the_schema_refuses_what_it_can_say() -> None:
    checker = jsonschema.Draft202012Validator(input_schema(SHOP.spec.tool("set_order_status")))
    assert checker.is_valid({"order_id": "ORD-1", "status": "paid"})
    for wrong in ({}, {"order_id": "ORD-1", "status": "lost"}, {"order_id": "ORD-1", "status": "paid", "why": "x"}):
        assert not checker.is_valid(wrong)
