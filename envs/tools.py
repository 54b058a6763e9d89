"""How one tool call runs: arguments checked, guards asked, effects made, the answer selected, or a program run.

A call that cannot be made is an answer (`ToolResult(ok=False)`), and leaves no trace. A tool whose own SQL or program
fails breaks the environment (`EnvironmentBroken`). How specifications are checked before that is in `envs.compile`.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import apsw
from pydantic import JsonValue, SkipValidation

from envs.cells import is_date, is_datetime
from envs.errors import EnvironmentBroken
from envs.python_tools import CallRefused, PythonBody
from envs.record import MAX_INTEGER, Record
from envs.schema import explain_constraint
from envs.search import match_expression, query_problem
from envs.spec import Guard, Parameter, Tool
from envs.state import State

MAX_ROWS = 50
"""Rows a `many` answer shows at most; a tool that needs more must be asked more narrowly."""
MAX_ANSWER = 1_000_000
"""Characters of all texts of an answer."""
MAX_TEXT = 4_000
"""Characters of one text argument."""
MAX_ARGUMENTS = 32_000
"""Characters of all arguments of a call, written as JSON: less than a turn takes in any dialect."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


class ToolResult(Record):
    """What a call answers. `value` when it is ok, else one line of `error` that says what to do differently."""

    ok: bool
    # Whoever makes one has checked it as JSON; checking it once more would take a tenth of an episode.
    value: SkipValidation[JsonValue] = None
    error: str | None = None


@dataclass(frozen=True)
class CompiledTool:
    """A tool whose SQL was prepared once against the tables (`envs.compile.compile_tool`)."""

    tool: Tool
    result_columns: tuple[str, ...] = ()
    boolean_columns: frozenset[int] = frozenset()
    """Positions of result columns that come from a boolean column."""
    body: PythonBody | None = None
    """The program, where the tool has one."""
    constants: Mapping[str, JsonValue] = field(default_factory=dict)
    """The domain's constants, which SQL binds by name."""
    queries: tuple[str, ...] = ()
    """Parameters that SQL matches with a full-text index."""

    def invoke(
        self, state: State, arguments: Mapping[str, JsonValue], clock: str, *, undoable: bool = False
    ) -> ToolResult:
        """Run the call, a write inside its own savepoint. Raises EnvironmentBroken if the tool itself fails.

        With `undoable` the savepoint of a write that succeeds stays, for `State.undo`.
        """
        error = argument_error(self.tool, arguments)
        if error is not None:
            return ToolResult(ok=False, error=error)
        bindings: dict[str, JsonValue] = {**self.constants, **arguments, "now": clock, "today": clock[:10]}
        for name in self.queries:
            bindings[name] = match_expression(str(arguments[name]))
        state.begin_call()
        try:
            # A guard or a read cannot change anything (its SQL was prepared under a seal that refuses it).
            for guard in self.tool.guards:
                rows = state.run(guard.sql, bindings, rows=1)
                if not rows or not rows[0][0]:
                    return ToolResult(ok=False, error=f"{self.tool.name}: {fill(guard, bindings)}")
            return self._run_whole(state, bindings, undoable) if self.tool.writes else self._run(state, bindings)
        except EnvironmentBroken as broken:
            raise EnvironmentBroken(f"tool {self.tool.name}: {broken}") from broken

    def _run_whole(self, state: State, bindings: dict[str, JsonValue], undoable: bool) -> ToolResult:
        state.savepoint()
        try:
            result = self._run(state, bindings)
        except apsw.ConstraintError as refused:
            result = ToolResult(ok=False, error=f"{self.tool.name}: {explain_constraint(refused)}")
        except EnvironmentBroken:
            with suppress(EnvironmentBroken):
                state.undo()
            raise
        if not result.ok:
            state.undo()
        elif not undoable:
            state.release()
        return result

    def _run(self, state: State, bindings: dict[str, JsonValue]) -> ToolResult:
        if self.body is not None:
            try:
                return ToolResult(ok=True, value=self.body.run(state, bindings))
            except CallRefused as refused:
                return ToolResult(ok=False, error=f"{self.tool.name}: {refused}")
        if self.tool.mints is not None:
            bindings["new_id"] = state.mint(self.tool.mints)
        for effect in self.tool.effects:
            state.run(effect, bindings, may_write=True)
        return self._select(state, bindings)

    def _select(self, state: State, bindings: dict[str, JsonValue]) -> ToolResult:
        returns = self.tool.returns
        if returns is None:
            raise EnvironmentBroken("it has neither `returns` nor a program; compile_tool refuses such a tool")
        if returns.shape == "many":
            found = state.run(returns.sql, bindings, rows=MAX_ROWS, characters=MAX_ANSWER)
            return ToolResult(ok=True, value=[self._row(row) for row in found])
        found = state.run(returns.sql, bindings, rows=1, characters=MAX_ANSWER)
        if not found:
            return ToolResult(ok=False, error=f"{self.tool.name}: nothing found for {self._shown(bindings)}")
        row = self._row(found[0])
        return ToolResult(ok=True, value=row[self.result_columns[0]] if returns.shape == "scalar" else row)

    def _row(self, row: tuple[object, ...]) -> dict[str, JsonValue]:
        shown: dict[str, JsonValue] = {}
        for position, (name, value) in enumerate(zip(self.result_columns, row, strict=True)):
            if value is None or isinstance(value, str):
                shown[name] = value
            elif isinstance(value, int):
                if abs(value) > MAX_INTEGER:
                    what = "beyond the integers that JSON carries safely"
                    raise EnvironmentBroken(f"the answer's {name} is {value}, {what}")
                shown[name] = bool(value) if position in self.boolean_columns else value
            elif isinstance(value, float) and math.isfinite(value):
                shown[name] = value
            else:
                what = f"is {value}" if isinstance(value, float) else "is bytes"
                raise EnvironmentBroken(f"the answer's {name} {what}, which is not JSON")
        return shown

    def _shown(self, bindings: Mapping[str, JsonValue]) -> str:
        names = [parameter.name for parameter in self.tool.parameters]
        return ", ".join(f"{name} {_json(bindings[name])}" for name in names) or "this call"


