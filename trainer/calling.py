"""Making the calls of one rollout: domain tools in the task's episode, distractors in episodes of their own, experts.

What a call cost is recorded here; which turn it belongs to, and when to stop, is `player`'s affair.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from time import perf_counter
from types import TracebackType

from envs.environment import Environment
from envs.episode import Episode
from envs.experts import QUESTION, expert_tool
from envs.task import Expert, Task, Toolbox, ToolCall
from envs.tools import ToolResult, argument_error
from trainer.experts import Experts, Situation
from trainer.rollout import Charge


class Caller:
    """A rollout's toolbox in use. Episodes of distractors are opened when they are first called, and never judged."""

    def __init__(
        self, task: Task, toolbox: Toolbox, environments: Mapping[str, Environment], experts: Experts, episode: Episode
    ) -> None:
        self.toolbox = toolbox
        self._episode = episode
        self._environments = environments
        self._experts = experts
        self._elsewhere: dict[str, Episode] = {}
        self._opened = ExitStack()
        self._strange = {distractor.tool: distractor.environment_id for distractor in toolbox.distractors}
        self._asked = {expert.name: expert for expert in toolbox.experts}
        self.situation = Situation(
            task=task,
            environment=environments[task.environment_id],
            toolbox=toolbox,
            others={identity: environments[identity].spec for identity in self._strange.values()},
        )

    def __enter__(self) -> "Caller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    async def call(self, call: ToolCall) -> tuple[ToolResult, Charge]:
        """Make one call: its result, and what it used. Raises EnvironmentBroken."""
        if call.tool in self._asked:
            return await self._ask(self._asked[call.tool], call)
        began = perf_counter()
        if call.tool in self._strange:
            result = self._episode_of(self._strange[call.tool]).attempt(call)
            return result, Charge(tool=call.tool, kind="distractor", latency_s=_since(began))
        if call.tool not in self.toolbox.tools:
            there = ", ".join([*self.toolbox.tools, *sorted(self._strange), *self._asked])
            result = ToolResult(ok=False, error=f"there is no tool {call.tool}; there are {there}")
        else:
            result = self._episode.attempt(call)
        if result.ok:
            self.situation.made.append((call, result.value))
        return result, Charge(tool=call.tool, kind="tool", latency_s=_since(began))

    def says_words(self, call: ToolCall) -> bool:
        """Whether the call's result is what somebody said."""
        return call.tool in self._asked

    async def _ask(self, expert: Expert, call: ToolCall) -> tuple[ToolResult, Charge]:
        wrong = argument_error(expert_tool(expert.name, expert.capability), call.arguments)
        if wrong is not None:
            # It was never asked, so nothing is owed.
            charge = Charge(tool=expert.name, kind="expert", latency_s=0.0, simulated=expert.simulated)
            return ToolResult(ok=False, error=wrong), charge
        return await self._experts.ask(expert, str(call.arguments[QUESTION]), self.situation)

    def _episode_of(self, environment_id: str) -> Episode:
        if environment_id not in self._elsewhere:
            episode = self._opened.enter_context(self._environments[environment_id].episode())
            self._elsewhere[environment_id] = episode
        return self._elsewhere[environment_id]


def _since(began: float) -> float:
    return round(perf_counter() - began, 6)
