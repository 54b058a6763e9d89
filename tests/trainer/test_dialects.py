"""A model's own tool syntax: which model has which, what it is shown, and what it writes."""

import hashlib
import json
from contextlib import nullcontext
from keyword import kwlist

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envs.environment import Environment
from envs.json_schema import input_schema
from envs.schema import IDENTIFIER
from envs.spec import Parameter, Tool
from envs.task import Expert, Task, ToolCall
from envs.tools import MAX_TEXT, argument_error
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.speaking import TEMPLATES, speaking
from tests.trainer.staging import talking_task
from trainer.collect import Assignment, planned
from trainer.conversation import Conversation, TemplateUnusable, Tokenizer
from trainer.dialect import ParsedTurn
from trainer.dialects.choice import dialect_for
from trainer.dialects.compact import COMPACT
from trainer.dialects.hermes import HERMES
from trainer.dialects.llama import LLAMA
from trainer.dialects.protocol import Dialect
from trainer.golden import GoldenFailed, golden_row
from trainer.settings import RolloutConfig

DIALECTS = {"compact": COMPACT, "hermes": HERMES, "llama": LLAMA}
NATIVE = {"hermes": HERMES, "llama": LLAMA}
CANCEL = ToolCall(tool="cancel_order", arguments={"order_id": "ORD-1"})


@pytest.fixture(scope="module")
def tokenizers(tokenizer: Tokenizer) -> dict[str, Tokenizer]:
    return {name: speaking(tokenizer, name) for name in DIALECTS}


# What did not change


def test_the_tokens_of_models_without_tools_are_what_they_always_were(conversation: Conversation) -> None:
    """Computed before there were dialects."""
    shop = Environment.load(shop_spec())
    tasks = [*shop_tasks(shop), talking_task(shop)]
    rows = [golden_row(task, shop, conversation, 600) for task in tasks]
    shop.close()
    digests = [hashlib.sha256(json.dumps(row.token_ids).encode()).hexdigest()[:16] for row in rows]
    assert digests == [
        "14f834f9bd99a506",
        "62d30660a97afb64",
        "b9d31e8ff35241eb",
        "39a237b98024e787",
        "7943eeee23beb8c2",
        "0a71a1583febfe15",
        "170a505697c2bdb1",
        "9e4235166664adef",
    ]
    assert [len(row.token_ids) for row in rows] == [400, 407, 405, 412, 487, 492, 597, 444]


def test_rollouts_keep_their_ids_where_no_dialect_is_named(tasks: list[Task], assignment: Assignment) -> None:
    assert planned(tasks, assignment, RolloutConfig(dialect="auto")) == planned(tasks, assignment, RolloutConfig())
    other = RolloutConfig(dialect="hermes")
    assert RolloutConfig.model_validate(other.model_dump()) == other
    assert set(planned(tasks, assignment, RolloutConfig())).isdisjoint(planned(tasks, assignment, other))


# Which one


def test_a_dialect_is_chosen_by_what_the_chat_template_writes(tokenizers: dict[str, Tokenizer]) -> None:
    assert {name: dialect_for("auto", tokenizer) for name, tokenizer in tokenizers.items()} == DIALECTS
    assert dialect_for("compact", tokenizers["hermes"]) is COMPACT
    assert dialect_for("llama", tokenizers["llama"]) is LLAMA


@pytest.mark.parametrize("broken", ["other syntax", "tools not shown", "raises"])
def test_a_template_that_only_looks_like_one_is_none(tokenizer: Tokenizer, broken: str) -> None:
    template = {
        "other syntax": TEMPLATES["hermes"].replace('{"name": "', "<function=").replace('", "arguments": ', ">"),
        "tools not shown": TEMPLATES["hermes"].replace("tool | tojson", "''"),
        "raises": "{{- raise_exception('no calls') }}",
    }[broken]
    other = speaking(tokenizer, "compact")
    other.chat_template = template  # type: ignore[attr-defined]
    assert dialect_for("auto", other) is COMPACT
    with pytest.raises(TemplateUnusable, match=r"rollouts\.dialect.*hermes"):
        dialect_for("hermes", other)


# What the policy is shown


