"""A specification brought to life: checked, compiled, and ready for any number of episodes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import apsw
from pydantic import JsonValue, ValidationError

from envs.base_state import BaseState
from envs.compile import check_rule, check_structure, compile_tool
from envs.episode import Episode, verdict_on
from envs.errors import EnvironmentBroken, SpecError
from envs.record import Record
from envs.seal import HEAP_LIMIT_BYTES
from envs.spec import EnvironmentSpec
from envs.state import State, open_state
from envs.task import Change, Task, ToolCall
from envs.tools import CompiledTool, ToolResult
from envs.verdict import Outcome, Verdict

_REMEDY = "Correct it, or write the file anew with `envloom env show --json`"


class Replay(Record):
    """What a sequence of calls did to a fresh episode."""

    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]
    """One per call, or fewer if the environment broke."""
    changeset: tuple[Change, ...]
    broken: str | None = None
    """What broke the environment, if it did; the changeset is then empty."""


class Environment:
    """A compiled specification that any number of episodes run in, also many at once; each has a connection of its own.

    Make one with `Environment.load(spec)` or `Environment.open("library.json")`; both raise SpecError, which names the
    place in the specification, the fault and the remedy. `judge(task, calls, answer)` returns the Verdict on a whole
    episode; `episode(task)` opens one to be played call by call and rolls it back at its end:

        with environment.episode(task) as episode:
            result = episode.call("get_loan", loan_id="L-1")  # ok with a value, or not ok with an error

    It belongs to one thread: `fork` one for every other thread. Connections are kept for the next episode until
    `close`, which is final; an episode open then keeps its connection until it ends. Forks close on their own.
    """

    def __init__(self, spec: EnvironmentSpec, base: BaseState, tools: dict[str, CompiledTool]) -> None:
        """Use `load`, `open` or `fork`: they check what is put together here."""
        self.spec = spec
        self.base = base
        self.tools = tools
        """Per name the compiled tool."""
        self._idle: dict[bool, list[State]] = {False: [], True: []}
        self._reader: State | None = None
        self._closed = False

    @classmethod
    def load(cls, spec: EnvironmentSpec) -> "Environment":
        """Check and compile a specification. Raises SpecError naming the place, what is wrong and the remedy."""
        check_structure(spec)
        base = BaseState.build(spec)
        state = open_state(base)
        tools = {tool.name: compile_tool(tool, spec, state) for tool in spec.tools}
        for number, rule in enumerate(spec.rules):
            check_rule(number, rule, spec, state)
        environment = cls(spec, base, tools)
        environment._idle[False].append(state)
        return environment

    @classmethod
    def open(cls, path: str | Path) -> "Environment":
        """Load the specification in a JSON file. Raises OSError, and SpecError naming file and place."""
        try:
            # Python's reader takes what is JSON only nearly, such as NaN: `load` then names its place.
            content = json.loads(Path(path).read_bytes(), object_pairs_hook=_object)
            spec = EnvironmentSpec.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise SpecError(f"{path}: {place}" if place else str(path), first["msg"], _REMEDY) from error
        except (ValueError, RecursionError) as error:
            raise SpecError(str(path), f"Invalid JSON ({error})", _REMEDY) from error
        try:
            return cls.load(spec)
        except SpecError as error:
            raise SpecError(f"{path}: {error.place}", error.what, error.remedy) from error

    def fork(self) -> "Environment":
        """The same environment with connections of its own: what is compiled and the base state's bytes are shared."""
        return Environment(self.spec, self.base, self.tools)

    @property
    def id(self) -> str:
        """The id of the specification: what `Task.environment_id` holds."""
        return self.spec.id

    @contextmanager
    def episode(self, task: Task | None = None, *, reverse_unordered_selects: bool = False) -> Iterator[Episode]:
        """A fresh episode, judged against `task`; everything it did is rolled back on leaving.

        Raises ValueError for a task of another environment and for a closed environment, and MemoryError when SQLite
        has no room for one more.
        """
        if task is not None and task.environment_id != self.id:
            raise ValueError(f"task {task.id} belongs to environment {task.environment_id}, not to {self.id}")
        state = self._begin(reverse_unordered_selects)
        episode = Episode(self.tools, state, self.spec.clock, task, self.spec.rules)
        try:
            yield episode
        finally:
            state.rollback()
            if episode.broken is None and not self._closed:
                self._idle[reverse_unordered_selects].append(state)
            else:
                state.close()

    def replay(self, calls: Sequence[ToolCall], reverse_unordered_selects: bool = False) -> Replay:
        """Make the calls in a fresh episode and report what they answered and changed."""
        results: list[ToolResult] = []
        with self.episode(reverse_unordered_selects=reverse_unordered_selects) as episode:
            try:
                for call in calls:
                    results.append(episode.attempt(call))
                changeset = episode.changeset()
            except EnvironmentBroken as broken:
                return Replay(calls=tuple(calls), results=tuple(results), changeset=(), broken=str(broken))
        return Replay(calls=tuple(calls), results=tuple(results), changeset=changeset)

    def judge(self, task: Task, calls: Sequence[ToolCall], answer: str) -> Verdict:
        """The verdict on a whole episode: these calls, then this answer. Calls that are refused do not count."""
        return self.judge_replay(task, self.replay(calls), answer)

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        """The verdict on an episode that was played already."""
        if replay.broken is not None:
            return Verdict(outcome=Outcome.ENVIRONMENT_ERROR, reasons=(replay.broken,))
        return verdict_on(task, replay.changeset, answer, self.spec.clock)

    def query(self, sql: str, parameters: Mapping[str, JsonValue] | None = None) -> list[dict[str, JsonValue]]:
        """Rows of the base state, for those who write tasks. Sealed and read-only; raises EnvironmentBroken."""
        if self._reader is None:
            self._reader = self._borrow(reverse_unordered_selects=False)
        bindings = dict(parameters or {})
        try:
            columns = self._reader.inspect(sql, may_write=False).columns
        except apsw.Error as error:
            raise EnvironmentBroken(f"{self._reader.seal.refused or error}: {sql}") from error
        self._reader.begin_call()
        found = self._reader.run(sql, bindings, can_cache=False)
        booleans = {name for name, table, origin in columns if (table, origin) in self.base.booleans}
        names = [name for name, _, _ in columns]
        rows = [dict(zip(names, row, strict=True)) for row in found]
        for row in rows:
            row.update({name: bool(row[name]) for name in booleans if row[name] is not None})
        return rows

    def close(self) -> None:
        """Close every connection that no episode holds, for good. Closing twice is fine."""
        self._closed = True
        for state in [*self._idle[False], *self._idle[True], *([self._reader] if self._reader else [])]:
            state.close()
        self._idle = {False: [], True: []}
        self._reader = None

    def __enter__(self) -> "Environment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, reverse_unordered_selects: bool) -> State:
        try:
            state = self._borrow(reverse_unordered_selects)
            state.begin()
        except apsw.NoMemError as error:
            limit = f"SQLite may use {HEAP_LIMIT_BYTES >> 20} MiB in one process"
            raise MemoryError(
                f"no room for another episode: {limit}. End some first, or use another process"
            ) from error
        return state

    def _borrow(self, reverse_unordered_selects: bool) -> State:
        """An idle connection, or a new one."""
        if self._closed:
            raise ValueError(f"environment {self.spec.domain} ({self.id}) is closed. Load it again, or fork it")
        idle = self._idle[reverse_unordered_selects]
        return idle.pop() if idle else open_state(self.base, reverse_unordered_selects)


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"one object has the same key twice, among {', '.join(sorted(values))[:200]}")
    return values
