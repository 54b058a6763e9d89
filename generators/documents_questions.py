"""Questions over the truth, each with what must be found and read to answer it, in the order in which it is found out.

A thing is spoken of by its name, or through another one (`the artist of Silent Harbour`), which makes a further hop.
Nothing here searches: whether documents lead to the answer is found out by `generators.documents_tasks`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import JsonValue

from envs.spec import Column
from envs.task import Fact
from generators.documents_forms import filled, put
from generators.documents_text import MOST_LISTED, Library, fact_of, name_of, spoken
from generators.documents_things import Thing, Truth
from generators.documents_wording import COMPARED, Link, Sentences
from generators.names import label, plural, words

KINDS = {
    "fact": 20, "link": 8, "hop": 22, "two_hops": 12, "pair": 12, "pair_of_hops": 6, "count": 6, "extreme": 6,
    "total": 4, "condition": 4,
}  # fmt: skip
"""How often a question is of a kind."""
MOST_READ = 4
"""Things of a group that are all read."""
EXTREMES = {"date": ("earliest", "latest"), "integer": ("lowest", "highest"), "cents": ("lowest", "highest")}


@dataclass(frozen=True)
class Find:
    """A document to be found by a name that is known by now."""

    thing: Thing
    by: str
    first: bool = False
    """Whether the name has just been read: a document that was seen before would be found by chance."""


@dataclass(frozen=True)
class Read:
    """A found document to be read, for something that only it tells."""

    thing: Thing
    fact: Fact


@dataclass(frozen=True)
class Glance:
    """A found document whose search result says enough."""

    thing: Thing
    fact: Fact


Step = Find | Read | Glance


@dataclass(frozen=True)
class Way:
    """A thing, how a question speaks of it, and how one finds out which it is and where its document is."""

    thing: Thing
    said: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Question:
    """What is asked, what must be known for it, and the fact that answers it."""

    kind: str
    text: str
    steps: tuple[Step, ...]
    fact: Fact
    worded_by: frozenset[str]
    """Ids of the LLM calls whose words are in the text."""


@dataclass
class Asker:
    """Draws questions. One that cannot be asked of what was drawn is None."""

    truth: Truth
    library: Library
    facts: Mapping[str, Sentences]
    links: Mapping[str, Sentences]
    pairs: Mapping[str, Sentences]
    rng: random.Random

    def draw(self) -> Question | None:
        """A question of a drawn kind."""
        self._calls: set[str] = set()
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        asks: dict[str, Callable[[], tuple[str, Sequence[Step], Fact] | None]] = {
            "fact": lambda: self._fact(0),
            "link": self._link,
            "hop": lambda: self._fact(1),
            "two_hops": lambda: self._fact(2),
            "pair": lambda: self._pair(0),
            "pair_of_hops": lambda: self._pair(1),
            "count": self._count,
            "extreme": self._extreme,
            "total": self._total,
            "condition": self._condition,
        }
        found = asks[kind]()
        return Question(kind, found[0], tuple(found[1]), found[2], frozenset(self._calls)) if found else None

    def _fact(self, hops: int) -> tuple[str, Sequence[Step], Fact] | None:
        way = self._way(hops)
        columns = self._told(way.thing) if way else []
        if way is None or not columns:
            return None
        column = self.rng.choice(columns)
        fact = fact_of(way.thing, column)
        pattern = self._pattern(self.facts, f"{way.thing.table}.{column.name}", "questions")
        return filled(pattern, {way.thing.table: way.said}), (*way.steps, Read(way.thing, fact)), fact

    def _link(self) -> tuple[str, Sequence[Step], Fact] | None:
        """What something belongs to: the name in its document, or the title of the document that lists it."""
        start = self._way(self.rng.choice((0, 0, 1)))
        found = self._hop(start) if start else None
        if start is None or found is None:
            return None
        link, parent, said = found
        fact = name_of(parent)
        steps: tuple[Step, ...] = (Read(start.thing, fact),)
        if (link.key, parent.id) in self.library.listed:
            steps = (Find(parent, start.thing.name), Glance(parent, name_of(start.thing)))
        return f"What is the name of {said}?", (*start.steps, *steps), fact

    def _pair(self, hops: int) -> tuple[str, Sequence[Step], Fact] | None:
        first = self._way(hops)
        columns = [c for c in self._told(first.thing) if c.type in COMPARED] if first else []
        second = self._way(hops, first.thing.table) if first and columns else None
        if first is None or second is None or first.thing == second.thing:
            return None
        column = self.rng.choice(columns)
        if column not in self._told(second.thing):
            return None
        form = self.rng.choice(("later", "between") if column.type == "date" else ("higher", "together"))
        fact = _reckoned(form, column, [first.thing, second.thing])
        if fact is None:
            return None
        pattern = self._pattern(self.pairs, f"{first.thing.table}.{column.name}", form)
        reads = [Read(way.thing, part) for way, part in zip((first, second), fact.drawn_from, strict=True)]
        text = filled(pattern, {"first": first.said, "second": second.said})
        return text, (*first.steps, reads[0], *second.steps, reads[1]), fact

    def _count(self) -> tuple[str, Sequence[Step], Fact] | None:
        found = self._group(MOST_LISTED)
        if found is None:
            return None
        link, parent, children = found
        names = tuple(name_of(child) for child in children)
        what = f"number of {words(plural(link.child))} of {parent.name}"
        fact = Fact(label=what, kind="integer", value=len(children), drawn_from=names)
        pattern = self._pattern(self.links, link.key, "counts")
        steps = (Find(parent, parent.name), Read(parent, _all(names)))
        return filled(pattern, {link.parent: self._named(parent)}), steps, fact

    def _extreme(self) -> tuple[str, Sequence[Step], Fact] | None:
        found = self._group_by(COMPARED)
        if found is None:
            return None
        said, steps, children, column = found
        values = [child.values[column.name] for child in children]
        least = self.rng.random() < 0.5
        wanted = min(values) if least else max(values)  # type: ignore[type-var]
        if values.count(wanted) > 1:
            return None
        word = EXTREMES[column.type][0 if least else 1]
        parts = tuple(fact_of(child, column) for child in children)
        what = f"{words(children[0].table)} with the {word} {label(column.name)}"
        fact = Fact(label=what, kind="text", value=children[values.index(wanted)].name, drawn_from=parts)
        return f"Which of {said} has the {word} {label(column.name)}?", steps, fact

    def _total(self) -> tuple[str, Sequence[Step], Fact] | None:
        found = self._group_by(("integer", "cents"))
        if found is None:
            return None
        said, steps, children, column = found
        fact = _reckoned("together", column, children)
        return (f"What is the {label(column.name)} of {said} together?", steps, fact) if fact else None

    def _condition(self) -> tuple[str, Sequence[Step], Fact] | None:
        found = self._group_by(("enum",))
        if found is None:
            return None
        said, steps, children, column = found
        value = self.rng.choice(children).values[column.name]
        number = sum(child.values[column.name] == value for child in children)
        named = f"{label(column.name)} {spoken(column, value)}"
        parts = tuple(fact_of(child, column) for child in children)
        fact = Fact(label=f"how many have the {named}", kind="integer", value=number, drawn_from=parts)
        return f"How many of {said} have the {named}?", steps, fact

    def _group_by(self, types: Sequence[str]) -> tuple[str, tuple[Step, ...], list[Thing], Column] | None:
        """A group as it is said, the steps that read one column of all in it, its things, and that column."""
        found = self._group(MOST_READ)
        if found is None:
            return None
        link, parent, children = found
        columns = [c for c in self.truth.facts(link.child) if c.type in types]
        columns = [c for c in columns if all(c in self._told(child) for child in children)]
        if not columns:
            return None
        column = self.rng.choice(columns)
        said = put(self._pattern(self.links, link.key, "groups"), {link.parent: self._named(parent)})
        names = _all(tuple(name_of(child) for child in children))
        steps: list[Step] = [Find(parent, parent.name), Read(parent, names)]
        for child in children:
            steps += [Find(child, child.name), Read(child, fact_of(child, column))]
        return said, tuple(steps), children, column

    def _group(self, most: int) -> tuple[Link, Thing, list[Thing]] | None:
        """A thing whose document lists what belongs to it, and these."""
        places = sorted(self.library.listed)
        if not places:
            return None
        key, identity = self.rng.choice(places)
        link = next(link for link in self.truth.links() if link.key == key)
        parent = self.truth.things[identity]
        children = self.truth.belonging(link, parent)
        return (link, parent, children) if 2 <= len(children) <= most else None

    def _way(self, hops: int, table: str | None = None) -> Way | None:
        """A thing (of one table) so many references away from one that is named."""
        thing = self.rng.choice(list(self.truth.things.values()))
        way: Way | None = Way(thing, self._named(thing), (Find(thing, thing.name),))
        for _ in range(hops):
            found = self._hop(way) if way else None
            if way is None or found is None:
                return None
            link, parent, said = found
            if (link.key, parent.id) in self.library.listed:
                way = Way(parent, said, (*way.steps, Find(parent, way.thing.name)))
            else:
                way = Way(
                    parent, said, (*way.steps, Read(way.thing, name_of(parent)), Find(parent, parent.name, first=True))
                )
        return way if way and table in (None, way.thing.table) else None

    def _hop(self, way: Way) -> tuple[Link, Thing, str] | None:
        """What the thing belongs to by one of its references, and how it is spoken of through it."""
        links = [link for link in self.truth.links() if link.child == way.thing.table]
        if not links:
            return None
        link = self.rng.choice(links)
        said = put(self._pattern(self.links, link.key, "phrases"), {link.child: way.said})
        return link, self.truth.things[str(way.thing.values[link.column])], said

    def _told(self, thing: Thing) -> list[Column]:
        columns = self.truth.facts(thing.table)
        return [column for column in columns if (thing.id, column.name) not in self.library.untold]

    def _named(self, thing: Thing) -> str:
        return f"the {words(thing.table)} {thing.name}" if self.rng.random() < 0.5 else thing.name

    def _pattern(self, sentences: Mapping[str, Sentences], key: str, form: str) -> str:
        found = sentences[key]
        if found.call_id:
            self._calls.add(found.call_id)
        return self.rng.choice(found.patterns[form])


def _reckoned(form: str, column: Column, things: Sequence[Thing]) -> Fact | None:
    """The later date, the days between, the higher number or the sum, drawn from the values of the things."""
    parts = tuple(fact_of(thing, column) for thing in things)
    what, values = label(column.name), [part.value for part in parts]
    if form != "together" and values[0] == values[1]:
        return None
    if form == "between":
        one, other = (date.fromisoformat(str(value)) for value in values)
        days = abs((one - other).days)
        return Fact(label=f"days between the {what}s", kind="integer", value=days, unit="days", drawn_from=parts)
    reckoned: JsonValue = sum(values) if form == "together" else max(values)  # type: ignore[arg-type,type-var]
    word = {"later": "later", "higher": "higher", "together": "total"}[form]
    return Fact(label=f"{word} {what}", kind=parts[0].kind, value=reckoned, drawn_from=parts)


def _all(names: tuple[Fact, ...]) -> Fact:
    return Fact(label="names", kind="text", value=[name.value for name in names])
