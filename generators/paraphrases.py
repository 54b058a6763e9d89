"""Stage `paraphrase`: some requests, as many as the budget allows, told again in the words of a person.

The second level of wording. What must survive is decided by rule: every id, number, date and name, what is done, and
the words on which the meaning hangs. A request whose paraphrase is refused keeps the words it had.
"""

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, Field

from envs.environment import Environment
from envs.facts import mentions
from envs.proof.values import argument_kind
from envs.record import derive_seed
from envs.task import Rejection, Task
from generators.phrase_faults import REPORT
from generators.phrases import asks
from generators.scenarios import PERSONAS
from generators.stage import Llm, Refused, Stage, StageResult, run_stage
from generators.wording import Wording
from serving.errors import ReplayMiss

LONGEST_PROGRAM, LONGEST_REQUEST = 4, 60
"""Golden calls and words up to which a small model keeps its thread."""
_TOKENS = re.compile(r"\b[A-Z]+-\d+\b|[\w.+-]+@[\w.-]+\w|\d+(?:[.,:/-]\d+)*")
_PIVOTS = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"\bonly\b",
        r"\blatest\b|\blast\b",
        r"\bearliest\b|\bfirst\b",
        r"\bhighest\b",
        r"\blowest\b",
        r"\bsame\b",
        r"\bdozen\b",
        r"\btomorrow\b|\bfrom today\b",
        r"\babove\b|\bmore than\b|\bover\b",
        r"\bbelow\b|\bless than\b|\bunder\b",
        r"\bafter (?=\d)",
        r"\bbefore (?=\d)",
        r"\bhow many\b|\bnumber of\b|\bcount\b",
        r"\bdiffer",
        r"\btotal\b|\bsum\b|\badd up\b|\baltogether\b",
        r"\bin any case\b|\beither way\b|\bregardless\b|\banyway\b|\balways\b|\bno matter\b|\bwhatever happens\b",
        r"\b(course|booking|seats?|gym|god)\b",
        r"\bleave\b|\bkeep\b|\bretain\b|\bnothing\b|\bstay|\bremain|\bnot\b|n't\b",
    )
)
"""Words on which a meaning hangs, or which small models bring along from the examples: in both texts or in none."""


class Paraphrase(BaseModel):
    """Answer of stage `paraphrase`."""

    request: str = Field(min_length=8, max_length=600)


def paraphrase(
    environment: Environment, wording: Wording, tasks: Sequence[Task], budget: int, llm: Llm, answers_seed: int = 0
) -> tuple[tuple[Task, ...], list[Rejection]]:
    """The tasks, up to `budget` of them told by a person, in their order; and what was refused.

    These are the only questions that quote drawn rows. So under another seed, clock or number of rows a recording does
    not have them: such requests keep their words, each with a rejection `not_recorded`.
    """
    chosen = _chosen(tasks, budget)
    personas = wording.texts[PERSONAS.purpose]

    def persona(task: Task) -> str:
        return personas.texts[derive_seed("persona", task.instruction) % len(personas.texts)]

    stage: Stage[Task, str] = Stage(
        name="paraphrase",
        key=lambda task: task.instruction,
        prompt=lambda task: {"persona": persona(task), "instruction": task.instruction},
        response=lambda _: Paraphrase,
        accept=lambda task, answer: accept_paraphrase(environment, task, answer.request),
        max_tokens=160,
        repairs=0,
        temperature=0.7,
        needed=False,
    )
    spec = environment.spec
    result = _answers(stage, chosen, llm, spec.domain, answers_seed)
    told = []
    for task in tasks:
        request = result.accepted.get(task.instruction) if task in chosen else None
        if request is not None:
            calls = {*task.made_from, result.made_from[task.instruction], *filter(None, [personas.call_id])}
            task = task.model_copy(update={"instruction": request, "made_from": tuple(sorted(calls))})
        told.append(task)
    return tuple(told), result.rejections


def _answers(
    stage: Stage[Task, str], tasks: Sequence[Task], llm: Llm, domain: str, answers_seed: int
) -> StageResult[str]:
    try:
        return run_stage(stage, tasks, llm, domain, answers_seed)
    except ReplayMiss:
        answers: StageResult[str] = StageResult()
    for task in tasks:
        try:
            single = run_stage(stage, [task], llm, domain, answers_seed)
        except ReplayMiss:
            answers.rejections.append(_not_recorded(task))
            continue
        answers.accepted |= single.accepted
        answers.made_from |= single.made_from
        answers.rejections += single.rejections
        answers.calls += single.calls
    return answers


def _not_recorded(task: Task) -> Rejection:
    return Rejection(
        domain=task.domain,
        stage="paraphrase",
        reason="not_recorded",
        detail="the recording has no paraphrase of this request; `envloom record` asks for it",
        subject=task.instruction,
    )


def _chosen(tasks: Sequence[Task], budget: int) -> list[Task]:
    """Short programs whose user says everything; which ones, hangs on their words alone."""
    short = {
        task.instruction: task
        for task in tasks
        if task.scenario is None
        and len(task.golden) <= LONGEST_PROGRAM
        and len(task.instruction.split()) <= LONGEST_REQUEST
    }
    drawn = sorted(short, key=lambda words: (derive_seed("paraphrase", words), words))[:budget]
    return [short[words] for words in drawn]


def accept_paraphrase(environment: Environment, task: Task, request: str) -> str:
    """The paraphrase, normalised. Raises Refused with what was lost, added or changed in meaning."""
    text = re.sub(r"\s+", " ", request).strip(" \"'")
    before = task.instruction
    if not text.isprintable() or re.search(r"[{}<>\[\]_]", text.replace("_", "", before.count("_"))):
        raise Refused("not_plain", "write plain words without code or braces.")
    if text.casefold() == before.casefold():
        raise Refused("unchanged", "say it in other words.")
    if not 0.5 * len(before) <= len(text) <= 2.2 * len(before) + 60:
        raise Refused("length", "the paraphrase must be about as long as the request.")
    lost = Counter(_TOKENS.findall(before)) - Counter(_TOKENS.findall(text))
    added = Counter(_TOKENS.findall(text)) - Counter(_TOKENS.findall(before))
    if lost or added:
        raise Refused("values", f"lost {sorted(lost)}, added {sorted(added)}: keep every id and number as it is.")
    spec = environment.spec
    for call in task.golden:
        for parameter in spec.tool(call.tool).parameters:
            value, kind = call.arguments.get(parameter.name), argument_kind(parameter, spec)
            if mentions(before, kind, value, spec.clock) and not mentions(text, kind, value, spec.clock):
                raise Refused("values", f"{parameter.description} {value!r} got lost.")
    for pivot in _PIVOTS:
        if bool(pivot.search(before)) != bool(pivot.search(text)):
            raise Refused("meaning", f"'{pivot.pattern}' is in one of both only.")
    for word in sorted(_deeds(environment, task)):
        if re.search(word, before) and not re.search(word, text):
            raise Refused("meaning", f"it no longer says '{word}'.")
    if not re.search(REPORT, before, re.IGNORECASE) and re.search(REPORT, text, re.IGNORECASE):
        raise Refused("report", "it tells what happened instead of asking for it.")
    return text


def _deeds(environment: Environment, task: Task) -> set[str]:
    """Regular expressions of what is done and of what is asked for."""
    used = {call.tool for call in task.golden} | set(task.toolbox.tools)
    required = {word for ask in asks(environment.spec) if ask.tool.name in used for word in ask.required}
    return required | {rf"\b{re.escape(fact.label.split(' of ')[0])}\b" for fact in task.goal.facts}
