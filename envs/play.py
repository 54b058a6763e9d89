"""An episode played by hand: a line in, a reply out. Reading lines and printing replies are the command's business."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from envs.environment import Environment
from envs.episode import describe
from envs.errors import EnvironmentBroken
from envs.spec import Tool
from envs.task import Task, ToolCall
from envs.tools import ToolResult
from envs.verdict import Outcome, Verdict

HELP = """\
name(key="value")   call a tool, as a policy writes it
Answer: …           what the user is told; judges the episode (so does: judge …)
diff                what the calls have changed so far
tools, task         the tools; the request
undo all, restart   begin again
help, quit"""


class Line(Protocol):
    """A line as the notation reads it: calls, an answer, or the reason why it is neither."""

    @property
    def calls(self) -> tuple[ToolCall, ...]: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def malformed(self) -> str | None: ...


@dataclass(frozen=True)
class Notation:
    """How calls are written, tools listed and a request worded, for people as for a policy."""

    read: Callable[[str], Line]
    signature: Callable[[Tool], str]
    request: Callable[[Task], str]


@dataclass(frozen=True)
class Reply:
    """What a line is answered with: text for people, content for `--json`."""

    text: str
    content: dict[str, Any] = field(default_factory=dict)


class Play:
    """One environment, maybe one task, and the episode at hand. `close` rolls it back."""

    def __init__(self, environment: Environment, notation: Notation, task: Task | None = None) -> None:
        self.environment = environment
        self.notation = notation
        self.task = task
        self.verdict: Verdict | None = None
        """The last one reached."""
        self._open = ExitStack()
        self._episode = self._open.enter_context(environment.episode(task))
        self.commands: dict[str, Callable[[], Reply]] = {
            "help": lambda: Reply(HELP, {"help": HELP}),
            "tools": self._tools,
            "task": self._task,
            "diff": self._diff,
            "undo all": self._restart,
            "restart": self._restart,
        }

    @property
    def solved(self) -> bool | None:
        """Whether the last verdict was `solved`; None if none was asked for."""
        return self.verdict.outcome is Outcome.SOLVED if self.verdict else None

    def opening(self) -> Reply:
        """What stands above the first line: the environment, its rules, its tools and the request."""
        spec = self.environment.spec
        parts = [f"{spec.title} ({spec.domain}, {spec.id}). Today is {spec.clock[:10]}.", spec.policy.strip()]
        parts += [self._tools().text, *([self._task().text] if self.task else [])]
        content = {"environment": spec.id, "domain": spec.domain, "policy": spec.policy}
        return Reply("\n\n".join(parts), content | self._tools().content | self._task().content)

    def reply(self, line: str) -> Reply:
        """Do what the line says. A line that cannot be read, or a call that is refused, is an answer too."""
        line = line.strip()
        if line in self.commands:
            return self.commands[line]()
        word, _, rest = line.partition(" ")
        if word == "judge":
            return self._judge(rest.strip())
        turn = self.notation.read(line)
        if turn.answer is not None:
            return self._judge(turn.answer)
        if turn.malformed is not None:
            return _error(f"{turn.malformed}; `help` lists what can be written")
        return self._call(turn.calls)

    def close(self) -> None:
        """End the episode; nothing of it stays."""
        self._open.close()

    def _call(self, calls: tuple[ToolCall, ...]) -> Reply:
        results: list[ToolResult] = []
        try:
            for call in calls:
                results.append(self._episode.attempt(call))
        except EnvironmentBroken as broken:
            return _error(f"environment broken: {broken}; `restart` begins again")
        content = [result.model_dump(exclude_none=True) for result in results]
        return Reply("\n".join(_shown(result) for result in results), {"results": content})

    def _judge(self, answer: str) -> Reply:
        if self.task is None:
            return _error("there is no task to judge by: start with --task random, or --task and an id")
        self.verdict = verdict = self._episode.verdict(answer)
        reasons = [f"  {reason}" for reason in verdict.reasons]
        return Reply("\n".join([str(verdict.outcome), *reasons]), {"verdict": verdict.model_dump(mode="json")})

    def _diff(self) -> Reply:
        try:
            changes = self._episode.changeset()
        except EnvironmentBroken as broken:
            return _error(f"environment broken: {broken}; `restart` begins again")
        text = "\n".join(describe(change) for change in changes) or "nothing has changed"
        return Reply(text, {"changes": [change.model_dump() for change in changes]})

    def _tools(self) -> Reply:
        signatures = [self.notation.signature(tool) for tool in self.environment.spec.tools]
        return Reply("\n".join(signatures), {"tools": signatures})

    def _task(self) -> Reply:
        if self.task is None:
            return Reply("no task", {"task": None})
        request = self.notation.request(self.task)
        return Reply(f"Task {self.task.id}:\n{request}", {"task": {"id": self.task.id, "request": request}})

    def _restart(self) -> Reply:
        self._open.close()
        self._episode = self._open.enter_context(self.environment.episode(self.task))
        return Reply("as in the beginning", {"restarted": True})


def _error(what: str) -> Reply:
    return Reply(f"error: {what}", {"error": what})


def _shown(result: ToolResult) -> str:
    """One line of JSON; one line a row when there are many."""
    if not result.ok:
        return f"error: {result.error}"
    rows = result.value if isinstance(result.value, list) else [result.value]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) or "no rows"
