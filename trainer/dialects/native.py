"""What the dialects of models with tools have in common: tools as JSON schema, calls as JSON, plain words otherwise.

Words without a call are for the user: the answer, which ends the rollout, or, where there is a user to talk to, a
message, unless they begin with `Answer:`. So do benchmarks of such talks (τ²-bench), where the user ends them.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from envs.experts import expert_tool
from envs.json_schema import input_schema
from envs.spec import EnvironmentSpec, Tool
from envs.strict_json import NotJson, parse_json
from envs.task import MAX_CALLS_A_TURN, Toolbox, ToolCall
from envs.tools import ToolResult
from trainer.dialect import (
    ABOUT_EXPERTS,
    ANSWER,
    MAX_TURN_CHARS,
    ParsedTurn,
    Unreadable,
    briefing,
    expert_price,
    offered,
    render_answer,
    render_results,
)
from trainer.dialects.protocol import Prompt

_THINKING, _THOUGHT = "<think>", "</think>"
_NO_THOUGHT = f"{_THINKING}\n\n{_THOUGHT}\n\n"
"""What templates write for a turn without thinking."""
_INTERRUPTED = re.compile(r'(?:"(?:[^"\\]|\\.)*\\?|[\w.+-]*)\Z|[\x00-\x1f]', re.DOTALL)
"""A string, number or word that the text ends in, or a control character, which JSON has in no string."""
_DECODER = json.JSONDecoder()
_CALL_PARTS = (re.compile(r"""["']name["']\s*:"""), re.compile(r"""["'](?:arguments|parameters)["']\s*:"""))
"""In any order, and also in the single quotes of Python."""
_OTHER_CALL = re.compile(r"<function=\w+>|\A\[?\w+\(\w+\s*=(?!=).*\)\]?\Z", re.DOTALL)
"""How other models write calls: `<function=name>`, and `[name(key="value")]`."""


