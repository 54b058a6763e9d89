"""One episode: calls on a borrowed state, then a verdict. Nothing it did outlives it."""

from pydantic import JsonValue

from envs.errors import EnvironmentBroken
from envs.facts import tells
from envs.spec import Rule
from envs.state import State
from envs.task import Change, Task, ToolCall
from envs.tools import CompiledTool, ToolResult
from envs.verdict import Outcome, Verdict

_MAX_REASONS = 20


class Episode:
    """Opened by `Environment.episode()`. Every call is all or nothing; a broken environment stays broken."""

    def __init__(
        self,
        tools: dict[str, CompiledTool],
        state: State,
        clock: str,
        task: Task | None = None,
        rules: tuple[Rule, ...] = (),
    ) -> None:
        self.task = task
        """What `verdict` judges against; None for an episode without a task."""
        self._tools = tools
        self._state = state
        self._clock = clock
        self._rules = rules
        self.broken: str | None = None
        """What broke the environment, if it did."""

    def call(self, tool: str, /, **arguments: JsonValue) -> ToolResult:
        """Call a tool by name. See `attempt`."""
        return self._run(tool, arguments)

    def attempt(self, call: ToolCall, *, undoable: bool = False) -> ToolResult:
        """Make one call. A wrong one is answered with an error and changes nothing.

        A write that is `undoable` and succeeds can be undone by `back`, with all that comes after it.
        Raises EnvironmentBroken if the tool's own SQL fails; the episode's verdict is then `environment_error`.
        """
        return self._run(call.tool, call.arguments, undoable)

    def back(self) -> None:
        """Undo the last undoable write that is not undone yet."""
        self._alive()
        self._state.undo()

    def broken_rules(self, call: ToolCall) -> list[str]:
        """The rules of the policy that this call would break if it were made now, in their own words.

        Raises EnvironmentBroken if a rule's SQL fails.
        """
        self._alive()
        constants = self._tools[call.tool].constants if call.tool in self._tools else {}
        bindings = {**constants, **call.arguments, "now": self._clock, "today": self._clock[:10]}
        broken = []
        self._state.begin_call()
        for rule in self._rules:
            if rule.tool == call.tool:
                rows = self._state.run(rule.sql, bindings, rows=1)
                if not rows or not rows[0][0]:
                    broken.append(rule.text)
        return broken

    def changeset(self) -> tuple[Change, ...]:
        """The net changes so far, sorted by table and key. Raises EnvironmentBroken."""
        self._alive()
        return self._state.changeset()

    def content_hash(self) -> str:
        """The sha256 of every row as it is now: equal for equal content. It reads everything; changes are cheaper."""
        return self._state.content_hash()

    def verdict(self, answer: str) -> Verdict:
        """Solved when the state reached is that of the task's goal and the answer tells every fact.

        Judging changes nothing: the episode may go on. Raises ValueError if the episode has no task.
        """
        if self.task is None:
            raise ValueError("this episode has no task to be judged by: open it with `environment.episode(task)`")
        if self.broken is not None:
            return Verdict(outcome=Outcome.ENVIRONMENT_ERROR, reasons=(self.broken,))
        return verdict_on(self.task, self._state.changeset(), answer, self._clock)

    def _run(self, name: str, arguments: dict[str, JsonValue], undoable: bool = False) -> ToolResult:
        self._alive()
        tool = self._tools.get(name)
        if tool is None:
            return ToolResult(ok=False, error=f"there is no tool {name}; there are {', '.join(self._tools)}")
        try:
            return tool.invoke(self._state, arguments, self._clock, undoable=undoable)
        except EnvironmentBroken as broken:
            self.broken = str(broken)
            raise

    def _alive(self) -> None:
        if self.broken is not None:
            raise EnvironmentBroken(self.broken)


def verdict_on(task: Task, changeset: tuple[Change, ...], answer: str, clock: str) -> Verdict:
    """Judge a reached changeset and an answer against the task's goal, with every reason for a failure."""
    reasons: list[str] = []
    if changeset != task.goal.changeset:
        goal = {(change.table, change.key): change for change in task.goal.changeset}
        made = {(change.table, change.key): change for change in changeset}
        for place, change in goal.items():
            if place not in made:
                reasons.append(f"missing: {describe(change)}")
            elif made[place] != change:
                reasons.append(f"different: {describe(made[place])}; the goal is {describe(change)}")
        reasons += [f"not asked for: {describe(change)}" for place, change in made.items() if place not in goal]
    reasons += [f"not told: {fact.label}" for fact in task.goal.facts if not tells(answer, fact, clock)]
    if reasons:
        return Verdict(outcome=Outcome.FAILED, reasons=tuple(reasons[:_MAX_REASONS]))
    return Verdict(outcome=Outcome.SOLVED)


def describe(change: Change) -> str:
    """A change in one line: `update orders O-4: status pending → cancelled`."""
    if change.operation == "update":
        what = ", ".join(f"{name} {change.old.get(name)} → {value}" for name, value in change.new.items())
    else:
        values = change.new if change.operation == "insert" else change.old
        what = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"{change.operation} {change.table} {change.key}: {what}"
