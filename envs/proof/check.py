"""What a check of the proof is and what it reports. Checks say what they found; how much it matters is the policy's."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import ClassVar

from envs.proof.attempt import Subject
from envs.record import Record


class CheckOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


class CheckResult(Record):
    """What one check found on one task."""

    name: str
    outcome: CheckOutcome
    evidence: str
    """What was tried and what came of it, readable by a person."""


class Check(ABC):
    """One question put to a task in its environment. The class docstring says why it is asked."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, subject: Subject) -> CheckResult:
        """Ask it."""

    def passed(self, evidence: str) -> CheckResult:
        return CheckResult(name=self.name, outcome=CheckOutcome.PASSED, evidence=evidence)

    def failed(self, evidence: str) -> CheckResult:
        return CheckResult(name=self.name, outcome=CheckOutcome.FAILED, evidence=evidence)

    def not_applicable(self, evidence: str) -> CheckResult:
        return CheckResult(name=self.name, outcome=CheckOutcome.NOT_APPLICABLE, evidence=evidence)