@pytest.mark.parametrize("name", NATIVE)
def test_tools_are_shown_with_their_whole_schema_experts_and_prices(
    name: str, shop: Environment, tasks: list[Task]
) -> None:
    expert = Expert(
        name="expert_a", profile="sage", capability="Knows shops.", input_usd_per_mtok=0.5, output_usd_per_mtok=12.0,
        simulated=True,
    )  # fmt: skip
    tools = ("set_order_status", "cancel_order")
    toolbox = tasks[0].toolbox.model_copy(
        update={"tools": tools, "call_prices_usd": {"cancel_order": 0.02}, "experts": (expert,)}
    )
    prompt = NATIVE[name].prompt(shop.spec, toolbox)
    functions = {tool["function"]["name"]: tool["function"] for tool in prompt.tools}
    assert list(functions) == [*tools, "expert_a"]
    assert functions["set_order_status"]["parameters"] == input_schema(shop.spec.tool("set_order_status"))
    assert functions["set_order_status"]["parameters"]["properties"]["status"]["enum"] == list(
        shop.spec.tool("set_order_status").parameters[1].enum
    )
    assert functions["expert_a"]["description"] == "Knows shops. [$0.5 in, $12 out per million tokens]"
    assert "Prices of a call in USD: cancel_order 0.02." in prompt.system
    assert "Today is 2026-03-02." in prompt.system and "Give it the whole request." in prompt.system
    plain = NATIVE[name].prompt(shop.spec, toolbox.model_copy(update={"experts": (), "call_prices_usd": {}})).system
    assert "Prices" not in plain and "expert" not in plain and "said to the user" not in plain


@pytest.mark.parametrize("name", NATIVE)
def test_the_opening_is_the_templates_own(name: str, tokenizers, shop: Environment, tasks: list[Task]) -> None:
    prompt = NATIVE[name].prompt(shop.spec, tasks[0].toolbox)
    conversation = Conversation(tokenizers[name], NATIVE[name])
    ids = conversation.opening(prompt.system, tasks[0].instruction, tools=prompt.tools, clock=shop.spec.clock)
    rendered = tokenizers[name].apply_chat_template(
        [{"role": "system", "content": prompt.system}, {"role": "user", "content": tasks[0].instruction}],
        tools=list(prompt.tools),
        tokenize=False,
        add_generation_prompt=True,
        date_string="02 Mar 2026",
    )
    assert tokenizers[name].decode(ids, skip_special_tokens=False) == rendered
    assert rendered.count('"additionalProperties": false') == len(tasks[0].toolbox.tools)


def test_the_day_a_template_tells_is_that_of_the_environment(tokenizer: Tokenizer) -> None:
    other = speaking(tokenizer, "compact")
    other.chat_template = "{{ strftime_now('%d %b %Y') }}" + str(other.chat_template)  # type: ignore[attr-defined]
    conversation = Conversation(other)
    ids = conversation.opening("s", "u", clock="2026-03-02T09:00:00")
    assert other.decode(ids, skip_special_tokens=False).startswith("02 Mar 2026")
    assert conversation.read(ids) == ("s", [("user", "u")])


# What it writes

