"""Checks on what is known when: all that is needed can be found, nothing is given away, nothing is known already."""

import re

from pydantic import JsonValue

from envs.environment import Environment
from envs.facts import mentions
from envs.proof.attempt import Subject
from envs.proof.check import Check, CheckResult
from envs.proof.values import argument_kind, feeds, leaves, scalars, supports, words_in
from envs.search import words_of
from envs.spec import Parameter
from envs.task import Task

_SHORT = 4
"""Letters a word must share with another to be its inflection (`cancel`, `cancelled`)."""


class Discoverable(Check):
    """Each golden argument can be known when it is used: asked for, read or minted before, or documented.

    A public training set has rows whose identifiers only the golden calls know; no policy can solve them.
    """

    name = "discoverable"

    def run(self, subject: Subject) -> CheckResult:
        task, environment = subject.task, subject.environment
        results = subject.golden.results
        checked = 0
        for number, call in enumerate(task.golden):
            told = [item for result in results[:number] if result.ok for item in scalars(result.value)]
            for parameter in environment.spec.tool(call.tool).parameters:
                value = call.arguments.get(parameter.name)
                checked += 1
                if any(feeds(item, value) for item in told):
                    continue
                if parameter.format == "query" and words_of(str(value)) <= words_in([task.said, *told]):
                    continue
                if not self._named(parameter, value, task, environment):
                    place = f"call {number} ({call.tool}): {parameter.name} {value!r}"
                    return self.failed(f"{place} is neither in the instruction nor in an earlier answer")
        answers = [result.value for result in results if result.ok]
        for part in (part for fact in task.goal.facts if fact.drawn_from for part in leaves(fact)):
            if not any(supports(answer, part, environment.spec) for answer in answers):
                return self.failed(f"nothing tells {part.label}: {part.value}, from which a fact is drawn")
        return self.passed(f"{checked} arguments are in the instruction, an earlier answer or the documentation")

    def _named(self, parameter: Parameter, value: JsonValue, task: Task, environment: Environment) -> bool:
        """Whether the user names the value, or names the parameter whose documentation holds it."""
        kind, clock = argument_kind(parameter, environment.spec), environment.spec.clock
        if mentions(task.said, kind, value, clock):
            return True
        if parameter.enum and _inflected(str(value), task.instruction):
            return True
        if not _inflected(parameter.name, task.instruction, every=False):
            return False
        constants = (f"{constant.description}: {constant.value}" for constant in environment.spec.constants)
        documented = "\n".join([parameter.description, environment.spec.policy, *constants])
        return parameter.type == "boolean" or mentions(documented, kind, value, clock)


class NoLeak(Check):
    """Facts to be found are not in the instruction: a task that tells its own answer rewards repeating it."""

    name = "no_leak"

    def run(self, subject: Subject) -> CheckResult:
        task, clock = subject.task, subject.environment.spec.clock
        # A question for yes or no always names what it asks about, so booleans cannot leak by being named.
        hidden = [fact for fact in task.goal.facts if fact.kind != "boolean"]
        if not hidden:
            return self.not_applicable("the task asks for no fact that words could give away")
        for fact in hidden:
            if mentions(task.instruction, fact.kind, fact.value, clock):
                return self.failed(f"the instruction tells {fact.label}: {fact.value}")
        return self.passed(f"none of {len(hidden)} facts is in the instruction")


class Novel(Check):
    """No accepted task asks for the same, no held-out request is repeated: nothing evaluated may be trained on."""

    name = "novel"

    def run(self, subject: Subject) -> CheckResult:
        task, known = subject.task, subject.known
        if repeated := known.repeated_by(task):
            return self.failed(repeated)
        tools = [subject.environment.spec.tool(call.tool) for call in task.golden]
        if contaminated := known.held_out.repeated_by(task.said, tools):
            return self.failed(f"held out in {contaminated.evidence}")
        return self.passed("no accepted task and no held-out request is like it")


def _inflected(phrase: str, text: str, every: bool = True) -> bool:
    """Whether the words of a phrase (all, or any) are in a text in some inflection: `cancelled` in `please cancel`."""
    words = [word for word in re.split(r"[\W_]+", phrase.casefold()) if word and word != "id"]
    said = re.findall(r"\w+", text.casefold())
    found = [any(_same_stem(word, other) for other in said) for word in words]
    return bool(found) and (all(found) if every else any(found))


def _same_stem(word: str, other: str) -> bool:
    stem = max(_SHORT, len(word) - 3)
    return word == other or (min(len(word), len(other)) >= _SHORT and word[:stem] == other[:stem])