def fill(guard: Guard, arguments: Mapping[str, JsonValue]) -> str:
    """A guard's message with its placeholders filled in literally (no format language, so no attribute access)."""
    return _PLACEHOLDER.sub(lambda match: str(arguments.get(match.group(1), match.group(0))), guard.message)


def placeholders(guard: Guard) -> tuple[str, ...]:
    """The names between braces in a guard's message."""
    return tuple(_PLACEHOLDER.findall(guard.message))


def argument_error(tool: Tool, arguments: Mapping[str, JsonValue]) -> str | None:
    """Why these arguments do not fit the tool, in one line; None if they do. Nothing is coerced."""
    for parameter in tool.parameters:
        if parameter.name not in arguments:
            return _wrong_names(tool, arguments)
    if len(arguments) > len(tool.parameters):
        return _wrong_names(tool, arguments)
    for parameter in tool.parameters:
        problem = value_problem(parameter, arguments[parameter.name])
        if problem is not None:
            return f"{tool.name}: {parameter.name} {problem}"
    # One text always fits, so that only calls with several long ones are written out.
    if sum(len(value) for value in arguments.values() if isinstance(value, str)) <= MAX_TEXT:
        return None
    length = len(json.dumps(arguments, ensure_ascii=False))
    too_long = f"{tool.name}: the arguments take {length} characters as JSON; the most is {MAX_ARGUMENTS}"
    return too_long if length > MAX_ARGUMENTS else None


def _wrong_names(tool: Tool, arguments: Mapping[str, JsonValue]) -> str:
    names = [parameter.name for parameter in tool.parameters]
    if missing := [name for name in names if name not in arguments]:
        return f"{tool.name}: missing {', '.join(missing)}; it takes {', '.join(names)}"
    unknown = ", ".join(name for name in arguments if name not in names)
    takes = f"it takes {', '.join(names)}" if names else "it takes no arguments"
    return f"{tool.name}: unknown argument {unknown}; {takes}"


def value_problem(parameter: Parameter, value: JsonValue) -> str | None:
    """Why no call carries this value for the parameter, as in `must be …`; None if it fits."""
    wrong_bool = isinstance(value, bool) and parameter.type != "boolean"
    if wrong_bool or not isinstance(value, _TYPES[parameter.type]):
        article = "an" if parameter.type == "integer" else "a"
        return f"must be {article} {parameter.type}, not {_json(value)}"
    if isinstance(value, str):
        return _text_problem(parameter, value)
    if isinstance(value, bool):
        return None
    return _number_problem(parameter, value)


def _text_problem(parameter: Parameter, value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid text"
    if len(value) > MAX_TEXT or "\x00" in value:
        return f"must be text of at most {MAX_TEXT} characters without NUL"
    if parameter.enum and value not in parameter.enum:
        return f"must be one of {', '.join(parameter.enum)}, not {_json(value)}"
    if parameter.format == "query":
        return query_problem(value)
    if parameter.format == "date" and not is_date(value):
        return f"must be a date like 2026-03-02, not {_json(value)}"
    if parameter.format == "datetime" and not is_datetime(value):
        return f"must be a date and time like 2026-03-02T09:00:00, not {_json(value)}"
    return None


def _number_problem(parameter: Parameter, value: object) -> str | None:
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > MAX_INTEGER:
        return "is out of range"
    if parameter.minimum is not None and value < parameter.minimum:
        return f"must be at least {parameter.minimum:g}, not {value}"
    if parameter.maximum is not None and value > parameter.maximum:
        return f"must be at most {parameter.maximum:g}, not {value}"
    return None


def _json(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
