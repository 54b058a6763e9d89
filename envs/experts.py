"""Experts: other models as tools. What a campaign declares of them, and what a simulated one answers.

A simulated expert is a declared competence and no model: it knows the golden program and tells what comes next, rightly
or wrongly as a seeded draw decides. Asking a real model is not done here. Whatever is reported of a simulated expert
has to say that it is simulated.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from envs.environment import Environment
from envs.facts import mentions
from envs.proof.attempt import Subject
from envs.proof.mutations import altered_facts, extra_writes, other_values, random_call
from envs.proof.values import argument_kind, feeds, scalars
from envs.record import Record, derive_seed
from envs.spec import Parameter, Tool
from envs.task import MAX_CALLS_A_TURN, Task, ToolCall

QUESTION = "question"
"""The one argument of an expert."""
UNDERSTOOD = 0.5
"""Share of the request's longer words that a question must repeat for a simulated expert to know what is asked."""
CHARACTERS_PER_TOKEN = 4
"""How tokens are estimated where no model counts them."""


class Competence(Record):
    """How often a simulated expert is right on some tasks."""

    probability: float = Field(ge=0, le=1)
    domain: str | None = None
    """None for every domain."""
    max_difficulty: int | None = Field(None, ge=1)
    """Only tasks of so many golden calls or fewer; None for all."""

    def covers(self, task: Task) -> bool:
        """Whether this is said about the task."""
        return self.domain in (None, task.domain) and task.difficulty <= (self.max_difficulty or task.difficulty)


class Profile(Record):
    """What every expert of a campaign has: a name of its own, its price, how long one waits for it."""

    name: str
    """By default not shown to the policy: in a rollout an expert has another name each time (`expert_names`)."""
    capability: str = ""
    """What the policy reads about it. Write it from measurements: `trainer.capability`."""
    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)
    timeout_s: float = Field(60.0, gt=0)


class SimulatedProfile(Profile):
    """An expert that is declared and not asked."""

    kind: Literal["simulated"] = "simulated"
    competence: tuple[Competence, ...]
    """The first that covers a task counts; a task that none covers is beyond the expert."""
    latency_s: float = Field(2.0, ge=0)
    """Declared, not waited for."""
    thinking_tokens: int = Field(0, ge=0)
    """Tokens it is paid for beside those of its answer."""
    failure_rate: float = Field(0.0, ge=0, le=1)
    """How often it does not answer in time."""

    def probability(self, task: Task) -> float:
        """How likely it is right about this task."""
        return next((each.probability for each in self.competence if each.covers(task)), 0.0)


class EndpointProfile(Profile):
    """An expert behind an OpenAI-compatible address."""

    kind: Literal["endpoint"] = "endpoint"
    base_url: str
    model: str
    api_key_variable: str = ""
    """The environment variable that holds the key; empty for an endpoint without one."""
    max_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.0, ge=0)
    requests: dict[str, JsonValue] = Field(default_factory=dict)
    """How its requests differ from the reference interface: the fields of `serving.request_format.RequestFormat`."""


ExpertProfile: TypeAlias = Annotated[SimulatedProfile | EndpointProfile, Field(discriminator="kind")]


class Advice(Record):
    """What an expert says: calls to make, or the answer to give, or a remark where it can say neither."""

    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    remark: str = ""
    failed: bool = False
    """It did not answer in time."""


def expert_tool(name: str, capability: str) -> Tool:
    """An expert as policies see it: a tool with one text argument."""
    question = Parameter(name=QUESTION, type="string")
    return Tool(name=name, description=capability or "Another model.", parameters=(question,))


def simulated_advice(
    profile: SimulatedProfile,
    task: Task,
    environment: Environment,
    question: str,
    made: Sequence[tuple[ToolCall, JsonValue]],
    asked: int,
) -> Advice:
    """What a simulated expert answers; equal questions at equal moments get equal answers.

    `made` are the calls that succeeded so far with their results, `asked` how often it was asked before in this
    rollout. It needs in the question what only the user told; the results so far it sees.
    """
    rng = Random(derive_seed("expert", task.id, profile.name, question, asked))
    failed, knows = rng.random() < profile.failure_rate, rng.random() < profile.probability(task)
    if failed:
        return Advice(failed=True)
    if not _understands(question, task):
        return Advice(remark="I cannot tell what is wanted. Give me the user's whole request.")
    calls = next_calls(task, environment, made)
    missing = _missing(calls, task, environment, question, made)
    if missing:
        return Advice(remark=f"I need to know the {missing.description or missing.name}.")
    right = Advice(calls=calls) if calls else Advice(answer=task.golden_answer)
    return right if knows else _wrong(right, Subject(task, environment), rng)


