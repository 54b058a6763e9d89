"""The text a small policy reads and writes: compact tool signatures, Pythonic calls, `Ask:`, one final `Answer:`.

Everything here is text in, records out. Nothing the policy writes is ever evaluated: calls are read as syntax and
only literals are accepted. Models with a tool syntax of their own read and write that one (`trainer.dialects`); experts
and people who play are told everything in this one. Chat templates and tokens are the business of `conversation`.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence

from pydantic import JsonValue

from envs.experts import Advice, expert_tool
from envs.record import MAX_INTEGER, Record
from envs.spec import EnvironmentSpec, Parameter, Tool
from envs.strict_json import MAX_DEPTH
from envs.task import MAX_CALLS_A_TURN, Expert, Preference, Task, Toolbox, ToolCall
from envs.tools import ToolResult

ANSWER = "Answer:"
ASK = "Ask:"
ABOUT_EXPERTS = "An expert sees your calls and results. Give it the whole request."
MAX_TURN_CHARS = 32_768
"""More than the arguments of any call take (`envs.tools.MAX_ARGUMENTS`)."""
_NAMED = re.compile(
    r"""('{3}(?:[^\\]|\\.)*?'{3}|"{3}(?:[^\\]|\\.)*?"{3}|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|\#[^\n]*)"""
    r"|(?<!\w)([^\W\d]\w*)(?=\s*(?:\(|=(?!=)))",
    re.DOTALL,
)
"""A string or a comment, which is skipped, or a name that is called or given a value."""
_TYPE_WORDS = {"string": "", "integer": "integer", "number": "number", "boolean": "True/False"}
_FORMATS = {"date": "YYYY-MM-DD", "datetime": "YYYY-MM-DDTHH:MM:SS", "query": "words"}


class ParsedTurn(Record):
    """What the policy meant: calls, an answer, a message to the user, or a reason why none of them could be read."""

    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    message: str | None = None
    malformed: str | None = None


def system_prompt(
    spec: EnvironmentSpec,
    toolbox: Toolbox,
    others: Mapping[str, EnvironmentSpec] | None = None,
    *,
    may_ask: bool = False,
) -> str:
    """Title, date, policy, constants, the toolbox's tools and experts as one line each, and the lines of format.

    Prompt tokens are what a small model's rollout costs: only tools of the toolbox are named, in its order, and rules
    of the policy on other tools (lines such as `- cancel_order: …`) are left out. `others` holds the environments of
    the distractors by id; `may_ask` is for tasks with a user to talk to.
    Raises KeyError when the toolbox names a tool that its environment lacks.
    """
    tools = offered(spec, toolbox, others)
    return "\n".join(
        [
            *briefing(spec, toolbox),
            "Tools:",
            *(signature(tool, toolbox.call_prices_usd.get(tool.name, 0.0)) for tool in tools),
            *map(expert_signature, toolbox.experts),
            'Write one tool call per line, such as name(key="value"), and wait for its result.',
            *([ABOUT_EXPERTS] if toolbox.experts else []),
            *([f"To ask the user for something, write {ASK} and your question."] if may_ask else []),
            f"When all is done, write {ANSWER} and what the user should know.",
        ]
    )


def briefing(spec: EnvironmentSpec, toolbox: Toolbox) -> list[str]:
    """What comes before the tools, in every syntax: title, date, the policy on the toolbox's tools, constants."""
    absent = tuple(f"- {tool.name}:" for tool in spec.tools if tool.name not in toolbox.tools)
    lines = (line.strip() for line in spec.policy.splitlines())
    return [
        f"{spec.title}. Today is {spec.clock[:10]}.",
        *(line for line in lines if line and not line.startswith(absent)),
        *(f"{constant.description}: {constant.value}" for constant in spec.constants),
    ]


