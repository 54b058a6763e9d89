"""The states that attempts at one task lead to, each reached once.

Attempts differ from the golden episode in a call or two: most of what they do is the same again. So states form a tree
whose edges are the writes that succeed; a read or a refused call is answered and stays. What was answered in a state is
kept, and one open episode goes from state to state by nested savepoints. Whether the environment answers alike in a
fresh episode is not taken for granted: `execution.Deterministic` replays in fresh ones and compares.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from envs.environment import Environment, Replay
from envs.episode import Episode
from envs.errors import EnvironmentBroken
from envs.task import Change, ToolCall
from envs.tools import ToolResult


@dataclass(eq=False)
class Reached:
    """A state, named by the writes that lead to it."""

    before: "Reached | None" = None
    write: ToolCall | None = None
    """The call that leads here from `before`."""
    depth: int = 0
    changeset: tuple[Change, ...] | None = None
    """Once somebody asked."""


@dataclass(frozen=True)
class _Answer:
    state: Reached
    call: ToolCall
    """Both kept, so that no others can have their identities."""
    result: ToolResult
    after: Reached


class StateTree:
    """Plays calls from any state reached before. It holds an episode open until `close`."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.root = Reached()
        """The base state."""
        # By identity: attempts share the golden calls themselves. Here and not in the states, which know those before
        # them: in a ring they would wait for the garbage collector, and a proof would take a fifth longer.
        self._answers: dict[tuple[int, int], _Answer] = {}
        self._open = ExitStack()
        self._episode: Episode | None = None
        self._here = self.root
        """Where the open episode is."""

    def call(self, state: Reached, call: ToolCall) -> tuple[ToolResult, Reached]:
        """What a call answers in a state, and the state after it. Raises EnvironmentBroken."""
        place = (id(state), id(call))
        known = self._answers.get(place)
        if known is None:
            known = self._answers[place] = self._make(state, call)
        return known.result, known.after

    def after(self, calls: Sequence[ToolCall]) -> Reached:
        """The state after these calls. Raises EnvironmentBroken."""
        state = self.root
        for call in calls:
            _, state = self.call(state, call)
        return state

    def replay(self, calls: Sequence[ToolCall]) -> Replay:
        """What `Environment.replay` says of these calls."""
        state = self.root
        results: list[ToolResult] = []
        try:
            for call in calls:
                result, state = self.call(state, call)
                results.append(result)
            changeset = self.changeset(state)
        except EnvironmentBroken as broken:
            return Replay(calls=tuple(calls), results=tuple(results), changeset=(), broken=str(broken))
        return Replay(calls=tuple(calls), results=tuple(results), changeset=changeset)

    def changeset(self, state: Reached) -> tuple[Change, ...]:
        """The net changes of a state to the base state. Raises EnvironmentBroken."""
        if state.changeset is None:
            state.changeset = self._at(state).changeset()
        return state.changeset

    def close(self) -> None:
        """End the open episode; what was answered stays known."""
        self._open.close()
        self._episode, self._here = None, self.root

    def _make(self, state: Reached, call: ToolCall) -> _Answer:
        """Make the call for the first time in that state."""
        result = self._play(self._at(state), call)
        tool = self.environment.tools.get(call.tool)
        if result.ok and tool is not None and tool.tool.writes:
            self._here = Reached(before=state, write=call, depth=state.depth + 1)
        return _Answer(state, call, result, self._here)

    def _play(self, episode: Episode, call: ToolCall) -> ToolResult:
        try:
            return episode.attempt(call, undoable=True)
        except EnvironmentBroken:
            self.close()  # a broken episode stays broken: the next question begins a fresh one
            raise

    def _at(self, state: Reached) -> Episode:
        """The open episode, brought to that state: back to the last state on the way to both, then by its writes."""
        if self._episode is None:
            self._episode = self._open.enter_context(self.environment.episode())
        episode = self._episode
        writes: list[Reached] = []
        while state is not self._here:
            if state.before is not None and state.depth >= self._here.depth:
                writes.append(state)
                state = state.before
            elif self._here.before is not None:
                episode.back()
                self._here = self._here.before
        for step in reversed(writes):
            assert step.write is not None
            if not self._play(episode, step.write).ok:
                self.close()
                raise EnvironmentBroken(f"{step.write.tool} succeeded, and is refused in the same state a second time")
            self._here = step
        return episode
