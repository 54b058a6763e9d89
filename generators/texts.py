"""Stage `texts`: short texts that do not belong to one tool, several for each purpose.

Clauses of evolved requests, persons who call, and what a user prefers are all asked for in one way and checked by the
words they need and the words they must not have. What the model has no words for is worded by rule, and reported.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, create_model

from envs.record import Record
from envs.task import Rejection
from generators.sentences import Fault, keep, placeholder, sentence
from generators.stage import Corrected, Llm, Stage, run_stage

WANTED = 5
LONGEST = 16
"""Words of a text: in longer ones a small model adds what nobody said."""


class Texts(Record):
    """The texts for one purpose, and the call that wrote most of them; none where all are worded by rule."""

    purpose: str
    texts: tuple[str, ...]
    call_id: str | None = None


@dataclass(frozen=True)
class TextAsk:
    """What is asked for one purpose, and by what an answer is judged."""

    purpose: str
    plainly: tuple[str, ...]
    """Stiff but true texts: the model is asked to vary the first. They stand beside what it finds."""
    placeholders: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    """Regular expressions of which each text contains all."""
    forbidden: str = r"(?!)"
    """A regular expression (lower case) that no text may contain."""
    begins: str = ""
    """A regular expression for the first words; such a text is a phrase and has no full stop."""


def texts_response(ask: TextAsk) -> type[BaseModel]:
    """Answer of stage `texts`: the schema makes the engine write one text with every placeholder exactly once.

    Held to more words than that, a small model writes sentences without end.
    """
    text: Any = sentence(map(placeholder, ask.placeholders), begins=ask.begins, ends="" if ask.begins else "[.?!]")
    return create_model("Texts", texts=(list[text], Field(min_length=2, max_length=WANTED)))


def propose_texts(
    asks: Sequence[TextAsk], domain: str, seed: int, llm: Llm
) -> tuple[dict[str, Texts], list[Rejection]]:
    """Texts per purpose, and what was refused."""
    stage: Stage[TextAsk, tuple[str, ...]] = Stage(
        name="texts",
        key=lambda ask: ask.purpose,
        prompt=lambda ask: {"ask": ask, "wanted": WANTED},
        response=texts_response,
        accept=lambda ask, answer: accept_texts(ask, answer.texts),
        max_tokens=200,
        repairs=1,
        list_answer=True,
        temperature=0.8,
        needed=False,
    )
    result = run_stage(stage, asks, llm, domain, seed)
    found, rejections = {}, list(result.rejections)
    for ask in asks:
        if ask.purpose in result.accepted:
            call = result.made_from[ask.purpose]
            texts = tuple(dict.fromkeys((*result.accepted[ask.purpose], *ask.plainly)))
            found[ask.purpose] = Texts(purpose=ask.purpose, texts=texts, call_id=call)
        else:
            found[ask.purpose] = Texts(purpose=ask.purpose, texts=ask.plainly)
            rejections.append(_worded_plainly(ask, domain))
    return found, rejections


def accept_texts(ask: TextAsk, texts: Sequence[str]) -> Corrected[tuple[str, ...]]:
    """The usable texts, normalised. Raises Refused with the commonest fault if none is."""
    return keep([_normalised(ask, text) for text in texts], lambda text, others: _fault(ask, text, others), 1)


def _normalised(ask: TextAsk, given: str) -> str:
    text = re.sub(r"\s+", " ", given).strip(" \"'")
    return re.sub(r"^a (?=[aeiou])", "an ", text.rstrip(" .,;:")) if ask.begins else text


def _fault(ask: TextAsk, text: str, siblings: list[str]) -> Fault | None:
    lower = text.lower()
    bare = re.sub(r"\{\w+\}", "", text)
    if sorted(re.findall(r"\{(\w*)\}", text)) != sorted(ask.placeholders):
        needed = ", ".join(f"{{{name}}}" for name in ask.placeholders) or "no braces"
        return "placeholders", f"every text must contain {needed} exactly once and no other braces: '{text}'."
    if not bare.isascii() or not bare.isprintable() or re.search(r"[\d_<>\[\]{}\\;\"]", bare):
        return "not_plain", f"'{text}' must be plain words without numbers or code."
    if not 3 <= len(text.split()) <= LONGEST:
        return "length", f"'{text}' must have 3 to {LONGEST} words."
    if ask.begins and not re.match(ask.begins, text):
        return "beginning", f"'{text}' must begin as asked."
    if not ask.begins and re.search(r"[.?!] ", text):
        return "not_one_sentence", f"'{text}' must be one sentence."
    if not all(re.search(piece, text) for piece in ask.pieces):
        return "other_meaning", f"'{text}' does not say the same as: {ask.plainly[0]}"
    if wrong := re.search(ask.forbidden, lower):
        return "other_meaning", f"'{text}' says something else ('{wrong.group()}') than: {ask.plainly[0]}"
    if any(text.lower() == sibling.lower() for sibling in siblings):
        return "duplicate", "the texts must differ."
    return None


def _worded_plainly(ask: TextAsk, domain: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage="texts",
        reason="worded_plainly",
        detail=f"{ask.purpose}: no text of the model was accepted; it is worded by rule",
        subject=ask.purpose,
    )
