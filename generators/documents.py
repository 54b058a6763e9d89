"""A domain of kind `documents`: things are written into documents, which are searched and read to answer questions.

The truth behind them (`generators.documents_things`) is in no table of the environment: the documents tell it, and the
facts of the tasks keep it. So it is made again, from the same answers of the model, when tasks are proposed.
"""

from dataclasses import dataclass

from envs.environment import Environment
from envs.spec import EnvironmentSpec
from envs.task import Fact, Rejection
from generators import preferences
from generators.brief import Brief
from generators.documents_tasks import propose_document_tasks
from generators.documents_text import Library, fact_of, name_of, spoken, write_library
from generators.documents_things import Truth, fill_truth, with_names, without_unsaid_references
from generators.documents_tools import DOCUMENT_TOOLS, DOCUMENTS
from generators.documents_wording import (
    COMPARED,
    Ask,
    Link,
    Sentences,
    fact_ask,
    link_ask,
    pair_ask,
    propose_sentences,
    propose_titles,
    slot_of,
)
from generators.names import plural
from generators.phrases import Phrasing
from generators.policy import propose_policy
from generators.rows import labels, propose_values
from generators.stage import Llm
from generators.tables import propose_tables
from generators.tasks import Proposal
from generators.texts import propose_texts
from generators.wording import Wording

RULES = (
    "Answer from the documents alone: search for the words of the question, open what was found, and follow the names.",
    "A document tells each fact once; what belongs together may be told by the document of either.",
)
TOOLS = tuple(compiled.tool for compiled in DOCUMENT_TOOLS)


@dataclass(frozen=True)
class Archive:
    """All that the stages made: the truth, its documents, and the words for questions."""

    truth: Truth
    library: Library
    facts: dict[str, Sentences]
    links: dict[str, Sentences]
    pairs: dict[str, Sentences]
    policy: str
    rejections: tuple[Rejection, ...]
    made_from: tuple[str, ...]
    """Ids of the LLM calls whose answers are in the documents and the policy."""


def write_archive(brief: Brief, domain: str, llm: Llm) -> Archive:
    """The archive of a brief. Same brief, same answers: same archive. Raises StageFailed."""
    schema, refused_tables, from_tables = propose_tables(brief, domain, llm)
    schema, naming = with_names(without_unsaid_references(brief, schema))
    titled = [table for table in schema.tables if schema.kinds[table.name, naming[table.name]] == "label"]
    titles, refused_titles, from_titles = propose_titles(brief, titled, domain, llm)
    untitled = schema.without({f"{table.name}.{naming[table.name]}" for table in titled})
    values, refused_values, from_values = propose_values(brief, untitled, domain, llm)
    schema = schema.without({place for place in labels(untitled) if place not in values})
    truth = fill_truth(brief, schema, naming, titles, values, domain)
    asked = brief.as_asked()
    samples = fill_truth(asked, schema, naming, titles, values, domain)
    facts, refused_facts = propose_sentences("document_facts", _fact_asks(samples), asked, domain, llm)
    links, refused_links = propose_sentences("document_links", _link_asks(samples), asked, domain, llm)
    pairs, refused_pairs = propose_sentences("document_pairs", _pair_asks(samples), asked, domain, llm)
    policy, refused_policy, from_policy = propose_policy(brief, {}, domain, llm)
    told = {each.call_id for each in (*facts.values(), *links.values()) if each.call_id}
    return Archive(
        truth=truth,
        library=write_library(truth, facts, links, brief.clock, domain, brief.seed),
        facts=facts,
        links=links,
        pairs=pairs,
        policy="\n".join([policy.strip(), "", *(f"- {rule}" for rule in RULES)]),
        rejections=(
            *refused_tables,
            *refused_titles,
            *refused_values,
            *refused_facts,
            *refused_links,
            *refused_pairs,
            *refused_policy,
        ),
        made_from=tuple(sorted({*from_tables, *from_titles, *from_values, *from_policy, *told})),
    )


def document_spec(brief: Brief, domain: str, archive: Archive) -> EnvironmentSpec:
    """The environment: one table of documents, one tool to search it and one to open a document."""
    rows = tuple((d.id, d.title, d.body) for d in archive.library.documents.values())
    return EnvironmentSpec(
        domain=domain,
        title=brief.title,
        policy=archive.policy,
        tables=(DOCUMENTS,),
        rows={DOCUMENTS.name: rows},
        tools=TOOLS,
        clock=brief.clock,
        seed=brief.seed,
        made_from=archive.made_from,
    )


def document_tasks(
    brief: Brief, environment: Environment, llm: Llm, count: int
) -> tuple[Wording, Proposal, list[Rejection]]:
    """The words of documents and questions, candidate tasks, and what was refused of the words. Raises StageFailed.

    The environment must be that of the brief and of the same answers.
    """
    domain = environment.spec.domain
    archive = write_archive(brief, domain, llm)
    if document_spec(brief, domain, archive).rows != environment.spec.rows:
        raise ValueError(f"environment {environment.id} was made from other answers or another brief: make it again")
    texts, refused = propose_texts(tuple(ask for ask, _ in preferences.ASKS), domain, brief.answers_seed, llm)
    words = (archive.facts, archive.links, archive.pairs)
    found = propose_document_tasks(environment, archive.truth, archive.library, words, texts, count, brief.seed)
    phrasings = {
        f"{stage} {key}": Phrasing(tool=f"{stage} {key}", patterns=_flat(each), call_id=each.call_id)
        for stage, there in zip(("facts", "links", "pairs"), words, strict=True)
        for key, each in there.items()
    }
    return Wording(phrasings, texts), found, refused


def _flat(sentences: Sentences) -> tuple[str, ...]:
    return tuple(pattern for patterns in sentences.patterns.values() for pattern in patterns)


def _fact_asks(truth: Truth) -> list[Ask]:
    asks = []
    for table in truth.schema.tables:
        thing = truth.of(table.name)[0]
        for column in truth.facts(table.name):
            values = {table.name: thing.name, slot_of(column): spoken(column, thing.values[column.name])}
            kind = truth.schema.kinds[table.name, column.name]
            asks.append(fact_ask(table, column, kind, (values, fact_of(thing, column))))
    return asks


def _link_asks(truth: Truth) -> list[Ask]:
    hints = {table.name: table.description for table in truth.schema.tables}
    return [link_ask(link, hints[link.child], _link_sample(truth, link)) for link in truth.links()]


def _link_sample(truth: Truth, link: Link) -> tuple[dict[str, str], Fact]:
    child, parent = truth.of(link.child)[0], truth.of(link.parent)[0]
    values = {link.child: child.name, link.parent: parent.name, plural(link.child): child.name}
    return values, name_of(parent)


def _pair_asks(truth: Truth) -> list[Ask]:
    return [
        pair_ask(table, column)
        for table in truth.schema.tables
        for column in truth.facts(table.name)
        if column.type in COMPARED
    ]
