"""How a program runs: in a fresh sandbox of a confined worker, with the rows behind three host functions.

Only JSON text comes out of the sandbox, and only the host decides what is done: a call that the host refuses ends the
program there and then, so nothing can be caught, swallowed or carried on with. What programs may contain is read in
`envs.program`, the processes they run in are those of `envs.workers`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from envs import workers
from envs.errors import EnvironmentBroken
from envs.program import ENTRY, READING, WRITING, ProgramText
from envs.state import State, Statement
from envs.statements import StatementRefused, check_statement
from envs.strict_json import NotJson, parse_json

if TYPE_CHECKING:
    from pydantic_monty import MontyRuntimeError, OSPolicy, ResourceLimits, SyncSnapshot

MAX_RUN_S = 2.0
"""Time a program may compute, host calls not counted."""
MAX_MEMORY_BYTES = 32 << 20
MAX_DEPTH = 200
"""Calls inside calls."""
MAX_HOST_CALLS = 200
MAX_QUERY_ROWS = 1_000
MAX_QUERY_CHARACTERS = 1_000_000
MAX_MESSAGE = 500
MAX_STATEMENTS = 256
"""Statements whose check a tool remembers."""

_HOST = "__host__"
_FUNCTIONS = {
    "db_query": "def db_query(sql, params=None):\n"
    f"    return {_HOST}('db_query', __json__.dumps([sql, params], allow_nan=False))\n",
    "db_exec": "def db_exec(sql, params=None):\n"
    f"    return {_HOST}('db_exec', __json__.dumps([sql, params], allow_nan=False))\n",
    "new_id": f"def new_id(table):\n    return {_HOST}('new_id', __json__.dumps([table], allow_nan=False))\n",
}
_STUBS = {
    "db_query": "def db_query(sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]: ...\n",
    "db_exec": "def db_exec(sql: str, params: Mapping[str, object] | None = None) -> int: ...\n",
    "new_id": "def new_id(table: str) -> str: ...\n",
}
_SEED = 0
_FINDING = re.compile(r"[^:]*:(?P<line>\d+):\d+: error\[(?P<rule>[a-z-]+)\] (?P<what>.*)")
_CERTAIN = frozenset(
    {
        "call-non-callable",
        "missing-argument",
        "too-many-positional-arguments",
        "unknown-argument",
        "unresolved-attribute",
    }
)


class CallRefused(Exception):
    """The program raised ValueError on purpose: the message is for the tool's caller."""


