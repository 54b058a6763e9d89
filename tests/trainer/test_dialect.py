"""What a small policy reads and writes."""

import ast
from keyword import kwlist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.environment import Environment
from envs.experts import Advice
from envs.task import Expert, Preference, Task, ToolCall
from envs.tools import MAX_TEXT, ToolResult
from trainer.dialect import (
    parse_turn,
    render_advice,
    render_answer,
    render_call,
    render_message,
    render_results,
    system_prompt,
    user_message,
)

NAMES = st.one_of(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.sampled_from(kwlist))
TEXTS = st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=20)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.none(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(tool=NAMES, arguments=st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_call_is_read_back_as_it_was_written(tool: str, arguments: dict) -> None:
    call = ToolCall(tool=tool, arguments=arguments)
    assert parse_turn(render_call(call)).calls == (call,)


@pytest.mark.parametrize(
    "text",
    [
        "f(note=\"class=1, from(x) = 'y'\")",
        "f(note='a \"class\" = 1')",
        'f(note="""class=\n\'from(\'""")',
        'f(\n    note="#(class=", # class="no"\n)',
    ],
)
def test_what_looks_like_a_name_inside_a_text_stays_as_it_is(text: str) -> None:
    [written] = parse_turn(text).calls
    assert str(written.arguments["note"]) == ast.literal_eval(text[text.index("note=") + 5 : -1].partition(", #")[0])


def test_a_name_is_read_letter_by_letter() -> None:
    """Python's parser would make `file` of it, which may be another tool."""
    [call] = parse_turn("\ufb01le(\ufb01=1, fi=2)").calls
    assert (call.tool, call.arguments) == ("\ufb01le", {"\ufb01": 1, "fi": 2})


def test_a_call_with_the_longest_text_that_a_tool_takes_is_read() -> None:
    call = ToolCall(tool="add_note", arguments={"text": "\x01" * MAX_TEXT})
    assert parse_turn(render_call(call)).calls == (call,)


def test_several_calls_stand_on_several_lines() -> None:
    parsed = parse_turn('\nget_order(order_id="O-1")\nset_price(cents=-120, rush=True)\n')
    assert [render_call(call) for call in parsed.calls] == [
        'get_order(order_id="O-1")',
        "set_price(cents=-120, rush=True)",
    ]


def test_an_answer_may_take_several_lines() -> None:
    assert parse_turn(render_answer("Done.\nIt costs (12) euros.")).answer == "Done.\nIt costs (12) euros."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Answer:",
        "I will cancel it.",
        'get_order("O-1")',
        "get_order(order_id=O)",
        "get_order(order_id=__import__('os'))",
        "get_order(order_id=1+1)",
        "get_order(order_id=[x])",
        "get_order(order_id={1: 2})",
        "get_order(order_id={'a': 1, 'a': 2})",
        "get_order(order_id={**{}})",
        "get_order(order_id=" + "[" * 40 + "]" * 40 + ")",
        "get_order(class=1, class=2)",
        "class(1)",
        "return (order_id)",
        'get_order(order_id=f"{x}")',
        "get_order(order_id=-True)",
        "get_order(order_id=1e999)",
        f"get_order(order_id={2**53})",
        'get_order(order_id="\\ud800")',
        "get_order(order_id=1, order_id=2)",
        "get_order(**{})",
        "db.get_order(order_id=1)",
        "x = get_order(order_id=1)",
        'get_order(order_id="O-1")\nAnswer: done',
        "f()\n" * 9,
        "(" * 5000,
        "-" * 30_000 + "1",
        "f(a=\0)",
        "f(a='" + "x" * 40_000 + "')",
    ],
)
def test_what_is_neither_calls_nor_an_answer_is_malformed_with_a_reason(text: str) -> None:
    parsed = parse_turn(text)
    assert parsed.malformed
    assert parsed.calls == () and parsed.answer is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    parsed = parse_turn(text)
    assert sum([bool(parsed.calls), parsed.answer is not None, parsed.malformed is not None]) == 1


