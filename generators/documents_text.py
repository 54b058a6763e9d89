"""Things become documents: a title and a paragraph of sentences, in which each fact is told exactly once.

What belongs together is told on one side only: either by the document of the one, or by a list in the document of the
other. So a question that goes from one to the other needs both documents, in an order that can be found out.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import JsonValue

from envs.facts import tells
from envs.record import derive_seed
from envs.spec import Column
from envs.task import Fact
from generators.documents_forms import filled
from generators.documents_things import Thing, Truth
from generators.documents_wording import Sentences, a, slot_of
from generators.names import label, plural, words
from generators.programs import FACT_KINDS

LISTED = 0.45
"""Share of things with several belonging to them whose own document lists these."""
NAMED_AGAIN = 0.3
"""Share of later sentences that repeat the name instead of saying `the painting`."""
MOST_LISTED = 6


@dataclass(frozen=True)
class Document:
    """What is searched and read."""

    id: str
    title: str
    body: str


@dataclass(frozen=True)
class Library:
    """The documents of all things, and who tells what."""

    documents: Mapping[str, Document]
    """By the id of the thing."""
    listed: frozenset[tuple[str, str]]
    """(link, id of a parent) for every parent whose document lists what belongs to it."""
    untold: frozenset[tuple[str, str]]
    """(id of a thing, column) for the values that its document does not tell plainly enough to be asked for."""


def write_library(
    truth: Truth, facts: Mapping[str, Sentences], links: Mapping[str, Sentences], clock: str, domain: str, seed: int
) -> Library:
    """One document per thing. Depends on the arguments only."""
    listed = _listed(truth, domain, seed)
    documents: dict[str, Document] = {}
    untold = set()
    rng = random.Random(derive_seed(domain, "documents", seed))
    number = rng.randint(100, 900)
    for thing in rng.sample(list(truth.things.values()), len(truth.things)):
        writer = _Writer(truth, facts, links, listed, random.Random(derive_seed(domain, "document", thing.id, seed)))
        body = writer.body(thing)
        documents[thing.id] = Document(f"DOC-{number}", thing.name, body)
        number += rng.randint(1, 7)  # ids tell neither the kind of a thing nor how many there are
        for column in truth.facts(thing.table):
            if not tells(body, fact_of(thing, column), clock):
                untold.add((thing.id, column.name))
    return Library(documents, listed, frozenset(untold))


def fact_of(thing: Thing, column: Column) -> Fact:
    """The value of a column as a fact."""
    kind, value = FACT_KINDS[column.type], thing.values[column.name]
    value = words(str(value)) if column.type == "enum" else value
    return Fact(label=f"{label(column.name)} of {thing.name}", kind=kind, value=value)


def name_of(thing: Thing) -> Fact:
    """The name of a thing as a fact."""
    return Fact(label=f"name of the {words(thing.table)}", kind="text", value=thing.name)


def spoken(column: Column, value: JsonValue) -> str:
    """A value as a document says it."""
    if column.type == "date":
        day = date.fromisoformat(str(value))
        return f"{day.day} {day:%B} {day.year}"
    if column.type == "cents" and isinstance(value, int):
        return f"${value // 100:,}.{value % 100:02}" if value % 100 else f"${value // 100:,}"
    if column.type == "integer":
        return f"{value:,}"
    return words(str(value)) if column.type == "enum" else str(value)


def _listed(truth: Truth, domain: str, seed: int) -> frozenset[tuple[str, str]]:
    found = set()
    for link in truth.links():
        rng = random.Random(derive_seed(domain, "listed", link.key, seed))
        for parent in truth.of(link.parent):
            if 2 <= len(truth.belonging(link, parent)) <= MOST_LISTED and rng.random() < LISTED:
                found.add((link.key, parent.id))
    return frozenset(found)


@dataclass(frozen=True)
class _Writer:
    truth: Truth
    facts: Mapping[str, Sentences]
    links: Mapping[str, Sentences]
    listed: frozenset[tuple[str, str]]
    rng: random.Random

    def body(self, thing: Thing) -> str:
        """The sentences on one thing, in an order of its own; the first names it."""
        sentences = [*self._facts(thing), *self._belongs_to(thing), *self._lists(thing)]
        self.rng.shuffle(sentences)
        text = []
        for place, (pattern, slot, values) in enumerate(sentences):
            again = place == 0 or self.rng.random() < NAMED_AGAIN
            text.append(filled(pattern, {**values, slot: thing.name if again else f"the {words(thing.table)}"}))
        opening = f"{thing.name} is {a(thing.table)}."
        return " ".join([opening, *text] if self.rng.random() < 0.5 or not text else text)

    def _facts(self, thing: Thing) -> list[tuple[str, str, dict[str, str]]]:
        told = []
        for column in self.truth.facts(thing.table):
            patterns = self.facts[f"{thing.table}.{column.name}"].patterns["statements"]
            values = {slot_of(column): spoken(column, thing.values[column.name])}
            told.append((self.rng.choice(patterns), thing.table, values))
        return told

    def _belongs_to(self, thing: Thing) -> list[tuple[str, str, dict[str, str]]]:
        told = []
        for link in (link for link in self.truth.links() if link.child == thing.table):
            parent = self.truth.things[str(thing.values[link.column])]
            if (link.key, parent.id) not in self.listed:
                patterns = self.links[link.key].patterns["statements"]
                told.append((self.rng.choice(patterns), link.child, {link.parent: parent.name}))
        return told

    def _lists(self, thing: Thing) -> list[tuple[str, str, dict[str, str]]]:
        told = []
        for link in (link for link in self.truth.links() if link.parent == thing.table):
            if (link.key, thing.id) in self.listed:
                names = [child.name for child in self.truth.belonging(link, thing)]
                several = f"the {words(plural(link.child))} {_and(self.rng.sample(names, len(names)))}"
                patterns = self.links[link.key].patterns["listings"]
                told.append((self.rng.choice(patterns), link.parent, {plural(link.child): several}))
        return told


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