@dataclass(frozen=True)
class PythonBody:
    """A program ready to run. It keeps nothing of a run but which statements were found to be allowed."""

    program: ProgramText
    writes: bool
    _checked: dict[tuple[str, bool], Statement] = field(default_factory=dict, repr=False, compare=False)

    def run(self, state: State, variables: Mapping[str, JsonValue]) -> JsonValue:
        """The program's answer. Raises CallRefused, apsw.ConstraintError, and EnvironmentBroken for all else.

        PythonToolsRefused is not turned into a verdict: this process has no workers, which nobody may overlook.
        """
        from pydantic_monty import FunctionSnapshot, MontyComplete

        calls = 0
        with self._explained(), workers.session(_limits(), _policy(state.base.clock)) as session:
            step: SyncSnapshot = session.feed_start(
                self._source, inputs={"__arguments__": dict(variables)}, print_callback=_discard
            )
            while isinstance(step, FunctionSnapshot) and step.function_name == _HOST:
                calls += 1
                if calls > MAX_HOST_CALLS:
                    raise EnvironmentBroken(f"more than {MAX_HOST_CALLS} calls of host functions")
                if (overdue := state.seal.call_overdue()) is not None:
                    raise EnvironmentBroken(overdue)
                step = step.resume({"return_value": self._host_call(state, step.args)})
            if not isinstance(step, MontyComplete):
                asked = getattr(step, "function_name", None) or getattr(step, "variable_name", "a future")
                raise EnvironmentBroken(f"asks for {_one_line(str(asked), 60)}, which is not there")
            return _strict(step.output, "the answer")

    def check(self) -> list[tuple[int, str]]:
        """Compile the program in a sandbox without running it: line and text of what its type check is sure of."""
        from pydantic_monty import MontyError, MontyRuntimeError, MontySyntaxError, MontyTypingError

        host = WRITING if self.writes else READING
        stubs = "from collections.abc import Mapping\nfrom typing import Any\n" + "".join(_STUBS[name] for name in host)
        try:
            with workers.session(_limits(), stubs=stubs) as session:
                session.feed_run(self.program.function)
        except MontyTypingError as error:
            return list(_certain(str(error)))
        except (MontySyntaxError, MontyRuntimeError) as error:
            frames = error.traceback()
            return [(frames[-1].line - 1 if frames else 1, _one_line(error.display("msg")))]
        except MontyError:
            return [(1, "the sandbox cannot compile the program")]
        return []

    @cached_property
    def _source(self) -> str:
        host = WRITING if self.writes else READING
        # Only what the program names: the sandbox takes as long to read a host function as the rest of a short program.
        functions = "".join(_FUNCTIONS[name] for name in host if name in self.program.function)
        call = f"__json__.dumps({ENTRY}(**__arguments__), allow_nan=False)"
        return f"{self.program.function}import json as __json__\n{functions}{call}"

    def _host_call(self, state: State, arguments: tuple[Any, ...]) -> JsonValue:
        """What a host function answers. The sandbox may ask for anything: all is checked here."""
        name, text = arguments if len(arguments) == 2 else (None, None)
        given = _strict(text, f"what {name if name in WRITING else 'a host function'} is given")
        if name not in (WRITING if self.writes else READING) or not isinstance(given, list):
            raise EnvironmentBroken("calls a host function that this program does not have")
        if name == "new_id":
            return self._mint(state, given)
        sql, params = given if len(given) == 2 else (None, None)
        if not isinstance(sql, str) or not isinstance(params, dict | None):
            raise EnvironmentBroken(f"{name} takes one text of SQL and a dict of the names it binds")
        bindings = {**params} if params else {}
        if any(isinstance(value, list | dict) or "\x00" in str(value) for value in bindings.values()):
            raise EnvironmentBroken(f"{name} binds texts, numbers, booleans and None, and no NUL")
        if name == "db_query":
            return self._query(state, sql, bindings)
        self._statement(state, sql, bindings, may_write=True)
        state.run(sql, _with_clock(state, bindings), may_write=True)
        return state.changed_rows()

    def _mint(self, state: State, given: list[JsonValue]) -> str:
        table = given[0] if len(given) == 1 else None
        if not isinstance(table, str) or table not in state.base.tables:
            raise EnvironmentBroken(f"new_id takes a table: {', '.join(state.base.tables)}")
        return state.mint(table)

    def _query(self, state: State, sql: str, bindings: dict[str, JsonValue]) -> list[JsonValue]:
        from envs.sql_text import is_ordered

        statement = self._statement(state, sql, bindings, may_write=False)
        found = state.run(sql, _with_clock(state, bindings), rows=MAX_QUERY_ROWS + 1, characters=MAX_QUERY_CHARACTERS)
        if len(found) > MAX_QUERY_ROWS:
            raise EnvironmentBroken(f"db_query finds more than {MAX_QUERY_ROWS} rows; use WHERE, LIMIT or an aggregate")
        if len(found) > 1 and not is_ordered(sql):
            # SQLite promises no order here, and a program could tell one from another: the rows' own order is one.
            found.sort(key=_order)
        booleans = [(table, origin) in state.base.booleans for _, table, origin in statement.columns]
        names = [name for name, _, _ in statement.columns]
        rows: list[JsonValue] = []
        for row in found:
            values = [bool(v) if b and v is not None else v for v, b in zip(row, booleans, strict=True)]
            if any(isinstance(value, bytes) for value in values):
                raise EnvironmentBroken("db_query finds bytes, which are not JSON")
            rows.append(dict(zip(names, values, strict=True)))
        return rows

    def _statement(self, state: State, sql: str, bindings: Mapping[str, JsonValue], may_write: bool) -> Statement:
        """The statement if it may run; a tool's statements are few, so that each is checked once."""
        seen = self._checked.get((sql, may_write))
        if seen is None:
            try:
                seen = check_statement(sql, state, may_write)
            except StatementRefused as refused:
                raise EnvironmentBroken(f"{refused.what}: {_one_line(sql)}") from refused
            if len(self._checked) >= MAX_STATEMENTS:
                self._checked.clear()
            self._checked[sql, may_write] = seen
        missing = [name for name in seen.names if name not in bindings and name not in ("today", "now")]
        if missing:
            raise EnvironmentBroken(f"binds :{missing[0]}, which is not in `params`: {_one_line(sql)}")
        return seen

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the sandbox says into our two outcomes; nothing of the host is in its words."""
        from pydantic_monty import MontyCrashedError, MontyError, MontyRuntimeError

        try:
            yield
        except MontyRuntimeError as error:
            raise self._outcome(error) from error
        except MontyCrashedError as error:
            what = "did not answer in time" if error.timed_out else "died"
            raise EnvironmentBroken(f"the worker {what} and was replaced") from error
        except MontyError as error:
            raise EnvironmentBroken(f"the sandbox refuses it ({type(error).__name__})") from error
        except TimeoutError as error:
            raise EnvironmentBroken("no worker was free in time") from error
        except (ValueError, OverflowError, RecursionError) as error:
            # The interpreter's own words when a value cannot become an object here, such as a giant integer.
            raise EnvironmentBroken("hands over a value that cannot leave the sandbox") from error

    def _outcome(self, error: "MontyRuntimeError") -> CallRefused | EnvironmentBroken:
        """A ValueError that a `raise` of the program raised is a refusal; one that Python raised is a mistake."""
        raised, frames = error.exception(), error.traceback()
        if isinstance(raised, TimeoutError):
            return EnvironmentBroken(f"computes for longer than {MAX_RUN_S:g} s")
        if isinstance(raised, MemoryError):
            return EnvironmentBroken(f"needs more than {MAX_MEMORY_BYTES >> 20} MiB")
        last = frames[-1] if frames else None
        inside = last is not None and last.filename != "<string>" and 1 < last.line <= self.program.lines
        if last is None or not inside:
            return EnvironmentBroken(_one_line(error.display("type-msg")))
        if type(raised) is ValueError and (last.line, last.column) in self.program.refusals:
            return CallRefused(_one_line(str(raised), MAX_MESSAGE) or "refused")
        return EnvironmentBroken(f"line {last.line - 1}: {_one_line(error.display('type-msg'))}")


def _limits() -> "ResourceLimits":
    return {
        "max_feed_duration_secs": MAX_RUN_S,
        "max_memory": MAX_MEMORY_BYTES,
        "max_recursion_depth": MAX_DEPTH,
        "max_suspensions": MAX_HOST_CALLS + 10,
    }


def _policy(clock: str) -> "OSPolicy":
    """The sandbox's clock stands still with the environment's; chance is the same in every call."""
    return {"datetime": datetime.fromisoformat(clock), "sleep": "zero", "random_start": {"seed": _SEED}}


def _discard(_stream: str, _text: str) -> None:
    """print() goes nowhere."""


def _with_clock(state: State, bindings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"now": state.base.clock, "today": state.base.clock[:10], **bindings}


def _strict(text: object, what: str) -> JsonValue:
    try:
        return parse_json(text)
    except NotJson as error:
        raise EnvironmentBroken(f"{what} {error}") from error


def _order(row: tuple[Any, ...]) -> tuple[tuple[str, Any], ...]:
    """Sorts rows of any types: NULL, numbers, text."""
    return tuple(
        ("", 0) if value is None else ("number", value) if isinstance(value, int | float) else ("text", value)
        for value in row
    )


def _one_line(text: str, most: int = 200) -> str:
    words = " ".join(text[: 4 * most].split())
    return words if len(words) <= most else words[: most - 1] + "…"


def _certain(report: str) -> Iterator[tuple[int, str]]:
    """The findings of the type check that no value at run time can make right; the others are matters of style."""
    for line in report.splitlines():
        found = _FINDING.match(line)
        if found and found["rule"] in _CERTAIN:
            yield int(found["line"]) - 1, found["what"]