MARKS = [
    *("<tool_call>", "</tool_call>", "<tool_response>", "<think>", "</think>", "<|python_tag|>", "<|im_end|>", "```"),
    *("Answer:", "Ask:", '{"name": "f", "arguments": {}}', '{"name": "f", "parameters": {}}', "f(a=1)", ";", "#"),
    *('"', "'", "\\", "{", "}", "[", "\n", "\r", "\x00", "\x85", "\u2028", "😀", "class=", "x "),
]
ANY = st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=20)
WORDS = ANY | st.lists(st.sampled_from(MARKS), max_size=6).map("".join)
NAMES = st.one_of(st.from_regex(IDENTIFIER, fullmatch=True), st.sampled_from(kwlist))
VALUES = st.recursive(
    st.one_of(
        WORDS,
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.none(),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
CALLS = st.builds(ToolCall, tool=NAMES, arguments=st.dictionaries(NAMES, VALUES, max_size=3))


@pytest.mark.parametrize("name", DIALECTS)
@given(calls=st.lists(CALLS, min_size=1, max_size=8))
def test_calls_are_read_back_as_they_were_written(name: str, calls: list[ToolCall]) -> None:
    turn = ParsedTurn(calls=tuple(calls))
    assert DIALECTS[name].read(DIALECTS[name].write(turn)) == turn


@pytest.mark.parametrize("name", NATIVE)
@given(call=CALLS, thought=WORDS.filter(lambda words: "</think>" not in words))
@example(call=CANCEL, thought='<tool_call>"')
@example(call=CANCEL, thought='<tool_call>{"name": "f, ...')
def test_a_call_after_thinking_is_read_whatever_its_texts_say(name: str, call: ToolCall, thought: str) -> None:
    turn = ParsedTurn(calls=(call,))
    assert NATIVE[name].read(f"<think>\n{thought}\n</think>\n\n{NATIVE[name].write(turn)}") == turn


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("may_ask", [False, True])
@given(answer=WORDS.map(str.strip).filter(bool))
def test_an_answer_may_mention_any_mark(name: str, may_ask: bool, answer: str) -> None:
    turn = ParsedTurn(answer=answer)
    assert DIALECTS[name].read(DIALECTS[name].write(turn, may_ask=may_ask), may_ask=may_ask) == turn


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("text", ["a </think> tag", "a\nbreak and a </think> tag"])
@pytest.mark.parametrize("before", ["", "I shall note it.\n"])
def test_no_broken_call_ends_a_rollout_as_an_answer(name: str, text: str, before: str) -> None:
    """Cut off at every character, or with a line break that JSON does not allow."""
    whole = NATIVE[name].write(ParsedTurn(calls=(ToolCall(tool="add_note", arguments={"text": "TEXT"}),)))
    if name == "llama" and before:
        return  # a call of Llama begins its turn
    written = f"{before}{whole.replace('TEXT', text)}"
    for cut in range(len(before) + whole.index("{") + 1, len(written)):
        read = NATIVE[name].read(written[:cut])
        assert read.calls or read.malformed, written[:cut]


@pytest.mark.parametrize("before", ["I shall note it. ", "```json\n"])
def test_a_call_after_words_never_leaves_its_rest_as_an_answer(before: str) -> None:
    written = LLAMA.write(ParsedTurn(calls=(ToolCall(tool="add_note", arguments={"text": "a </think> tag"}),)))
    for cut in range(written.index("tag"), len(written) + 1):
        assert "another form" in str(LLAMA.read(before + written[:cut]).malformed)
    assert LLAMA.read('I write {"name": ... or so </think>It is done.').answer == "It is done."


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("turn", [ParsedTurn(answer="It is done."), ParsedTurn(message="Which order?")])
def test_words_are_read_back_as_they_were_meant(name: str, turn: ParsedTurn) -> None:
    dialect = DIALECTS[name]
    assert dialect.read(dialect.write(turn, may_ask=True), may_ask=True) == turn


@pytest.mark.parametrize("name", NATIVE)
def test_calls_are_written_as_the_template_writes_them(name: str, tokenizers: dict[str, Tokenizer]) -> None:
    called = [{"type": "function", "function": {"name": CANCEL.tool, "arguments": CANCEL.arguments}}]
    rendered = tokenizers[name].apply_chat_template(
        [{"role": "user", "content": "u"}, {"role": "assistant", "content": "", "tool_calls": called}], tokenize=False
    )
    assert NATIVE[name].write(ParsedTurn(calls=(CANCEL,))) in rendered


def test_words_without_a_call_are_the_answer_or_where_there_is_a_user_a_message() -> None:
    for dialect in NATIVE.values():
        assert dialect.read("It is done.") == ParsedTurn(answer="It is done.")
        assert dialect.read("Answer: It is done.") == ParsedTurn(answer="It is done.")
        assert dialect.read("Which order?", may_ask=True) == ParsedTurn(message="Which order?")
        assert dialect.read("Answer: It is done.", may_ask=True) == ParsedTurn(answer="It is done.")


def test_what_a_model_thinks_is_heard_by_nobody() -> None:
    written = HERMES.write(ParsedTurn(calls=(CANCEL,)))
    assert HERMES.read(f"<think>\nLet me see: {written}\n</think>\n\n{written}").calls == (CANCEL,)
    assert HERMES.read("so <tool_call> it is\n</think>\n\nIt is done.").answer == "It is done."
    assert HERMES.read(f"I shall cancel it.\n{written}").calls == (CANCEL,)
    assert HERMES.read("<think>\nforever").malformed == "thinking without </think>"


def test_llama_may_mark_its_calls_and_name_their_type() -> None:
    call = '{"type": "function", "name": "cancel_order", "parameters": {"order_id": "ORD-1"}}'
    assert LLAMA.read(call).calls == LLAMA.read(f"<|python_tag|>{call};\n{call}").calls[:1] == (CANCEL,)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_golden_call_that_the_tokens_cannot_carry_is_named_with_its_task(name: str, tokenizers) -> None:
    """The vocabulary of the small model has no bytes for the rarest planes of Unicode; emoji it has."""
    conversation = Conversation(tokenizers[name], DIALECTS[name])
    rows = shop_spec().rows
    for order_id, carried in {"ORD-😀": True, "ORD-\U00040000": False}.items():
        order = (order_id, *rows["orders"][0][1:])
        shop = Environment.load(shop_spec(rows={**rows, "orders": (*rows["orders"], order)}))
        golden = (ToolCall(tool="cancel_order", arguments={"order_id": order_id}),)
        task = shop_tasks(shop)[0].model_copy(update={"golden": golden})
        with nullcontext() if carried else pytest.raises(GoldenFailed, match=f"task {task.id}: .* of cancel_order"):
            golden_row(task, shop, conversation, 200)


@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_a_call_that_a_tool_takes_fits_into_a_turn_of_any_dialect(dialect: Dialect) -> None:
    """The most that arguments may take is a bound of the tool itself, so that it is the same over MCP."""
    names = [f"{number}".rjust(63, "x") for number in range(9)]
    tool = Tool(name="t" * 63, description="", parameters=tuple(Parameter(name=name, type="string") for name in names))

    def longest(count: int) -> ToolCall:
        texts = ["\x01" * MAX_TEXT, "\x01" * count, *[""] * 7]
        return ToolCall(tool=tool.name, arguments=dict(zip(names, texts, strict=True)))

    lengths = range(0, MAX_TEXT, 10)
    fitting = max(length for length in lengths if argument_error(tool, longest(length).arguments) is None)
    turn = ParsedTurn(calls=(longest(fitting),))
    assert fitting > 1000 and dialect.read(dialect.write(turn)) == turn
    assert "characters as JSON; the most is" in str(argument_error(tool, longest(MAX_TEXT).arguments))


HERMES_BAD = [
    "",
    "<tool_call>",
    "</tool_call>",
    "<tool_call></tool_call>",
    "<tool_call>cancel_order(order_id=1)</tool_call>",
    '<tool_call>{"name": "f", "arguments": {}}',
    '<tool_call>{"name": "f", "arguments": {}}</tool_call> Done.',
    '<tool_call>{"name": "f", "arguments": {}}</tool_call></tool_call>',
    '<tool_call>{"name": "f"}</tool_call>',
    '<tool_call>{"name": "f", "parameters": {}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": "{}"}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {}, "id": 1}</tool_call>',
    '<tool_call>{"name": "", "arguments": {}}</tool_call>',
    '<tool_call>{"name": 1, "arguments": {}}</tool_call>',
    '<tool_call>[{"name": "f", "arguments": {}}]</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>',
    f'<tool_call>{{"name": "f", "arguments": {{"a": {2**53}}}}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": "\\ud800"}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 3000 + "]" * 3000 + "}}</tool_call>",
    '<tool_call>{"name": "f", "arguments": {}}</tool_call>' * 9,
    '{"name": "f", "arguments": {}}',
    '```json\n{"name": "f", "arguments": {}}\n```',
    "{'name': 'f', 'arguments': {'a': True}}",
    '{"arguments": {}, "name": "f"}',
    '<function=f>{"a": 1}</function>',
    '[f(a="x")]',
    'f(a="x", b=1)',
    "Answer:",
    "word " * 8000,
]
LLAMA_BAD = [
    "{",
    "<|python_tag|>",
    "<|python_tag|>brave_search.call(query='x')",
    '{"name": "f"}',
    '{"name": "f", "arguments": {}}',
    '{"name": "f", "parameters": "{}"}',
    '{"type": "code", "name": "f", "parameters": {}}',
    '{"name": "f", "parameters": {}} Done.',
    '{"name": "f", "parameters": {}}, {"name": "f", "parameters": {}}',
    'I call {"name": "f", "parameters": {}}',
    "[{'name': 'f', 'parameters': {}}]",
    '<function=f>{"a": 1}</function>',
    '[f(a="x")]',
    '{"name": "f", "parameters": {"a": Infinity}}',
    '{"name": "f", "parameters": {"a": 1, "a": 2}}',
    '{"a":' * 5000,
    "; ".join(['{"name": "f", "parameters": {}}'] * 9),
]


@pytest.mark.parametrize(
    ("dialect", "text"), [*((HERMES, text) for text in HERMES_BAD), *((LLAMA, text) for text in LLAMA_BAD)]
)
def test_a_malformed_call_has_a_reason_and_nothing_of_it_is_done(dialect: Dialect, text: str) -> None:
    for may_ask in (False, True):
        parsed = dialect.read(text, may_ask=may_ask)
        assert parsed.malformed and parsed == ParsedTurn(malformed=parsed.malformed)


@pytest.mark.parametrize("name", NATIVE)
@given(text=st.one_of(st.text(max_size=60), st.text(alphabet='{}[]"<>/:;,tol_ca1e', max_size=60)))
def test_no_text_breaks_the_parser(name: str, text: str) -> None:
    parsed = NATIVE[name].read(text, may_ask=True)
    outcomes = [bool(parsed.calls), parsed.answer is not None, parsed.message is not None, parsed.malformed is not None]
    assert sum(outcomes) == 1
