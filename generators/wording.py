"""How a request is put into words: phrase patterns of its steps, joined, with the clauses that its evolution added."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from envs.spec import EnvironmentSpec, Tool
from envs.task import Rejection
from generators import evolutions, preferences, scenarios
from generators.names import noun
from generators.phrases import Phrasing, propose_phrases
from generators.stage import Llm
from generators.steps import Step
from generators.texts import Texts, propose_texts

OPENINGS = ("", "", "", "Hi, ", "Hello. ", "Please help me. ")
CONNECTIVES = (" Also, ", " Then, ", " After that, ", " Next, ", " In addition, ", " Besides, ", " One more thing: ")
LAST = " Finally, "


@dataclass(frozen=True)
class Wording:
    """All words of one domain: patterns per tool, and texts per purpose."""

    phrasings: dict[str, Phrasing]
    texts: dict[str, Texts]

    def calls(self) -> set[str]:
        """Ids of the LLM calls whose words are here."""
        ids = [each.call_id for each in self.phrasings.values()] + [each.call_id for each in self.texts.values()]
        return {call for call in ids if call}


ASKS = (*evolutions.ASKS, scenarios.PERSONAS, *(ask for ask, _ in preferences.ASKS))


def propose_wording(spec: EnvironmentSpec, llm: Llm, answers_seed: int = 0) -> tuple[Wording, list[Rejection]]:
    """The words of a domain, and what was refused."""
    phrasings, refused = propose_phrases(spec, llm, answers_seed)
    texts, also_refused = propose_texts(ASKS, spec.domain, answers_seed, llm)
    return Wording(phrasings, texts), [*refused, *also_refused]


def worded_plainly(phrasings: dict[str, Phrasing]) -> Wording:
    """These patterns with texts that no model wrote."""
    return Wording(phrasings, {ask.purpose: Texts(purpose=ask.purpose, texts=ask.plainly) for ask in ASKS})


def compose(rng: random.Random, steps: Sequence[Step], wording: Wording) -> tuple[str, set[str]]:
    """The request of a program, and the ids of the LLM calls whose words are in it."""
    used: set[str | None] = set()
    sentences = []
    for step in steps:
        phrasing = wording.phrasings[step.tool.name]
        used.add(phrasing.call_id)
        sentence = _filled(_pattern(rng, step, phrasing), step)
        for clause in step.clauses:
            found = wording.texts[clause.purpose]
            used.add(found.call_id)
            sentence += f" {_put(rng.choice(found.texts), clause.slots)}"
        sentences.append(sentence)
    opening = rng.choice(OPENINGS)
    text = opening + (_lower_first(sentences[0]) if opening.endswith(", ") else sentences[0])
    for connective, sentence in zip(_connectives(rng, len(sentences) - 1), sentences[1:], strict=True):
        text += connective + _lower_first(sentence)
    return text, {call for call in used if call}


def _connectives(rng: random.Random, count: int) -> list[str]:
    """So many, none twice; of three requests or more the last one may be announced."""
    drawn = rng.sample(CONNECTIVES, count)
    return [*drawn[:-1], LAST] if count > 1 and rng.random() < 0.5 else drawn


def _pattern(rng: random.Random, step: Step, phrasing: Phrasing) -> str:
    """A pattern that takes the values of the step: `the same seats as …` fits only where a whole phrase can stand, and
    so does `a dozen`."""
    fitting = [
        pattern
        for pattern in phrasing.patterns
        if all(re.search(rf"\bto \{{{name}\}}[.?]", pattern) for name in step.phrase_slots)
    ]
    if fitting:
        return rng.choice(fitting)
    subject, value = step.tool.parameters[0], step.tool.parameters[-1]
    return f"Please change the {value.description} of {noun(subject)} {{{subject.name}}} to {{{value.name}}}."


def _filled(pattern: str, step: Step) -> str:
    slots = dict(step.slots)
    for name, value in step.slots.items():
        if name in step.row_slots:
            pattern = _without_noun(pattern, name, step.tool)
        if (
            value.isdigit()
            and name in step.cents_slots
            and not re.search(rf"\{{{name}\}} cents|cents \{{{name}\}}", pattern)
        ):
            slots[name] = f"{value} cents"
    return _put(pattern, slots)


def _put(pattern: str, slots: dict[str, str]) -> str:
    for name, value in slots.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern[0].upper() + pattern[1:]


def _without_noun(pattern: str, name: str, tool: Tool) -> str:
    """`cancel my order {order_id}` as `cancel {order_id}`, for a value that brings its own noun."""
    thing = next(noun(parameter) for parameter in tool.parameters if parameter.name == name)
    return re.sub(rf"(?:\b(?:my|the|this|our|a)\s+)?\b{re.escape(thing)}\s+\{{{name}\}}", f"{{{name}}}", pattern)


def _lower_first(sentence: str) -> str:
    first = sentence.split()[0]
    return sentence if first == "I" or first.startswith("I'") or "-" in first else sentence[0].lower() + sentence[1:]
