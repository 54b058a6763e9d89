"""Checks on the verifier: near misses of the golden episode must fail, other ways to the same end must not.

A verifier that cannot tell right from nearly right is no reward.
"""

from collections.abc import Iterator
from random import Random

from envs.proof.alternatives import ALTERNATIVES
from envs.proof.attempt import Attempt, Subject
from envs.proof.check import Check, CheckResult
from envs.proof.mutations import (
    Operator,
    altered_facts,
    duplicated_writes,
    extra_writes,
    omitted_facts,
    perturbed_arguments,
    swapped_entities,
)
from envs.proof.wording import plainly
from envs.record import derive_seed
from envs.verdict import Outcome


class RejectsWrongArgument(Check):
    """A write on another row, or with one argument changed, must be refused or fail.

    A mutant that reaches the identical state is equivalent: counted, not held against the task. If all are, no
    argument of the task matters, and whatever is written passes.
    """

    name = "rejects_wrong_argument"

    def run(self, subject: Subject) -> CheckResult:
        caught = equivalent = 0
        for mutant in attempts(subject, (swapped_entities, perturbed_arguments), self.name):
            outcome = subject.outcome(mutant.calls, mutant.answer)
            if outcome is Outcome.ENVIRONMENT_ERROR:
                return self.failed(f"{mutant.what} broke the environment")
            if outcome is Outcome.FAILED:
                caught += 1
            elif is_equivalent(subject, mutant):
                equivalent += 1
            else:
                return self.failed(f"{mutant.what} is solved")
        evidence = f"{caught + equivalent} mutants: {caught} failed, {equivalent} equivalent"
        if caught:
            return self.passed(evidence)
        return self.failed(evidence) if equivalent else self.not_applicable("no write takes an argument")


class RejectsCollateral(Check):
    """The golden episode and one more write must fail: a verifier that looks only at what was asked for misses it."""

    name = "rejects_collateral"

    def run(self, subject: Subject) -> CheckResult:
        caught: list[str] = []
        for mutant in attempts(subject, (extra_writes, duplicated_writes), self.name):
            outcome = subject.outcome(mutant.calls, mutant.answer)
            if outcome is Outcome.ENVIRONMENT_ERROR:
                return self.failed(f"the golden program, {mutant.what}, broke the environment")
            if outcome is Outcome.FAILED:
                caught.append(mutant.what)
            elif not is_equivalent(subject, mutant):
                return self.failed(f"the golden program, {mutant.what}, is solved")
        if not caught:
            return self.not_applicable("no further write succeeds and changes something")
        return self.passed(f"the golden program fails with more than it: {'; '.join(caught)}")


class RejectsPartialAnswer(Check):
    """Each fact left out, and each fact told wrongly, must fail. Told plainly and completely, the facts must pass."""

    name = "rejects_partial_answer"

    def run(self, subject: Subject) -> CheckResult:
        facts = subject.task.goal.facts
        if not facts:
            return self.not_applicable("the task asks for no facts")
        if subject.outcome(subject.task.golden, plainly(facts)) is not Outcome.SOLVED:
            return self.failed(f"the facts told plainly do not pass: {plainly(facts)!r}")
        for mutant in attempts(subject, (omitted_facts, altered_facts), self.name):
            if subject.solves(mutant):
                return self.failed(f"{mutant.what} passes")
        return self.passed(f"{len(facts)} facts: each left out fails, each altered fails")


class AcceptsAlternative(Check):
    """Independent calls reordered, other reads or none, facts in other notations must all pass.

    A verifier that wants the golden episode word for word punishes a policy that is right in its own way.
    """

    name = "accepts_alternative"

    def run(self, subject: Subject) -> CheckResult:
        accepted = 0
        for alternative in attempts(subject, ALTERNATIVES, self.name):
            if not subject.solves(alternative):
                return self.failed(f"{alternative.what}: not solved")
            accepted += 1
        return self.passed(f"{accepted} other ways pass") if accepted else self.not_applicable("there is no other way")


def attempts(subject: Subject, operators: tuple[Operator, ...], *seed: str | int) -> Iterator[Attempt]:
    """What the operators make of the golden episode, drawn from a seed of the task and `seed`."""
    rng = Random(derive_seed(subject.task.id, *seed))
    for operator in operators:
        yield from operator(subject, rng)


def is_equivalent(subject: Subject, mutant: Attempt) -> bool:
    """Whether a mutant of the calls reaches the golden state after all."""
    if mutant.answer != subject.task.golden_answer:
        return False
    return subject.states.changeset(subject.states.after(mutant.calls)) == subject.golden.changeset
