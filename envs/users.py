"""Simulated users: what a scripted one says, and what a person who plays a scenario must not say.

The scripted user knows its scenario and nothing else, tells what it is asked and ends the talk when nothing is asked.
It is deterministic. A user that is a model is asked elsewhere; whether it kept to its scenario is judged here.
"""

import re
from collections.abc import Iterator, Sequence

from inflection import pluralize, singularize
from pydantic import JsonValue

from envs.environment import Environment
from envs.facts import mentions
from envs.proof.values import argument_kind
from envs.record import Record
from envs.task import FactKind, Scenario, Task

_NOISE = frozenset({"id", "number", "name", "code", "of", "the", "my", "your"})
"""Words that do not tell one thing from another: who asks for the order means the order id."""
_IGNORANCE = re.compile(r"\b(?:do not|don't|cannot|can't|not)\s+(?:know|remember|recall|tell|sure)\b|\bno idea\b")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class UserReply(Record):
    """What a user answers."""

    text: str
    ends: bool = False
    """The user takes what was said for the final word and leaves."""


def scripted_reply(scenario: Scenario, message: str) -> UserReply:
    """The scripted user's answer to one message of the policy."""
    known = [name for name in scenario.known if asks_for(message, name)]
    unknown = [name for name in scenario.unknown if asks_for(message, name)]
    if known or unknown:
        told = [f"The {name} is {scenario.known[name]}." for name in known]
        told += [f"I do not know the {name}." for name in unknown]
        return UserReply(text=" ".join(told))
    if "?" in message:
        return UserReply(text="I do not know.")
    return UserReply(text="Thank you, goodbye.", ends=True)


def asks_for(message: str, name: str) -> bool:
    """Whether a message names a thing, in singular or plural: `your orders` asks for the `order id`."""
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
    telling = [word for word in words if word not in _NOISE] or words
    message = message.replace("_", " ")
    return bool(telling) and all(
        any(mentions(message, "text", form, "") for form in (word, pluralize(word), singularize(word)))
        for word in telling
    )


def scenario_breach(task: Task, environment: Environment, said: Sequence[str], reply: str) -> str | None:
    """How a user's reply breaks its scenario, or None where no breach is found.

    `said` are the policy's messages so far, the last one being replied to. Found are values of the goal or the golden
    program that nobody could have told the user, other values in place of what the user knows, and not knowing it.
    Raises ValueError for a task without a scenario.
    """
    scenario = task.scenario
    if scenario is None:
        raise ValueError(f"task {task.id} has no scenario that a user could break")
    clock = environment.spec.clock
    heard = "\n".join([task.said, *said])
    for name, kind, value in _hidden(task, environment):
        if mentions(reply, kind, value, clock) and not mentions(heard, kind, value, clock):
            return f"tells {name} ({value}), which the user cannot know"
    for name, value in scenario.known.items():
        kind = _kind(value)
        if not asks_for(said[-1], name) or mentions(reply, kind, value, clock):
            continue
        if _IGNORANCE.search(_about(reply, name)):
            return f"does not know the {name}, which the scenario tells: {value}"
        others = [found for found in _alike(reply, value) if not mentions(heard, kind, found, clock)]
        if others:
            return f"says {others[0]} where the scenario says that the {name} is {value}"
    return None


def _hidden(task: Task, environment: Environment) -> Iterator[tuple[str, FactKind, JsonValue]]:
    """What has to be found: facts of the goal and texts of the golden program, each with its kind.

    Numbers of the program are left out, since people say small numbers for many reasons; so are yes and no.
    """
    for fact in task.goal.facts:
        if fact.kind != "boolean":
            yield fact.label, fact.kind, fact.value
    for call in task.golden:
        for parameter in environment.spec.tool(call.tool).parameters:
            if parameter.type == "string" and not parameter.enum and parameter.name in call.arguments:
                yield parameter.name, argument_kind(parameter, environment.spec), call.arguments[parameter.name]


def _kind(value: str) -> FactKind:
    """What a scenario's value is compared as: a date, a number or words."""
    if _DATE.fullmatch(value):
        return "date"
    return "number" if re.fullmatch(r"-?\d+(?:\.\d+)?", value) else "text"


def _alike(reply: str, value: str) -> list[str]:
    """The pieces of a reply that have the form of a value, such as every `ORD-<number>`; none for plain words."""
    if "@" in value:
        return re.findall(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", reply)
    if not re.search(r"\d", value):
        return []
    form = re.sub(r"\d+", r"\\d+", re.escape(value))
    return re.findall(rf"(?<![\w-]){form}(?![\w-])", reply, re.IGNORECASE)


def _about(reply: str, name: str) -> str:
    """The sentences of a reply that name a thing; all of them if none does."""
    sentences = [sentence for sentence in _SENTENCE.split(reply.casefold()) if asks_for(sentence, name)]
    return " ".join(sentences) or reply.casefold()