def test_the_prompt_names_the_tools_of_the_toolbox_and_no_others(shop: Environment, tasks: list[Task]) -> None:
    toolbox = tasks[0].toolbox.model_copy(
        update={"tools": ("set_order_status", "cancel_order"), "call_prices_usd": {"cancel_order": 0.02}}
    )
    prompt = system_prompt(shop.spec, toolbox)
    assert "set_order_status(order_id, status: pending|paid|shipped|cancelled) - Move an order" in prompt
    assert "cancel_order(order_id) - Cancel a pending order and put its goods back in stock. [$0.02]" in prompt
    assert "place_order" not in prompt
    assert "Today is 2026-03-02." in prompt and "Only pending orders may be cancelled" in prompt


def test_a_stated_preference_is_part_of_the_request(tasks: list[Task]) -> None:
    task = tasks[0].model_copy(update={"preference": Preference(text="Keep it cheap.", cost=1.0)})
    assert user_message(task) == f"{task.instruction}\nKeep it cheap."


def test_results_are_one_line_each_and_say_what_was_cut() -> None:
    results = [ToolResult(ok=True, value={"a": "x" * 100}), ToolResult(ok=False, error="no such order")]
    long, error = render_results(results, 40).split("\n")
    assert long.endswith("… [68 more characters]") and len(long.split("…")[0]) == 40
    assert error == '{"error":"no such order"}'


def test_a_message_to_the_user_is_read_only_where_there_is_one() -> None:
    assert parse_turn("Ask: Which order?", may_ask=True).message == "Which order?"
    assert parse_turn(render_message("Which order?"), may_ask=True).message == "Which order?"
    assert parse_turn("Ask:", may_ask=True).malformed == "empty message"
    assert parse_turn("Ask: Which order?").malformed is not None
    assert parse_turn("Answer: Ask: me", may_ask=True).answer == "Ask: me"


def test_experts_and_the_way_to_ask_are_told_only_where_they_are(shop: Environment, tasks: list[Task]) -> None:
    plain = system_prompt(shop.spec, tasks[0].toolbox)
    assert "Ask:" not in plain and "expert" not in plain
    expert = Expert(
        name="expert_a", profile="sage", capability="Knows shops.", input_usd_per_mtok=0.5, output_usd_per_mtok=12.0,
        simulated=True,
    )  # fmt: skip
    told = system_prompt(shop.spec, tasks[0].toolbox.model_copy(update={"experts": (expert,)}), may_ask=True)
    assert "\nexpert_a(question) - Knows shops. [$0.5 in, $12 out per million tokens]\n" in told
    assert set(plain.splitlines()) < set(told.splitlines())
    assert "To ask the user for something, write Ask: and your question." in told


def test_what_somebody_said_is_shown_as_said() -> None:
    results = [ToolResult(ok=True, value='f(a="b")'), ToolResult(ok=True, value="x"), ToolResult(ok=False, error="no")]
    assert render_results(results, 40, words=[0, 2]).split("\n") == ['f(a="b")', '"x"', '{"error":"no"}']


def test_a_drawn_preference_takes_the_place_of_the_tasks(tasks: list[Task]) -> None:
    wish = Preference(text="Where you can, use expert_a.")
    assert user_message(tasks[0], wish) == f"{tasks[0].instruction}\n{wish.text}"


@pytest.mark.parametrize(
    ("advice", "text"),
    [
        (Advice(calls=(ToolCall(tool="f", arguments={"a": 1}), ToolCall(tool="g", arguments={}))), "f(a=1)\ng()"),
        (Advice(answer="It is blue."), "Answer: It is blue."),
        (Advice(remark="I do not know."), "I do not know."),
    ],
)
def test_advice_is_written_as_policies_write(advice: Advice, text: str) -> None:
    assert render_advice(advice) == text
