"""A specification brought to life: checked, compiled, and ready for any number of episodes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import apsw
from pydantic import JsonValue

from envs.compile import check_structure, compile_tool
from envs.episode import Episode, verdict_on
from envs.errors import EnvironmentBroken
from envs.record import Record
from envs.spec import EnvironmentSpec
from envs.state import BaseState, State, open_state
from envs.task import Change, Task, ToolCall
from envs.tools import CompiledTool, ToolResult
from envs.verdict import Outcome, Verdict


class Replay(Record):
    """What a sequence of calls did to a fresh episode."""

    results: tuple[ToolResult, ...]
    """One per call, or fewer if the environment broke."""
    changeset: tuple[Change, ...]
    broken: str | None = None
    """What broke the environment, if it did; the changeset is then empty."""


class Environment:
    """A compiled specification. Episodes borrow a connection from its pool, so several may be open at once."""

    def __init__(self, spec: EnvironmentSpec, base: BaseState, tools: dict[str, CompiledTool], state: State) -> None:
        self.spec = spec
        self.base = base
        self.tools = tools
        """Per name the compiled tool."""
        self._idle: dict[bool, list[State]] = {False: [state], True: []}
        self._reader: State | None = None

    @classmethod
    def load(cls, spec: EnvironmentSpec) -> "Environment":
        """Check and compile a specification. Raises SpecError naming the place, what is wrong and the remedy."""
        check_structure(spec)
        base = BaseState.build(spec)
        state = open_state(base)
        tools = {tool.name: compile_tool(tool, spec, state) for tool in spec.tools}
        return cls(spec, base, tools, state)

    @property
    def id(self) -> str:
        """The id of the specification: what `Task.environment_id` holds."""
        return self.spec.id

    @contextmanager
    def episode(self, reverse_unordered_selects: bool = False) -> Iterator[Episode]:
        """A fresh episode; everything it did is rolled back on leaving."""
        idle = self._idle[reverse_unordered_selects]
        state = idle.pop() if idle else open_state(self.base, reverse_unordered_selects)
        state.begin()
        episode = Episode(self.tools, state, self.spec.clock)
        try:
            yield episode
        finally:
            state.rollback()
            if episode.broken is None:
                idle.append(state)
            else:
                state.close()

    def replay(self, calls: Sequence[ToolCall], reverse_unordered_selects: bool = False) -> Replay:
        """Make the calls in a fresh episode and report what they answered and changed."""
        results: list[ToolResult] = []
        with self.episode(reverse_unordered_selects) as episode:
            try:
                for call in calls:
                    results.append(episode.attempt(call))
                changeset = episode.changeset()
            except EnvironmentBroken as broken:
                return Replay(results=tuple(results), changeset=(), broken=str(broken))
        return Replay(results=tuple(results), changeset=changeset)

    def judge(self, task: Task, calls: Sequence[ToolCall], answer: str) -> Verdict:
        """The verdict on a whole episode: these calls, then this answer. Calls that are refused do not count."""
        replay = self.replay(calls)
        if replay.broken is not None:
            return Verdict(outcome=Outcome.ENVIRONMENT_ERROR, reasons=(replay.broken,))
        return verdict_on(task, replay.changeset, answer, self.spec.clock)

    def query(self, sql: str, parameters: Mapping[str, JsonValue] | None = None) -> list[dict[str, JsonValue]]:
        """Rows of the base state, for those who write tasks. Sealed and read-only; raises EnvironmentBroken."""
        if self._reader is None:
            self._reader = open_state(self.base)
        bindings = dict(parameters or {})
        try:
            columns = self._reader.inspect(sql, may_write=False).columns
        except apsw.Error as error:
            raise EnvironmentBroken(f"{self._reader.seal.refused or error}: {sql}") from error
        found = self._reader.run(sql, bindings, can_cache=False)
        booleans = {name for name, table, origin in columns if (table, origin) in self.base.booleans}
        names = [name for name, _, _ in columns]
        rows = [dict(zip(names, row, strict=True)) for row in found]
        for row in rows:
            row.update({name: bool(row[name]) for name in booleans if row[name] is not None})
        return rows

    def close(self) -> None:
        """Close every connection. Episodes still open keep theirs until they end."""
        for state in [*self._idle[False], *self._idle[True], *([self._reader] if self._reader else [])]:
            state.close()
        self._idle = {False: [], True: []}
        self._reader = None
