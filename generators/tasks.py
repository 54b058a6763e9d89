"""Candidate tasks: golden programs sampled in the environment, worded from phrase patterns, with a toolbox.

Whether a candidate is a task is decided elsewhere (`envs.proof`): what is proposed here is executable, not yet proven.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass

from pydantic import JsonValue

from envs.environment import Environment
from envs.record import derive_seed
from envs.spec import Tool
from envs.task import Goal, Preference, Rejection, Task, Toolbox
from generators.phrases import Phrasing, asks
from generators.programs import Sampler, Step, sort_tools

TRIES_PER_STEP = 3
STEPS = {1: 34, 2: 18, 3: 12, 4: 11, 5: 10, 6: 7, 7: 5, 8: 3}
"""How many of a hundred candidates have so many steps; a step is one or two calls."""
KINDS = {"write": 34, "field": 18, "lookup_write": 16, "extreme_write": 12, "refusal": 8, "count": 7, "total": 5}
"""How often a step is of a kind, among the kinds that some tool can carry."""
OPENINGS = ("", "", "", "Hi, ", "Hello. ", "Please help me. ")
CONNECTIVES = (" Also, ", " And then: ", " After that, ", " One more thing: ")
PREFERENCES = (
    (0.6, Preference()),
    (0.2, Preference(text="Please keep the cost low.", accuracy=1.0, cost=0.5)),
    (0.2, Preference(text="I am in a hurry.", accuracy=1.0, latency=0.5)),
)
TOOLBOX_SIZE = 4


@dataclass(frozen=True)
class Proposal:
    """Candidates and everything refused while proposing them."""

    tasks: tuple[Task, ...]
    rejections: tuple[Rejection, ...]


def propose_tasks(environment: Environment, phrasings: dict[str, Phrasing], count: int, seed: int) -> Proposal:
    """`count` draws of a task; those without an executable program, and repeated ones, are returned as rejections."""
    spec = environment.spec
    worded = {
        kind: [tool for tool in tools if tool.name in phrasings] for kind, tools in sort_tools(environment).items()
    }
    kinds = {kind: weight for kind, weight in KINDS.items() if worded.get(kind)}
    rejections = [
        Rejection(
            domain=spec.domain,
            stage="programs",
            reason="no_phrases",
            detail=f"tool {tool.name} has no accepted phrase pattern, so no task uses it",
            subject=tool.name,
        )
        for tool in (ask.tool for ask in asks(spec))
        if tool.name not in phrasings
    ]
    sampler, uses = Sampler(environment), Counter[str]()
    tasks: dict[tuple[str, str], Task] = {}
    for number in range(count):
        rng = random.Random(derive_seed(spec.id, "task", seed, number))
        sampler.begin(rng.randrange(2**31), uses)
        length = rng.choices(list(STEPS), list(STEPS.values()))[0]
        steps = _program(sampler, rng, length, kinds, worded)
        if len(steps) < length:
            detail = f"no program of {length} steps; it ends after {', '.join(step.kind for step in steps) or 'none'}"
            rejections.append(_rejection(spec.domain, "not_executable", detail, number))
            continue
        task = _task(environment, rng, steps, phrasings)
        key = (task.instruction, str(task.golden))
        if key in tasks:
            rejections.append(_rejection(spec.domain, "duplicate", task.instruction, number))
            continue
        tasks[key] = task
        uses.update(step.tool.name for step in steps)
    return Proposal(tuple(tasks.values()), tuple(rejections))


def _program(
    sampler: Sampler, rng: random.Random, length: int, kinds: dict[str, int], worded: dict[str, list[Tool]]
) -> list[Step]:
    """Up to `length` steps, each executed in the state that the ones before left and on rows of its own."""
    steps: list[Step] = []
    for _ in range(TRIES_PER_STEP * length):
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        step = sampler.step(kind, worded[kind], [call for step in steps for call in step.calls])
        if step is not None and not any(_same_subject(step, other) for other in steps):
            steps.append(step)
        if len(steps) == length:
            break
    return steps


def _same_subject(step: Step, other: Step) -> bool:
    """Two steps about one row interfere: asking for a status that the other step changes has two right answers.

    So do two that add to one table: their new ids would depend on which comes first.
    """
    if step.tool.mints is not None and step.tool.mints == other.tool.mints:
        return True
    ids = {str(v) for call in step.calls for v in call.arguments.values() if "-" in str(v)}
    return bool(ids & {str(v) for call in other.calls for v in call.arguments.values() if "-" in str(v)})


def _task(environment: Environment, rng: random.Random, steps: list[Step], phrasings: dict[str, Phrasing]) -> Task:
    spec = environment.spec
    golden = tuple(call for step in steps for call in step.calls)
    replay = environment.replay(golden)
    facts = tuple(fact for step in steps for fact in step.facts)
    answers = [step.answer for step in steps if step.answer] or ["Done."]
    return Task(
        environment_id=spec.id,
        domain=spec.domain,
        instruction=_instruction(rng, steps, phrasings),
        golden=golden,
        golden_answer=" ".join(answers),
        goal=Goal(changeset=replay.changeset, facts=facts),
        difficulty=len(golden),
        toolbox=_toolbox(environment, rng, {call.tool for call in golden}),
        preference=rng.choices([p for _, p in PREFERENCES], [weight for weight, _ in PREFERENCES])[0],
        made_from=tuple(sorted({call for step in steps if (call := phrasings[step.tool.name].call_id)})),
    )


def _instruction(rng: random.Random, steps: list[Step], phrasings: dict[str, Phrasing]) -> str:
    sentences = []
    for step in steps:
        pattern = rng.choice(phrasings[step.tool.name].patterns)
        for name, value in step.slots.items():
            if value.startswith("the "):
                pattern = _without_noun(pattern, name, step.tool)
            pattern = pattern.replace(f"{{{name}}}", value)
        sentences.append(pattern)
    opening = rng.choice(OPENINGS)
    text = opening + (_lower_first(sentences[0]) if opening.endswith(", ") else sentences[0])
    for sentence in sentences[1:]:
        text += rng.choice(CONNECTIVES) + _lower_first(sentence)
    return text


def _without_noun(pattern: str, name: str, tool: Tool) -> str:
    """`cancel my order {order_id}` as `cancel {order_id}`, for a value that brings its own noun."""
    parameter = next((p for p in tool.parameters if p.name == name), None)
    noun = (parameter.description if parameter else "").removesuffix(" id")
    return re.sub(rf"(?:\b(?:my|the|this|our|a)\s+)?\b{re.escape(noun)}\s+\{{{name}\}}", f"{{{name}}}", pattern)


def _lower_first(sentence: str) -> str:
    first = sentence.split()[0]
    return sentence if first == "I" or first.startswith("I'") or "-" in first else sentence[0].lower() + sentence[1:]


def _toolbox(environment: Environment, rng: random.Random, needed: set[str]) -> Toolbox:
    """Tools and their prices: what the golden program needs, and others to choose wrongly from."""
    names = [tool.name for tool in environment.spec.tools]
    others = [name for name in names if name not in needed]
    extra = rng.sample(others, min(len(others), max(2, TOOLBOX_SIZE - len(needed))))
    tools = [name for name in names if name in needed or name in extra]
    return Toolbox(
        tools=tuple(tools),
        # One significant digit: prices are read by the policy, and every digit is a token.
        call_prices_usd={name: rng.randint(1, 9) / 10 ** rng.choice((3, 4)) for name in tools},
        input_usd_per_mtok=round(10 ** rng.uniform(-2, 0), 3),
        output_usd_per_mtok=round(10 ** rng.uniform(-1, 1), 3),
    )


def _rejection(domain: str, reason: str, detail: str, subject: JsonValue) -> Rejection:
    return Rejection(domain=domain, stage="programs", reason=reason, detail=detail, subject=subject)
