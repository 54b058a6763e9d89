"""Candidate tasks of a documents domain: questions whose documents were found, read and led to the answer.

The golden program is what this reading came to: a search where nothing found so far has the document, an opening where
no search result has told what is looked for. So no call is in it that a good reader could leave out.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from envs.environment import Environment
from envs.episode import Episode
from envs.facts import mentions
from envs.record import derive_seed
from envs.task import Fact, Goal, Rejection, Task, ToolCall
from generators import preferences
from generators.documents_questions import Asker, Find, Question, Read, Step
from generators.documents_text import Document, Library
from generators.documents_things import Thing, Truth
from generators.documents_tools import OPEN, SEARCH
from generators.documents_wording import Sentences
from generators.programs import say
from generators.tasks import Proposal, toolbox_for
from generators.texts import Texts

TRIES = 40
SECOND = 0.15
"""Share of tasks that ask two questions."""
OPENINGS = ("", "", "", "I am looking for something in the archive. ", "Please help me with a question. ", "Hello. ")
CONNECTIVES = (" And one more thing: ", " I would also like to know: ", " Besides: ")


class LedAstray(Exception):
    """The documents do not lead to the answer by these steps; the message says why."""


@dataclass
class Reading:
    """One way through the documents, made call by call in an episode, and what was seen on it."""

    episode: Episode
    documents: Mapping[str, Document]
    clock: str
    calls: list[ToolCall] = field(default_factory=list)
    shown: list[dict[str, JsonValue]] = field(default_factory=list)
    """Rows of all search results so far."""
    opened: dict[str, str] = field(default_factory=dict)
    """Document id → its body."""

    def take(self, step: Step) -> None:
        """Make the calls of one step. Raises LedAstray."""
        document = self.documents[step.thing.id]
        if isinstance(step, Find):
            self._find(document, step)
        elif isinstance(step, Read):
            self._read(document, step.thing, step.fact)
        elif not any(self._tells(row, step.fact) for row in self._rows(document)):
            raise LedAstray("the search result does not show it")

    def _find(self, document: Document, step: Find) -> None:
        if self._rows(document):
            if step.first and document.id not in self.opened:
                raise LedAstray("the document was seen by chance before its name was")
            return
        rows = self._call(SEARCH, query=step.by)
        self.shown += [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if not self._rows(document):
            raise LedAstray("the search does not find the document")

    def _read(self, document: Document, thing: Thing, fact: Fact) -> None:
        about = [row for row in self.shown if row in self._rows(document) or self._tells(row, _called(thing))]
        if any(self._tells(row, fact) for row in about):
            raise LedAstray("a search result tells it already")
        if document.id not in self.opened:
            value = self._call(OPEN, document_id=document.id)
            self.opened[document.id] = str(value["body"]) if isinstance(value, dict) else ""
        if not mentions(self.opened[document.id], fact.kind, fact.value, self.clock):
            raise LedAstray("the document does not tell it")

    def _rows(self, document: Document) -> list[dict[str, JsonValue]]:
        return [row for row in self.shown if row["id"] == document.id]

    def _tells(self, row: Mapping[str, JsonValue], fact: Fact) -> bool:
        return mentions(f"{row['title']}. {row['snippet']}", fact.kind, fact.value, self.clock)

    def _call(self, tool: str, **arguments: JsonValue) -> JsonValue:
        call = ToolCall(tool=tool, arguments=arguments)
        result = self.episode.attempt(call)
        if not result.ok:
            raise LedAstray(result.error or "refused")
        self.calls.append(call)
        return result.value


def propose_document_tasks(
    environment: Environment,
    truth: Truth,
    library: Library,
    words: tuple[Mapping[str, Sentences], Mapping[str, Sentences], Mapping[str, Sentences]],
    texts: Mapping[str, Texts],
    count: int,
    seed: int,
) -> Proposal:
    """`count` draws of a task, no two alike; draws that came to nothing are returned as rejections with the reason."""
    tasks: dict[tuple[str, str], Task] = {}
    rejections = []
    for number in range(count):
        rng = random.Random(derive_seed(environment.spec.domain, "question", seed, number))
        asker = Asker(truth, library, *words, rng=rng)
        why: dict[str, int] = {}
        for _ in range(TRIES):
            try:
                task = _task(environment, library, asker, texts, rng)
                key = (str(task.golden), str(task.goal.facts))
                if key in tasks:
                    raise LedAstray("asked before")
            except LedAstray as reason:
                why[str(reason)] = why.get(str(reason), 0) + 1
                continue
            tasks[key] = task
            break
        else:
            reasons = ", ".join(f"{reason} ({times})" for reason, times in sorted(why.items()))
            rejections.append(_rejection(environment, f"none of {TRIES} questions can be answered: {reasons}", number))
    return Proposal(tuple(tasks.values()), tuple(rejections))


def _task(
    environment: Environment, library: Library, asker: Asker, texts: Mapping[str, Texts], rng: random.Random
) -> Task:
    questions = [_drawn(asker) for _ in range(2 if rng.random() < SECOND else 1)]
    instruction = rng.choice(OPENINGS) + rng.choice(CONNECTIVES).join(question.text for question in questions)
    facts = tuple(question.fact for question in questions)
    for fact in facts:
        if mentions(instruction, fact.kind, fact.value, environment.spec.clock):
            raise LedAstray("the question tells the answer")
    if len({str(fact.value) for fact in facts}) < len(facts):
        raise LedAstray("two questions with one answer")
    with environment.episode() as episode:
        reading = Reading(episode, library.documents, environment.spec.clock)
        _follow(reading, questions)
    golden = tuple(reading.calls)
    used = {call.tool for call in golden}
    preference, worded_by = preferences.draw(rng, texts, tuple(sorted(used)))
    calls = {*(call for question in questions for call in question.worded_by), *([worded_by] if worded_by else [])}
    return Task(
        environment_id=environment.id,
        domain=environment.spec.domain,
        instruction=instruction,
        golden=golden,
        golden_answer=" ".join(f"{fact.label[0].upper()}{fact.label[1:]}: {say(fact)}." for fact in facts),
        goal=Goal(facts=facts),
        difficulty=len(golden),
        toolbox=toolbox_for(environment, rng, used),
        preference=preference,
        made_from=tuple(sorted(calls)),
    )


def _follow(reading: Reading, questions: Sequence[Question]) -> None:
    for question in questions:
        before = len(reading.calls)
        for step in question.steps:
            reading.take(step)
        if len(reading.calls) == before:
            raise LedAstray("nothing has to be read for it")


def _drawn(asker: Asker) -> Question:
    question = asker.draw()
    if question is None:
        raise LedAstray("there is no such thing")
    return question


def _called(thing: Thing) -> Fact:
    return Fact(label="name", kind="text", value=thing.name)


def _rejection(environment: Environment, detail: str, number: int) -> Rejection:
    domain = environment.spec.domain
    return Rejection(domain=domain, stage="programs", reason="not_executable", detail=detail, subject=number)
