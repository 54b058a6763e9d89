"""Stages `document_titles`, `document_facts`, `document_links`, `document_pairs`: words of documents and questions.

The calls grow with columns and references, not with documents or tasks: longer questions are composed, as the phrase
for `the artist of {painting}` takes the place of `{artist}` in another question.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from envs.record import Record
from envs.spec import Column, Table
from envs.task import Fact, Rejection
from generators.brief import Brief
from generators.documents_forms import Form, accept, response, stem
from generators.names import label, plural, words
from generators.plain import is_plain, orders_its_reader
from generators.stage import Corrected, Correction, Llm, Refused, Stage, run_stage

WANTED_TITLE_WORDS, ENOUGH_TITLE_WORDS = 14, 8
MOST = 3
"""Sentences of one form."""
COMPARED = ("date", "integer", "cents")
OPENERS = {
    "date": "(When|What|Which|On what|On which)",
    "integer": "(How many|How much|What|Which|With how many)",
    "cents": "(How much|What|Which|At what|At which|For what)",
    "person_name": "(Who|What|Which|By whom)",
    "city": "(Where|In which|In what|What|Which)",
}
OTHER_OPENERS = "(What|Which|In what|In which|With what|With which|At what|At which|On what|On which|To what|To which)"
"""How a question begins that asks for a value and not for yes or no."""
PARTICIPLE = re.compile(r"[a-z]+(ed|wn|en|ld|de|ght|pt|und)\b")
"""How the clause begins that says in which way something belongs to another."""
GENERIC = {"date", "day", "number", "count", "amount", "type", "name", "value", "kind", "total", "home"}
"""Words of a column's name that do not tell it from others."""


class TitleWords(BaseModel):
    """Answer of stage `document_titles`."""

    first: list[Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[A-Z][a-z]+$"})]] = Field(
        min_length=ENOUGH_TITLE_WORDS, max_length=WANTED_TITLE_WORDS
    )
    second: list[Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[A-Z][a-z]+$"})]] = Field(
        min_length=ENOUGH_TITLE_WORDS, max_length=WANTED_TITLE_WORDS
    )


@dataclass(frozen=True)
class Link:
    """A reference between two kinds of things: many of the child belong to one of the parent."""

    child: str
    column: str
    parent: str

    @property
    def key(self) -> str:
        return f"{self.child}.{self.column}"


class Sentences(Record):
    """The patterns for one fact, link or pair by the name of their form, and the call that wrote them, if one did."""

    key: str
    patterns: dict[str, tuple[str, ...]]
    call_id: str | None = None


@dataclass(frozen=True)
class Ask:
    """What one call asks for: the values of its prompt, and the forms of its answer."""

    key: str
    prompt: dict[str, Any]
    forms: tuple[Form, ...]


def propose_titles(
    brief: Brief, tables: Sequence[Table], domain: str, llm: Llm
) -> tuple[dict[str, tuple[str, ...]], list[Rejection], list[str]]:
    """Titles of two words per table, each once, what was refused, and the ids of the calls used.

    A table for which no words came has titles such as `Painting 3`.
    """
    nouns = _beginnings(" ".join([brief.title, brief.description, *brief.entities, *(t.name for t in tables)]))
    stage: Stage[Table, tuple[str, ...]] = Stage(
        name="document_titles",
        key=lambda table: table.name,
        prompt=lambda table: {"thing": a(table.name), "wanted": WANTED_TITLE_WORDS},
        response=lambda _: TitleWords,
        accept=lambda _, answer: _accept_titles(answer, nouns),
        max_tokens=240,
        temperature=0.8,
        needed=False,
    )
    result = run_stage(stage, tables, llm, domain, brief.answers_seed)
    titles = dict(result.accepted)
    rejections = list(result.rejections)
    for table in tables:
        if table.name not in titles:
            titles[table.name] = tuple(f"{words(table.name).capitalize()} {number}" for number in range(1, 145))
            rejections.append(_worded_plainly("document_titles", table.name, domain))
    return titles, rejections, list(result.made_from.values())


