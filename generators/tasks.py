"""Candidate tasks: golden programs sampled in the environment, some of them evolved, worded, with a toolbox.

Whether a candidate is a task is decided elsewhere (`envs.proof`): what is proposed here is executable, not yet proven.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from envs.environment import Environment
from envs.record import derive_seed
from envs.spec import Tool
from envs.task import Goal, Rejection, Task, Toolbox
from envs.toolbox import draw_call_price, draw_token_prices
from generators import preferences
from generators.evolutions import evolve
from generators.phrases import asks
from generators.programs import Sampler, sort_tools
from generators.scenarios import PERSONAS, withhold
from generators.steps import Step
from generators.wording import Wording, compose

TRIES_PER_STEP = 3
STEPS = {1: 34, 2: 18, 3: 12, 4: 11, 5: 10, 6: 7, 7: 5, 8: 3}
"""How many of a hundred candidates have so many steps; a step is one or two calls."""
KINDS = {
    "write": 34, "field": 18, "lookup_write": 16, "extreme_write": 12, "refusal": 8, "count": 7, "total": 5,
    "compare": 4, "own_answer": 4,
}  # fmt: skip
"""How often a step is of a kind, among the kinds that some tool can carry."""
EVOLVED, WITHHELD = 0.35, 0.15
"""Shares of candidates that are evolved, and of the others whose user does not say everything at once."""
TOOLBOX_SIZE = 4


@dataclass(frozen=True)
class Proposal:
    """Candidates and everything refused while proposing them."""

    tasks: tuple[Task, ...]
    rejections: tuple[Rejection, ...]


def propose_tasks(environment: Environment, wording: Wording, count: int, seed: int) -> Proposal:
    """`count` draws of a task; those without an executable program, and repeated ones, are returned as rejections.

    So is the simple task that an evolved one was made of: it is superseded, and both are never in one dataset.
    """
    spec = environment.spec
    worded = {
        kind: [tool for tool in tools if tool.name in wording.phrasings]
        for kind, tools in sort_tools(environment).items()
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
        if tool.name not in wording.phrasings
    ]
    sampler, uses = Sampler(environment), Counter[str]()
    tasks: dict[tuple[str, str], Task] = {}
    for number in range(count):
        rng = random.Random(derive_seed(spec.domain, "task", seed, number))
        sampler.begin(rng.randrange(2**31), uses)
        length = rng.choices(list(STEPS), list(STEPS.values()))[0]
        steps = _program(sampler, rng, length, kinds, worded)
        if len(steps) < length:
            detail = f"no program of {length} steps; it ends after {', '.join(step.kind for step in steps) or 'none'}"
            rejections.append(_rejection(spec.domain, "programs", "not_executable", detail, number))
            continue
        task = _task(environment, rng, steps, wording)
        if rng.random() < EVOLVED:
            simple, task = task, _evolved(environment, rng, steps, wording, task)
            if task is not simple:
                detail = f"made harder by {task.evolution}"
                rejections.append(_rejection(spec.domain, "evolve", "superseded", detail, simple.canonical_fields()))
        elif rng.random() < WITHHELD:
            task = _with_scenario(rng, steps, wording, task)
        key = (task.instruction, str(task.golden))
        if key in tasks:
            rejections.append(_rejection(spec.domain, "programs", "duplicate", task.instruction, number))
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


def _task(environment: Environment, rng: random.Random, steps: Sequence[Step], wording: Wording) -> Task:
    spec = environment.spec
    golden = tuple(call for step in steps for call in step.calls)
    facts = tuple(fact for step in steps for fact in step.facts)
    answers = [step.answer for step in steps if step.answer] or ["Done."]
    instruction, calls = compose(rng, steps, wording)
    # What a request forbids must be possible, or there would be nothing to forbid.
    needed = {call.tool for call in golden} | {step.tool.name for step in steps}
    preference, preference_call = preferences.draw(rng, wording.texts, tuple(sorted({call.tool for call in golden})))
    return Task(
        environment_id=spec.id,
        domain=spec.domain,
        instruction=instruction,
        golden=golden,
        golden_answer=" ".join(answers),
        goal=Goal(changeset=environment.replay(golden).changeset, facts=facts),
        difficulty=len(golden),
        toolbox=toolbox_for(environment, rng, needed),
        preference=preference,
        made_from=tuple(sorted(calls | ({preference_call} if preference_call else set()))),
    )


def _evolved(
    environment: Environment, rng: random.Random, steps: Sequence[Step], wording: Wording, simple: Task
) -> Task:
    """The task of the evolved program, or the simple one where no evolution finds a place."""
    found = evolve(environment, rng, steps)
    if found is None:
        return simple
    kind, evolved = found
    task = _task(environment, rng, evolved, wording)
    return task.model_copy(update={"evolution": kind, "evolved_from": simple.id})


def _with_scenario(rng: random.Random, steps: Sequence[Step], wording: Wording, task: Task) -> Task:
    personas = wording.texts[PERSONAS.purpose]
    found = withhold(rng, task.instruction, steps, personas.texts)
    if found is None:
        return task
    instruction, scenario = found
    calls = {*task.made_from, *([personas.call_id] if personas.call_id else [])}
    return task.model_copy(update={"instruction": instruction, "scenario": scenario, "made_from": tuple(sorted(calls))})


def toolbox_for(environment: Environment, rng: random.Random, needed: set[str]) -> Toolbox:
    """Tools and their prices: what the golden program needs, and others to choose wrongly from."""
    names = [tool.name for tool in environment.spec.tools]
    others = [name for name in names if name not in needed]
    extra = rng.sample(others, min(len(others), max(2, TOOLBOX_SIZE - len(needed))))
    tools = [name for name in names if name in needed or name in extra]
    prices = {name: draw_call_price(rng) for name in tools}
    asked, told = draw_token_prices(rng)
    return Toolbox(tools=tuple(tools), call_prices_usd=prices, input_usd_per_mtok=asked, output_usd_per_mtok=told)


def _rejection(domain: str, stage: str, reason: str, detail: str, subject: JsonValue) -> Rejection:
    return Rejection(domain=domain, stage=stage, reason=reason, detail=detail, subject=subject)
