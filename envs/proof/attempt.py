"""What checks and audits put to a verifier: whole episodes, right or wrong by the way they were made."""

from dataclasses import dataclass
from functools import cached_property

from envs.environment import Environment, Replay
from envs.proof.novelty import Known
from envs.proof.states import StateTree
from envs.task import Task, ToolCall
from envs.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Attempt:
    """An episode made from the golden one by a named operator."""

    operator: str
    calls: tuple[ToolCall, ...]
    answer: str
    what: str
    """What the operator did, for evidence."""


class Subject:
    """One task in its environment, with every state that attempts lead to reached once for all who ask.

    It holds an episode open until `close`.
    """

    def __init__(self, task: Task, environment: Environment, known: Known | None = None) -> None:
        self.task = task
        self.environment = environment
        self.known = known or Known()
        """What the task must differ from."""
        self.states = StateTree(environment)

    @cached_property
    def golden(self) -> Replay:
        """The golden episode."""
        return self.states.replay(self.task.golden)

    def writes(self, call: ToolCall) -> bool:
        """Whether the call's tool changes rows. Raises KeyError for a tool that is not there."""
        return self.environment.tools[call.tool].tool.writes

    def verdict(self, calls: tuple[ToolCall, ...], answer: str) -> Verdict:
        """The verifier's verdict on an episode."""
        return self.environment.judge_replay(self.task, self.states.replay(calls), answer)

    def outcome(self, calls: tuple[ToolCall, ...], answer: str) -> Outcome:
        """What the verifier takes an episode for."""
        return self.verdict(calls, answer).outcome

    def solves(self, attempt: Attempt) -> bool:
        """Whether the verifier takes an attempt for right."""
        return self.outcome(attempt.calls, attempt.answer) is Outcome.SOLVED

    def close(self) -> None:
        """End the episode that the states were reached in."""
        self.states.close()
