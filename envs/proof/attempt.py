"""What checks and audits put to a verifier: whole episodes, right or wrong by the way they were made."""

from dataclasses import dataclass
from functools import cached_property

from envs.environment import Environment, Replay
from envs.proof.novelty import Known
from envs.task import Task, ToolCall
from envs.verdict import Outcome


@dataclass(frozen=True)
class Attempt:
    """An episode made from the golden one by a named operator."""

    operator: str
    calls: tuple[ToolCall, ...]
    answer: str
    what: str
    """What the operator did, for evidence."""


class Subject:
    """One task in its environment, with the golden episode played once for all who ask."""

    def __init__(self, task: Task, environment: Environment, known: Known | None = None) -> None:
        self.task = task
        self.environment = environment
        self.known = known or Known()
        """What the task must differ from."""

    @cached_property
    def golden(self) -> Replay:
        """The golden episode."""
        return self.environment.replay(self.task.golden)

    @cached_property
    def golden_solves(self) -> bool:
        """Whether the verifier takes the golden episode."""
        return self.outcome(self.task.golden, self.task.golden_answer) is Outcome.SOLVED

    def outcome(self, calls: tuple[ToolCall, ...], answer: str) -> Outcome:
        """The verifier's verdict on an episode."""
        return self.environment.judge(self.task, calls, answer).outcome

    def solves(self, attempt: Attempt) -> bool:
        """Whether the verifier takes an attempt for right."""
        return self.outcome(attempt.calls, attempt.answer) is Outcome.SOLVED