def offered(spec: EnvironmentSpec, toolbox: Toolbox, others: Mapping[str, EnvironmentSpec] | None = None) -> list[Tool]:
    """The tools of a toolbox without its experts; with distractors, which `others` hold, in the order of their names.

    Raises KeyError when the toolbox names a tool that its environment lacks.
    """
    tools = [spec.tool(name) for name in toolbox.tools]
    if toolbox.distractors:
        # By name, so that the place in the list gives no distractor away.
        strange = [(others or {})[each.environment_id].tool(each.tool) for each in toolbox.distractors]
        tools = sorted([*tools, *strange], key=lambda tool: tool.name)
    return tools


def user_message(task: Task, preference: Preference | None = None) -> str:
    """The request, followed by how the user wants it done: as drawn for the rollout, else as the task says."""
    wish = (preference or task.preference).text
    return f"{task.instruction}\n{wish}" if wish else task.instruction


def signature(tool: Tool, price_usd: float = 0.0) -> str:
    """A tool in one line: `change_quantity(order_id, quantity: integer) - Change …`, and its price if it has one."""
    parameters = ", ".join(parameter.name + _hint(parameter) for parameter in tool.parameters)
    price = f" [${price_usd:.6g}]" if price_usd else ""
    return f"{tool.name}({parameters}) - {tool.description}{price}"


def expert_signature(expert: Expert) -> str:
    """An expert in one line: `expert_a(question) - Knows shops. [$0.5 in, $1.5 out per million tokens]`."""
    return f"{signature(expert_tool(expert.name, expert.capability))} {expert_price(expert)}"


def expert_price(expert: Expert) -> str:
    """`[$0.5 in, $1.5 out per million tokens]`."""
    return f"[${expert.input_usd_per_mtok:g} in, ${expert.output_usd_per_mtok:g} out per million tokens]"


def _hint(parameter: Parameter) -> str:
    """What the name alone does not say, as `: …`; nothing for plain text without a description."""
    if parameter.enum:
        return f": {'|'.join(parameter.enum)}"
    if parameter.format:
        return f": {_FORMATS[parameter.format]}"
    hint = parameter.description or _TYPE_WORDS[parameter.type]
    return f": {hint}" if hint and hint != parameter.name.replace("_", " ") else ""


def render_call(call: ToolCall) -> str:
    """`cancel_order(order_id="O-17")`; `parse_turn` reads it back."""
    arguments = ", ".join(f"{name}={_literal(value)}" for name, value in call.arguments.items())
    return f"{call.tool}({arguments})"


def render_answer(answer: str) -> str:
    return f"{ANSWER} {answer}"


def render_message(message: str) -> str:
    return f"{ASK} {message}"


def render_advice(advice: Advice) -> str:
    """What a simulated expert says, as a model that knows this dialect would write it."""
    if advice.calls:
        return "\n".join(map(render_call, advice.calls))
    return advice.remark if advice.answer is None else render_answer(advice.answer)


def _literal(value: JsonValue) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(inner)}' for key, inner in value.items())}}}"
    # JSON's string escapes are all Python string escapes too, and double quotes are what models write.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def render_results(results: Sequence[ToolResult], limit_chars: int, words: Collection[int] = ()) -> str:
    """One line of compact JSON per result. A longer one is cut at `limit_chars` and says how much is missing.

    Results at the places in `words` are what somebody said, and stand there as they were said.
    """
    return "\n".join(_render_result(result, limit_chars, place in words) for place, result in enumerate(results))


def _render_result(result: ToolResult, limit_chars: int, said: bool) -> str:
    shown = result.value if result.ok else {"error": result.error}
    text = str(shown) if said and result.ok else json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    if len(text) <= limit_chars:
        return text
    return f"{text[:limit_chars]}… [{len(text) - limit_chars} more characters]"


