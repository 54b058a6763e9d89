"""Checks on the golden program itself: it runs, it runs the same every time, and all of it is needed."""

from random import Random

from pydantic import JsonValue

from envs.environment import Replay
from envs.facts import mentions
from envs.proof.attempt import Subject
from envs.proof.check import Check, CheckResult
from envs.proof.mutations import dropped_writes
from envs.proof.values import argument_kind, feeds, leaves, scalars, supports, words_in
from envs.search import words_of
from envs.verdict import Outcome


class GoldenExecutes(Check):
    """Every golden call succeeds and the golden answer solves the task: a goal nobody reaches teaches nothing."""

    name = "golden_executes"

    def run(self, subject: Subject) -> CheckResult:
        task, replay = subject.task, subject.golden
        if replay.broken is not None:
            return self.failed(f"the environment broke: {replay.broken}")
        for number, result in enumerate(replay.results):
            if not result.ok:
                return self.failed(f"call {number} was refused: {result.error}")
        verdict = subject.verdict(task.golden, task.golden_answer)
        if verdict.outcome is not Outcome.SOLVED:
            return self.failed(f"the golden program does not solve its own task: {'; '.join(verdict.reasons)}")
        return self.passed(f"{len(task.golden)} calls, {len(replay.changeset)} changes")


class Deterministic(Check):
    """Equal calls give equal answers, also when SQLite returns unordered rows the other way round.

    A tool without a total order works until a page splits; then a right policy is judged wrong.
    """

    name = "deterministic"

    def run(self, subject: Subject) -> CheckResult:
        environment, golden = subject.environment, subject.task.golden
        first = subject.golden
        again = environment.replay(golden)
        reverse = environment.replay(golden, reverse_unordered_selects=True)
        for other, how in ((again, "a second time"), (reverse, "with unordered rows reversed")):
            difference = _difference(first, other)
            if difference is not None:
                return self.failed(f"replayed {how}: {difference}")
        return self.passed("three replays, one with unordered rows reversed, are identical")


class NotVacuous(Check):
    """Doing nothing must fail: 23 of the 50 airline tasks of τ²-bench are solved by it."""

    name = "not_vacuous"

    def run(self, subject: Subject) -> CheckResult:
        verdict = subject.verdict((), "")
        if verdict.outcome is Outcome.SOLVED:
            return self.failed("no call and an empty answer solve it")
        return self.passed(f"doing nothing fails: {verdict.reasons[0]}")


class Minimal(Check):
    """Every golden call is needed: the reward for a short program must not be lost by not wasting calls.

    A write is needed if leaving it out fails. A read is needed if something it tells that the instruction does not
    becomes a later argument or supports a fact. A document is not needed for what its search result has told.
    """

    name = "minimal"

    def run(self, subject: Subject) -> CheckResult:
        for mutant in dropped_writes(subject, Random(0)):
            if subject.solves(mutant):
                return self.failed(f"{mutant.what}: solved all the same")
        for number, call in enumerate(subject.task.golden):
            if not subject.writes(call) and not self._used(subject, number):
                return self.failed(f"call {number} ({call.tool}): nothing it tells is used")
        return self.passed(f"none of the {len(subject.task.golden)} calls can be left out")

    def _used(self, subject: Subject, number: int) -> bool:
        task, environment = subject.task, subject.environment
        value, spec = subject.golden.results[number].value, environment.spec
        shown = search_results(subject, number)
        if any(
            supports(value, leaf, spec) and not any(supports(row, leaf, spec) for row in shown)
            for fact in task.goal.facts
            for leaf in leaves(fact)
        ):
            return True
        known = list(task.golden[number].arguments.values())
        told = [item for item in scalars(value) if not any(feeds(item, own) for own in known)]
        for later in task.golden[number + 1 :]:
            tool = environment.spec.tool(later.tool)
            for parameter in tool.parameters:
                needed = later.arguments.get(parameter.name)
                if parameter.format == "query":
                    unsaid = words_of(str(needed)) - words_in([task.said, shown])
                    if unsaid and unsaid <= words_in(value):
                        return True
                    continue
                kind = argument_kind(parameter, environment.spec)
                if any(feeds(item, needed) for item in told) and not mentions(
                    task.said, kind, needed, environment.spec.clock
                ):
                    return True
        return False


class PolicyConsistent(Check):
    """No golden call breaks a rule of the policy: a program that does would teach to disobey it."""

    name = "policy_consistent"

    def run(self, subject: Subject) -> CheckResult:
        environment, golden = subject.environment, subject.task.golden
        called = {call.tool for call in golden}
        rules = [rule for rule in environment.spec.rules if rule.tool in called]
        if not rules:
            return self.not_applicable("no rule speaks of these tools")
        with environment.episode() as episode:
            for number, call in enumerate(golden):
                for text in episode.broken_rules(call):
                    return self.failed(f"call {number} ({call.tool}) breaks the rule: {text}")
                episode.attempt(call)
        return self.passed(f"{len(rules)} rules are kept")


def search_results(subject: Subject, number: int) -> list[JsonValue]:
    """The rows in which earlier searches showed what this call reads: they hold one of its arguments."""
    golden, spec = subject.task.golden, subject.environment.spec
    asked = list(golden[number].arguments.values())
    return [
        row
        for call, result in zip(golden[:number], subject.golden.results, strict=False)
        if any(parameter.format == "query" for parameter in spec.tool(call.tool).parameters)
        for row in (result.value if isinstance(result.value, list) else [])
        if any(feeds(item, own) for item in scalars(row) for own in asked)
    ]


def _difference(one: Replay, other: Replay) -> str | None:
    if one.broken != other.broken:
        return f"it broke: {other.broken or one.broken}"
    for number, (a, b) in enumerate(zip(one.results, other.results, strict=True)):
        if a != b:
            return f"call {number} answered {b.value if b.ok else b.error}, before {a.value if a.ok else a.error}"
    return None if one.changeset == other.changeset else "the changes differ"