def next_calls(
    task: Task, environment: Environment, made: Sequence[tuple[ToolCall, JsonValue]]
) -> tuple[ToolCall, ...]:
    """The golden calls still to be made, up to the first that waits for a result of one of them; none at the end.

    At most as many as one turn takes.
    """
    done = [call for call, _ in made]
    answers = environment.replay(task.golden).results
    seen = [item for _, result in made for item in scalars(result)]
    plan: list[ToolCall] = []
    coming: list[JsonValue] = []
    for call, result in zip(task.golden, answers, strict=True):
        if call in done:
            done.remove(call)
            continue
        if any(
            any(feeds(item, value) for item in coming)
            and not any(feeds(item, value) for item in seen)
            and not _user_told(parameter, value, task, environment)
            for parameter, value in _arguments(call, environment)
        ):
            break
        plan.append(call)
        coming += scalars(result.value)
    return tuple(plan[:MAX_CALLS_A_TURN])


def _arguments(call: ToolCall, environment: Environment) -> list[tuple[Parameter, JsonValue]]:
    parameters = environment.spec.tool(call.tool).parameters
    return [(parameter, call.arguments[parameter.name]) for parameter in parameters if parameter.name in call.arguments]


def _mentions(text: str, parameter: Parameter, value: JsonValue, environment: Environment) -> bool:
    return mentions(text, argument_kind(parameter, environment.spec), value, environment.spec.clock)


def _user_told(parameter: Parameter, value: JsonValue, task: Task, environment: Environment) -> bool:
    """Whether the value is in the request, or is something the user tells when asked."""
    return _mentions(task.said, parameter, value, environment)


def _understands(question: str, task: Task) -> bool:
    wanted, said = _words(task.instruction), _words(question)
    return not wanted or len(wanted & said) >= UNDERSTOOD * len(wanted)


def _words(text: str) -> set[str]:
    """The words that carry meaning: those of four letters and more."""
    return set(re.findall(r"[^\W\d_]{4,}", text.casefold()))


def _missing(
    calls: Sequence[ToolCall],
    task: Task,
    environment: Environment,
    question: str,
    made: Sequence[tuple[ToolCall, JsonValue]],
) -> Parameter | None:
    """The first argument that only the user could have told and the question leaves out."""
    seen = [item for _, result in made for item in scalars(result)]
    for call in calls:
        for parameter, value in _arguments(call, environment):
            if parameter.type == "boolean" or any(feeds(item, value) for item in seen):
                continue
            if _user_told(parameter, value, task, environment) and not _mentions(
                question, parameter, value, environment
            ):
                return parameter
    return None


def _wrong(right: Advice, subject: Subject, rng: Random) -> Advice:
    """Advice that looks like the right one and is not."""
    if not right.calls:
        altered = list(altered_facts(subject, rng))
        if altered:
            return Advice(answer=rng.choice(altered).answer)
        extra = next(extra_writes(subject, rng), None)
        return Advice(calls=extra.calls[-1:]) if extra else Advice(remark="I do not know.")
    places = [
        (number, parameter.name, others[0])
        for number, call in enumerate(right.calls)
        for parameter, value in _arguments(call, subject.environment)
        if (others := other_values(parameter, value, subject.environment, rng, 1))
    ]
    if places:
        number, name, other = rng.choice(places)
        changed = right.calls[number].model_copy(update={"arguments": {**right.calls[number].arguments, name: other}})
    else:
        number = rng.randrange(len(right.calls))
        environment = subject.environment
        tools = [environment.spec.tool(name) for name in subject.task.toolbox.tools if name != right.calls[number].tool]
        if not tools:
            return Advice(remark="I do not know.")
        changed = random_call(rng.choice(tools), environment, rng)
    return Advice(calls=(*right.calls[:number], changed, *right.calls[number + 1 :]))
