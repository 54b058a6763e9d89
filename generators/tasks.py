"""Candidate tasks: golden programs sampled in the environment, worded from phrase patterns, with a toolbox.

Whether a candidate is a task is decided elsewhere (`envs.proof`): what is proposed here is executable, not yet proven.
"""

import random
from dataclasses import dataclass

from pydantic import JsonValue

from envs.environment import Environment
from envs.record import derive_seed
from envs.task import Goal, Preference, Rejection, Task, Toolbox
from generators.phrases import Phrasing, asks
from generators.programs import Sampler, Step, sort_tools

# How many of a hundred candidates have each shape, as kinds of steps.
MIX = {
    ("field",): 22,
    ("count",): 8,
    ("write",): 30,
    ("write", "write"): 12,
    ("field", "write"): 12,
    ("lookup_write",): 16,
}
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
    mix = {shape: weight for shape, weight in MIX.items() if all(worded.get(kind) for kind in shape)}
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
    tasks: dict[tuple[str, str], Task] = {}
    for number in range(count):
        rng = random.Random(derive_seed(spec.id, "task", seed, number))
        shape = rng.choices(list(mix), list(mix.values()))[0]
        steps = _program(environment, rng, shape, worded)
        if steps is None:
            rejections.append(_rejection(spec.domain, "not_executable", f"no program of shape {shape}", number))
            continue
        task = _task(environment, rng, steps, phrasings)
        key = (task.instruction, str(task.golden))
        if key in tasks:
            rejections.append(_rejection(spec.domain, "duplicate", task.instruction, number))
            continue
        tasks[key] = task
    return Proposal(tuple(tasks.values()), tuple(rejections))


def _program(
    environment: Environment, rng: random.Random, shape: tuple[str, ...], worded: dict[str, list]
) -> list[Step] | None:
    """The steps of a program, each executed in the state that the ones before left."""
    sampler = Sampler(environment, rng)
    steps: list[Step] = []
    with environment.episode() as episode:
        for kind in shape:
            step = sampler.step(kind, worded[kind], episode)
            if step is None or any(_same_subject(step, other) for other in steps):
                return None
            steps.append(step)
    return steps


def _same_subject(step: Step, other: Step) -> bool:
    """Two steps about one row interfere: asking for a status that the other step changes has two right answers."""
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
        made_from=tuple(sorted({phrasings[step.tool.name].call_id for step in steps})),
    )


def _instruction(rng: random.Random, steps: list[Step], phrasings: dict[str, Phrasing]) -> str:
    sentences = []
    for step in steps:
        pattern = rng.choice(phrasings[step.tool.name].patterns)
        for name, value in step.slots.items():
            pattern = pattern.replace(f"{{{name}}}", value)
        sentences.append(pattern)
    opening = rng.choice(OPENINGS)
    text = opening + (_lower_first(sentences[0]) if opening.endswith(", ") else sentences[0])
    for sentence in sentences[1:]:
        text += rng.choice(CONNECTIVES) + _lower_first(sentence)
    return text


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
