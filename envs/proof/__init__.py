"""The gate every task passes before it is used: each check named, each with evidence, none decided by a model.

`CHECKS` is what is asked, `POLICY` what a failure means. Checks themselves live in the modules of this package.
"""

from contextlib import closing
from typing import Literal, TypeAlias

from envs.display import Shown, count, one_line, table
from envs.environment import Environment
from envs.proof.attempt import Subject
from envs.proof.audit import Audit, Rate, audit
from envs.proof.check import Check, CheckOutcome, CheckResult
from envs.proof.discrimination import (
    AcceptsAlternative,
    RejectsCollateral,
    RejectsPartialAnswer,
    RejectsWrongArgument,
)
from envs.proof.execution import Deterministic, GoldenExecutes, Minimal, NotVacuous, PolicyConsistent
from envs.proof.held_out import HeldOut, HeldOutRequest
from envs.proof.information import Discoverable, NoLeak, Novel
from envs.proof.novelty import Known
from envs.record import Record
from envs.task import Task

__all__ = [
    "CHECKS",
    "POLICY",
    "Audit",
    "Check",
    "CheckOutcome",
    "CheckResult",
    "HeldOut",
    "HeldOutRequest",
    "Known",
    "Proof",
    "Rate",
    "audit",
    "prove",
]

Severity: TypeAlias = Literal["reject", "label"]

CHECKS: tuple[Check, ...] = (
    GoldenExecutes(),
    Deterministic(),
    NotVacuous(),
    Minimal(),
    RejectsWrongArgument(),
    RejectsCollateral(),
    RejectsPartialAnswer(),
    AcceptsAlternative(),
    Discoverable(),
    NoLeak(),
    PolicyConsistent(),
    Novel(),
)

POLICY: dict[str, Severity] = {
    "golden_executes": "reject",
    "deterministic": "reject",
    "not_vacuous": "reject",
    "minimal": "reject",
    "rejects_wrong_argument": "reject",
    "rejects_collateral": "reject",
    "rejects_partial_answer": "reject",
    "accepts_alternative": "reject",
    "discoverable": "reject",
    "no_leak": "reject",
    "policy_consistent": "reject",
    "novel": "reject",
}
"""Per check what a failure does: `reject` the task, or `label` it (the result is kept with it, and it is used)."""


class Proof(Shown, Record):
    """The results of all checks on one task, as `prove` returns them.

    `accepted` says whether the task may be used, `rejected_by` names the checks that forbid it, and `check(name)` gives
    one result with its evidence.
    """

    task_id: str
    checks: tuple[CheckResult, ...]

    @property
    def accepted(self) -> bool:
        """No check failed whose policy is to reject."""
        return not self.rejected_by

    @property
    def rejected_by(self) -> tuple[str, ...]:
        """The names of the failed checks whose policy is to reject, in the order they are asked."""
        failed = (check.name for check in self.checks if check.outcome is CheckOutcome.FAILED)
        return tuple(name for name in failed if POLICY[name] == "reject")

    def check(self, name: str) -> CheckResult:
        """The result of the check of that name. Raises KeyError."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __repr__(self) -> str:
        fate = "accepted" if self.accepted else f"failed {', '.join(self.rejected_by)}"
        return one_line("Proof", self.task_id[:8], fate, count(len(self.checks), "check"))

    def _repr_html_(self) -> str:
        rows = [(check.name, check.outcome, check.evidence) for check in self.checks]
        fate = "accepted" if self.accepted else "rejected"
        return table(f"Proof of task {self.task_id}: {fate}", ("check", "outcome", "evidence"), rows)


def prove(task: Task, environment: Environment, known: Known | None = None) -> Proof:
    """Run every check on a task and return the results. What is sampled is seeded by the task's id.

    `environment` is the one the task was written for. `known` holds the accepted tasks and held-out requests that it
    must differ from; None skips that comparison. Raises ValueError if the task belongs to another environment.

        proof = prove(task, environment)
        assert proof.accepted, proof.rejected_by
    """
    if task.environment_id != environment.id:
        raise ValueError(
            f"task {task.id} belongs to environment {task.environment_id}, not to {environment.id} "
            f"({environment.spec.domain}). Load the environment it was written for."
        )
    first, *others = CHECKS
    with closing(Subject(task, environment, known)) as subject:
        results = [first.run(subject)]
        for check in others:
            # A golden program that does not run gives the other questions no subject.
            runs = results[0].outcome is CheckOutcome.PASSED
            results.append(check.run(subject) if runs else check.not_applicable(f"{first.name} failed"))
    return Proof(task_id=task.id, checks=tuple(results))