def propose_sentences(
    stage_name: str, asks: Sequence[Ask], brief: Brief, domain: str, llm: Llm
) -> tuple[dict[str, Sentences], list[Rejection]]:
    """Sentences per key of the asks, and what was refused. What the model has no words for is worded by rule."""
    stage: Stage[Ask, dict[str, tuple[str, ...]]] = Stage(
        name=stage_name,
        key=lambda ask: ask.key,
        prompt=lambda ask: {"brief": brief, **ask.prompt},
        response=lambda ask: response(ask.forms, MOST),
        accept=lambda ask, answer: accept(ask.forms, answer, brief.clock),
        max_tokens=420,
        temperature=0.6,
        repairs=1,  # there is always the plain wording
        needed=False,
    )
    result = run_stage(stage, asks, llm, domain, brief.answers_seed)
    found = {
        key: Sentences(key=key, patterns=patterns, call_id=result.made_from[key])
        for key, patterns in result.accepted.items()
    }
    plain = [ask for ask in asks if ask.key not in found]
    found |= {ask.key: Sentences(key=ask.key, patterns={f.name: f.plainly for f in ask.forms}) for ask in plain}
    return found, [*result.rejections, *(_worded_plainly(stage_name, ask.key, domain) for ask in plain)]


def fact_ask(table: Table, column: Column, kind: str, sample: tuple[dict[str, str], Fact]) -> Ask:
    """How a document tells the value of a column, and how a reader asks for it."""
    thing, slot, what = table.name, slot_of(column), label(column.name)
    needed = (stem(key_word(table, column)),)
    forms = (
        Form(
            "statements",
            (thing, slot),
            (f"The {what} of {{{thing}}} is {{{slot}}}.",),
            required=needed,
            closed=column.type != "integer",  # `has 12 rooms`, but `was born on …` and not `on … was the birth`
            sample=sample,
        ),
        Form(
            "questions",
            (thing,),
            (f"In which city is {{{thing}}}?",) if what == "city" else (f"What is the {what} of {{{thing}}}?",),
            begins=OPENERS.get(kind) or OPENERS.get(column.type) or OTHER_OPENERS,
            ends="?",
            required=needed,
        ),
    )
    prompt = {"fact": f"{what} {{{slot}}}", "thing": f"{a(table.name)} {{{thing}}}"}
    return Ask(f"{table.name}.{column.name}", prompt, forms)


def link_ask(link: Link, hint: str, sample: tuple[dict[str, str], Fact]) -> Ask:
    """How two kinds of things are told to belong together, and how one is spoken of through the other.

    hint: what the brief says of the child; with the words in which it speaks of the parent, sentences speak of it too.
    """
    child, parent, several = link.child, link.parent, plural(link.child)
    one, many, owner = words(child), words(several), words(parent)
    clause = clause_of(hint, link)
    verb = PARTICIPLE.match(clause)
    said = stem(verb[0]) if verb else ""
    told = (said,) if verb else (stem(owner.split()[-1]),)
    meant = (f"(of|{said})",) if verb else ()
    by_rule = re.sub(rf"\b(one|an?) {owner}$", f"the {owner} {{{parent}}}", clause)
    plainly = (
        f"{{{child}}} is {by_rule}." if verb and by_rule != clause else f"The {owner} of {{{child}}} is {{{parent}}}."
    )
    forms = (
        Form(
            "statements",
            (child, parent),
            (plainly,),
            required=told,
            closed=True,
            sample=sample,
        ),
        Form("phrases", (child,), (f"the {owner} of {{{child}}}",), f"the {owner}", "", meant, closed=True),
        Form("listings", (parent, several), (f"{{{parent}}} is the {owner} of {{{several}}}.",), required=told),
        Form("groups", (parent,), (f"the {many} of {{{parent}}}",), f"the {many}", "", meant, closed=True),
        Form(
            "counts",
            (parent,),
            (f"How many {many} does {{{parent}}} have?", f"What is the number of {many} of {{{parent}}}?"),
            f"(How many {many}|What is the number of {many})",
            "?",
            (said,) if verb else (),
        ),
    )
    prompt = {
        "child": child, "parent": parent, "children": several, "thing": a(one), "parent_noun": owner,
        "children_noun": many, "clause": clause,
    }  # fmt: skip
    return Ask(link.key, prompt, forms)