def parse_turn(text: str, *, may_ask: bool = False) -> ParsedTurn:
    """Read one completion: only calls, or only an answer, or, where there is a user to ask, only a message.

    Anything else is malformed, with a reason to recover from.
    """
    stripped = text.strip()
    if not stripped:
        return ParsedTurn(malformed="empty turn")
    if len(stripped) > MAX_TURN_CHARS:
        return ParsedTurn(malformed=f"turn longer than {MAX_TURN_CHARS} characters")
    if stripped.startswith(ANSWER):
        answer = stripped.removeprefix(ANSWER).strip()
        return ParsedTurn(answer=answer) if answer else ParsedTurn(malformed="empty answer")
    if may_ask and stripped.startswith(ASK):
        message = stripped.removeprefix(ASK).strip()
        return ParsedTurn(message=message) if message else ParsedTurn(malformed="empty message")
    try:
        return ParsedTurn(calls=_calls(stripped))
    except Unreadable as reason:
        return ParsedTurn(malformed=str(reason))


class Unreadable(ValueError):
    """Why a turn cannot be read: the reason shown to the policy."""


def _calls(text: str) -> tuple[ToolCall, ...]:
    names: dict[str, str] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "\d" in a string is the policy's affair
            statements = ast.parse(_with_plain_names(text, names)).body
    # Deep nesting exhausts the parser rather than being a SyntaxError; it is unreadable all the same.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unreadable(f'neither calls such as name(key="value") nor "{ANSWER} ..."') from None
    if not 1 <= len(statements) <= MAX_CALLS_A_TURN:
        raise Unreadable(f"write 1 to {MAX_CALLS_A_TURN} calls a turn")
    return tuple(_call(statement, names) for statement in statements)


def _with_plain_names(text: str, names: dict[str, str]) -> str:
    """The text with a plain name for every name of a tool or an argument, which `names` maps back.

    Python's parser refuses its own words (`class`, `from`) as names, and rewrites some letters (`ﬁ` becomes `fi`).
    """

    def plain(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        name = f"_name_{len(names)}_"
        names[name] = match[2]
        return name

    return _NAMED.sub(plain, text)


def _call(statement: ast.stmt, names: Mapping[str, str]) -> ToolCall:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        raise Unreadable(f"line {statement.lineno} is not a tool call")
    call = statement.value
    if not isinstance(call.func, ast.Name):
        raise Unreadable(f"line {statement.lineno} does not call a tool by its name")
    tool = names.get(call.func.id, call.func.id)
    if call.args:
        raise Unreadable(f"{tool}: name every argument, such as key=value")
    arguments: dict[str, JsonValue] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise Unreadable(f"{tool}: ** is not allowed")
        name = names.get(keyword.arg, keyword.arg)
        if name in arguments:
            raise Unreadable(f"{tool}: {name} is given twice")
        arguments[name] = _value(keyword.value, f"{tool}: {name}")
    return ToolCall(tool=tool, arguments=arguments)


def _value(node: ast.expr, where: str, depth: int = 1) -> JsonValue:
    if depth > MAX_DEPTH:
        raise Unreadable(f"{where} is nested deeper than {MAX_DEPTH}")
    if isinstance(node, ast.List):
        return [_value(item, where, depth + 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _object(node, where, depth + 1)
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -1
    if not isinstance(node, ast.Constant) or (sign < 0 and not _is_number(node.value)):
        raise Unreadable(f"{where} must be a plain value")
    match node.value:
        case bool() | None as plain:
            return plain
        case str() as string if not any("\ud800" <= char <= "\udfff" for char in string):
            return string
        case int() as number if abs(number) <= MAX_INTEGER:
            return sign * number
        case float() as number if math.isfinite(number):
            return sign * number
    raise Unreadable(f"{where} must be text, a number, True, False or None")


def _object(node: ast.Dict, where: str, depth: int) -> dict[str, JsonValue]:
    pairs: dict[str, JsonValue] = {}
    for key_node, inner in zip(node.keys, node.values, strict=True):
        key = _value(key_node, where) if key_node is not None else None
        if not isinstance(key, str):
            raise Unreadable(f"{where} has a key that is not text")
        if key in pairs:
            raise Unreadable(f"{where} has the key {key} twice")
        pairs[key] = _value(inner, where, depth)
    return pairs


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