class NativeDialect(ABC):
    """A dialect whose chat template shows tools and results itself. Subclasses know where a turn's calls stand."""

    native = True
    results_role: str
    markers: tuple[str, ...]
    arguments: str
    """The key of a call's arguments."""
    opening: re.Pattern[str]
    """What stands before the JSON of a call."""
    form: str
    """How a call is written, for reasons that the policy reads."""
    optional: Mapping[str, str] = {}
    """What else may stand in a call, and the one value it may have."""

    @abstractmethod
    def payloads(self, spoken: str) -> list[str] | None:
        """The JSON text of every call of a turn; None for a turn without calls. Raises Unreadable."""

    @abstractmethod
    def written(self, payloads: Sequence[str]) -> str:
        """A turn of these calls, each given as JSON."""

    def prompt(
        self,
        spec: EnvironmentSpec,
        toolbox: Toolbox,
        others: Mapping[str, EnvironmentSpec] | None = None,
        *,
        may_ask: bool = False,
    ) -> Prompt:
        tools = offered(spec, toolbox, others)
        prices = {tool.name: toolbox.call_prices_usd.get(tool.name, 0.0) for tool in tools}
        listed = ", ".join(f"{name} {price:.6g}" for name, price in prices.items() if price)
        finish = f"write {ANSWER} and" if may_ask else "write"
        system = [
            *briefing(spec, toolbox),
            *([f"Prices of a call in USD: {listed}."] if listed else []),
            *([ABOUT_EXPERTS] if toolbox.experts else []),
            *(["What you write without a tool call is said to the user."] if may_ask else []),
            f"When all is done, {finish} what the user should know, without a tool call.",
        ]
        experts = [(expert_tool(expert.name, expert.capability), expert_price(expert)) for expert in toolbox.experts]
        functions = [_function(tool) for tool in tools] + [_function(tool, price) for tool, price in experts]
        return Prompt(system="\n".join(system), tools=tuple(functions))

    def write(self, turn: ParsedTurn, *, may_ask: bool = False) -> str:
        if turn.calls:
            return self.written([_json({"name": call.tool, self.arguments: call.arguments}) for call in turn.calls])
        if turn.message is not None:
            forms = [turn.message, f"{_NO_THOUGHT}{turn.message}"]
        else:
            answer = render_answer(turn.answer or "")
            forms = [answer if may_ask else turn.answer or "", answer, f"{_NO_THOUGHT}{answer}"]
        # Words that hold marks of the syntax need more than themselves to be read as words.
        return next((form for form in forms if self.read(form, may_ask=may_ask) == turn), forms[0])

    def read(self, text: str, *, may_ask: bool = False) -> ParsedTurn:
        try:
            spoken = self._after_thinking(text.strip())
            if len(spoken) > MAX_TURN_CHARS:
                raise Unreadable(f"turn longer than {MAX_TURN_CHARS} characters")
            # An answer may mention the marks of calls.
            payloads = None if spoken.startswith(ANSWER) else self.payloads(spoken)
            return self._words(spoken, may_ask) if payloads is None else self._calls(payloads)
        except Unreadable as reason:
            return ParsedTurn(malformed=str(reason))

    def results(self, results: Sequence[ToolResult], limit_chars: int, words: Collection[int] = ()) -> list[str]:
        return [
            render_results([result], limit_chars, [0] if place in words else []) for place, result in enumerate(results)
        ]

    def _after_thinking(self, text: str) -> str:
        """The text after `</think>`, whether the template or the model began to think. Raises Unreadable.

        A `</think>` inside a call ends nothing, also where the call is broken or cut off, unless it is thought of only.
        """
        start, thinking = 0, text.startswith(_THINKING)
        while (end := text.find(_THOUGHT, start)) >= 0:
            call = self.opening.search(text, start, end)
            if call is None:
                return text[end + len(_THOUGHT) :].strip()
            start, whole = json_end(text, call.end())
            if not whole and not thinking and (call.start() == 0 or _INTERRUPTED.match(text, start)):
                break
            start = start if whole else call.end() + 1  # past the brace, where the same call is not met again
        if thinking:
            raise Unreadable(f"thinking without {_THOUGHT}")
        return text

    def _words(self, said: str, may_ask: bool) -> ParsedTurn:
        if not said:
            raise Unreadable("empty turn")
        if said.startswith(ANSWER):
            answer = said.removeprefix(ANSWER).strip()
            if not answer:
                raise Unreadable("empty answer")
            return ParsedTurn(answer=answer)
        if all(part.search(said) for part in _CALL_PARTS) or _OTHER_CALL.search(said):
            # Nobody says that to a user: it was meant as a call, and the policy should hear why it was none.
            raise Unreadable(f"a call in another form; write {self.form}")
        return ParsedTurn(message=said) if may_ask else ParsedTurn(answer=said)

    def _calls(self, payloads: Sequence[str]) -> ParsedTurn:
        if len(payloads) > MAX_CALLS_A_TURN:
            raise Unreadable(f"write 1 to {MAX_CALLS_A_TURN} calls a turn")
        return ParsedTurn(calls=tuple(map(self._call, payloads)))

    def _call(self, payload: str) -> ToolCall:
        try:
            call = parse_json(payload.strip())
        except NotJson as reason:
            raise Unreadable(f"a call that {reason}; write {self.form}") from None
        if not isinstance(call, dict):
            raise Unreadable(f"a call is a JSON object; write {self.form}")
        beside = {key: value for key, value in call.items() if key not in ("name", self.arguments)}
        name, arguments = call.get("name"), call.get(self.arguments)
        if not isinstance(name, str) or not name or any(self.optional.get(key) != beside[key] for key in beside):
            raise Unreadable(f'a call has "name" and "{self.arguments}" and nothing else; write {self.form}')
        if not isinstance(arguments, dict):
            raise Unreadable(f'{name}: "{self.arguments}" must be a JSON object; write {self.form}')
        return ToolCall(tool=name, arguments=arguments)


def json_end(text: str, start: int) -> tuple[int, bool]:
    """Where the JSON value that begins at `start` ends, and True; or where it stops being JSON, and False.

    White space may come first. A mark inside a string of the value is text: marks are looked for after its end.
    """
    begin = start + len(text[start:]) - len(text[start:].lstrip())
    try:
        return _DECODER.raw_decode(text, begin)[1], True
    except json.JSONDecodeError as error:
        return error.pos, False
    except (ValueError, RecursionError):  # giant digits, deep nesting
        return begin, False


def _function(tool: Tool, price: str = "") -> dict[str, Any]:
    """A tool as chat templates take it: name, description, and JSON schema of the arguments."""
    description = f"{tool.description} {price}" if price else tool.description
    function = {"name": tool.name, "description": description, "parameters": input_schema(tool)}
    return {"type": "function", "function": function}


def _json(value: object) -> str:
    """As chat templates write JSON."""
    return json.dumps(value, ensure_ascii=False)