def clause_of(hint: str, link: Link) -> str:
    """The words with which a hint speaks of what something belongs to: `painted by one artist`."""
    parts = re.split(r"[,;:.()]| and | with ", hint)
    found = next((part for part in parts if speaks_of(part, link.parent)), f"of one {words(link.parent)}")
    return re.sub(rf"^(an?|the|one) {words(link.child)} (that is |which is )?", "", found.strip())


def speaks_of(hint: str, name: str) -> bool:
    """Whether a hint names a kind of thing."""
    return re.search(rf"\b{words(name)}s?\b", hint, re.IGNORECASE) is not None


def pair_ask(table: Table, column: Column) -> Ask:
    """How a reader asks about one column of two things at once."""
    what, needed = label(column.name), stem(key_word(table, column))
    two, dates = ("first", "second"), column.type == "date"

    noun = rf"\b({words(table.name)}|{words(plural(table.name))}) \{{"  # each placeholder brings its own

    def form(name: str, plainly: str, begins: str, word: str = "", last: str = "") -> Form:
        wanted = (needed, *([word] if word else []))
        return Form(
            name, two, (plainly,), begins, "?", wanted, ordered=True, closed=not last, last=last, forbidden=noun
        )

    either = "that of {first} or that of {second}?"
    if dates:
        between = f"How many days lie between the {what} of {{first}} and the {what} of {{second}}?"
        forms = (
            form("later", f"What is the later {what}, {either}", "(When|What|Which|On what|On which)", "[Ll]ater"),
            form("between", between, "How many days"),
        )
    else:
        both = f"What is the {what} of {{first}} and {{second}} together?"
        forms = (
            form("higher", f"What is the higher {what}, {either}", "(What|Which)", "[Hh]igher"),
            form("together", both, "(What|How much|How many)", last="(together|altogether|in total)"),
        )
    prompt = {"fact": what, "things": words(plural(table.name)), "dates": dates}
    return Ask(f"{table.name}.{column.name}", prompt, forms)


def slot_of(column: Column) -> str:
    """The placeholder of a column's value."""
    return column.name.removesuffix("_cents").removesuffix("_id")


def key_word(table: Table, column: Column) -> str:
    """The word of a column's name that tells it from the others of its table."""
    own = label(column.name).split()
    telling = [word for word in own if word not in GENERIC] or own
    shared = {word for other in table.columns if other != column for word in label(other.name).split()}
    return next((word for word in reversed(telling) if word not in shared), telling[-1])


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {words(noun)}"


def _accept_titles(answer: TitleWords, nouns: set[str]) -> Corrected[tuple[str, ...]]:
    """Titles of the usable words: not those that the brief is about, which would name nothing."""
    kept, left_out = [], []
    for given in (answer.first, answer.second):
        distinct = dict.fromkeys(word.strip().capitalize() for word in given)
        usable = [word for word in distinct if _is_title_word(word) and not _beginnings(word) & nouns]
        left_out += [word for word in given if word.strip().capitalize() not in usable]
        kept.append(usable)
    if min(map(len, kept)) < ENOUGH_TITLE_WORDS:
        unusable = ", ".join(dict.fromkeys(word[:20] for word in left_out[:6]))
        raise Refused(
            "too_few_words",
            f"give {WANTED_TITLE_WORDS} different common words for first and for second, of nature, weather, colours "
            f"or places{f', and not {unusable}' if unusable else ''}.",
        )
    titles = tuple(f"{one} {other}" for one, other in product(*kept) if one != other)
    return Corrected(titles, tuple(Correction("title_word", f"'{word[:40]}' is not used") for word in left_out))


def _beginnings(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())}


def _is_title_word(word: str) -> bool:
    return re.fullmatch(r"[A-Z][a-z]{2,13}", word) is not None and is_plain(word) and not orders_its_reader(word)


def _worded_plainly(stage: str, key: str, domain: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage=stage,
        reason="worded_plainly",
        detail=f"{key}: nothing of the model was accepted; it is worded by rule",
        subject=key,
    )
