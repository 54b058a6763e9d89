"""Checks on the verifier: near misses of the golden program must fail.

A verifier that cannot tell right from nearly right is no reward.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from random import Random

from pydantic import JsonValue

from envs.environment import Environment
from envs.errors import EnvironmentBroken
from envs.proof.check import Check, CheckResult
from envs.proof.mutations import other_values, random_call
from envs.record import derive_seed
from envs.task import Fact, Task, ToolCall
from envs.verdict import Outcome

_MUTANTS_PER_ARGUMENT = 2
_TRIES_PER_TOOL = 8


class RejectsWrongArgument(Check):
    """A write with one argument changed must be refused or fail.

    A mutant that reaches the identical state is equivalent: counted, not held against the task. If all are, no
    argument of the task matters, and whatever is written passes.
    """

    name = "rejects_wrong_argument"

    def run(self, task: Task, environment: Environment) -> CheckResult:
        rng = Random(derive_seed(task.id, self.name))
        refused = caught = equivalent = 0
        for number, mutant in self._mutants(task, environment, rng):
            calls = (*task.golden[:number], mutant, *task.golden[number + 1 :])
            replay = environment.replay(calls)
            if replay.broken is not None:
                return self.failed(f"{mutant.tool} {mutant.arguments} broke the environment: {replay.broken}")
            if not replay.results[number].ok:
                refused += 1
            elif environment.judge(task, calls, task.golden_answer).outcome is not Outcome.SOLVED:
                caught += 1
            elif replay.changeset == task.goal.changeset:
                equivalent += 1
            else:
                return self.failed(f"{mutant.tool} {mutant.arguments} in place of call {number} is solved")
        evidence = (
            f"{refused + caught + equivalent} mutants: {refused} refused, {caught} failed, {equivalent} equivalent"
        )
        if refused + caught:
            return self.passed(evidence)
        return self.failed(evidence) if equivalent else self.not_applicable("no write takes an argument")

    def _mutants(self, task: Task, environment: Environment, rng: Random) -> Iterator[tuple[int, ToolCall]]:
        for number, call in enumerate(task.golden):
            tool = environment.spec.tool(call.tool)
            for parameter in tool.parameters if tool.writes else ():
                value = call.arguments.get(parameter.name)
                for other in other_values(parameter, value, environment, rng, _MUTANTS_PER_ARGUMENT):
                    yield number, ToolCall(tool=call.tool, arguments={**call.arguments, parameter.name: other})


class RejectsCollateral(Check):
    """The golden program and one more write must fail: a verifier that looks only at what was asked for misses it."""

    name = "rejects_collateral"

    def run(self, task: Task, environment: Environment) -> CheckResult:
        rng = Random(derive_seed(task.id, self.name))
        try:
            extra = self._extra_write(task, environment, rng)
        except EnvironmentBroken as broken:
            return self.failed(f"an unrelated write broke the environment: {broken}")
        if extra is None:
            return self.not_applicable("no further write succeeds and changes something")
        calls = (*task.golden, extra)
        if environment.judge(task, calls, task.golden_answer).outcome is Outcome.SOLVED:
            return self.failed(f"the golden program and then {extra.tool} {extra.arguments} is solved")
        return self.passed(f"the golden program and then {extra.tool} {extra.arguments} fails")

    def _extra_write(self, task: Task, environment: Environment, rng: Random) -> ToolCall | None:
        """A write that succeeds after the golden program and leaves another state than it does."""
        tools = [tool for tool in environment.spec.tools if tool.writes]
        rng.shuffle(tools)
        with environment.episode() as episode:
            for call in task.golden:
                episode.attempt(call)
            before = episode.changeset()
            for tool in tools:
                for _ in range(_TRIES_PER_TOOL):
                    call = random_call(tool, environment, rng)
                    if episode.attempt(call).ok and episode.changeset() != before:
                        return call
        return None


class RejectsPartialAnswer(Check):
    """Each fact left out, and each fact told wrongly, must fail. Told plainly and completely, the facts must pass."""

    name = "rejects_partial_answer"

    def run(self, task: Task, environment: Environment) -> CheckResult:
        facts = task.goal.facts
        if not facts:
            return self.not_applicable("the task asks for no facts")
        if not self._solves(task, environment, facts):
            return self.failed(f"the facts told plainly do not pass: {plainly(facts)!r}")
        for number, fact in enumerate(facts):
            others = (*facts[:number], *facts[number + 1 :])
            if self._solves(task, environment, others):
                return self.failed(f"{fact.label} left out passes: {plainly(others)!r}")
            altered = (*facts[:number], fact.model_copy(update={"value": _altered(fact)}), *facts[number + 1 :])
            if self._solves(task, environment, altered):
                return self.failed(f"{fact.label} altered passes: {plainly(altered)!r}")
        return self.passed(f"{len(facts)} facts: each left out fails, each altered fails")

    def _solves(self, task: Task, environment: Environment, facts: Sequence[Fact]) -> bool:
        return environment.judge(task, task.golden, plainly(facts)).outcome is Outcome.SOLVED


def plainly(facts: Sequence[Fact]) -> str:
    """An answer that tells these facts and nothing else, one a line."""
    return "\n".join(_line(fact) for fact in facts)


def _line(fact: Fact) -> str:
    if fact.kind == "boolean":
        return f"{fact.label.replace('_', ' ')}: {'yes' if fact.value else 'no'}"
    if fact.kind == "cents":
        return f"{fact.value} cents"
    return str(fact.value)


def _altered(fact: Fact) -> JsonValue:
    """Another value of the same kind."""
    if fact.kind == "boolean":
        return not fact.value
    if fact.kind == "date":
        return (date.fromisoformat(str(fact.value)) + timedelta(days=1)).isoformat()
    if fact.kind == "datetime":
        return (datetime.fromisoformat(str(fact.value)) + timedelta(hours=1)).isoformat()
    if isinstance(fact.value, int | float):
        return fact.value + 1
    return "something else"
