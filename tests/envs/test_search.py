"""Full-text search: what a caller may write, what SQL may ask, and that neither can break or change the environment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.environment import Environment
from envs.errors import SpecError
from envs.proof import CheckOutcome, prove
from envs.search import MAX_REPEATS
from envs.spec import Column, Parameter, Program, Returns, Table, Tool
from envs.task import Fact, ToolCall
from tests.envs.archive import QUERY, SEARCH, TABLE, archive_spec, opened, question, search, search_tool
from tests.fixtures import shop_spec

BORN = Fact(label="birth of Anna Berg", kind="date", value="1931-05-04")
WHO = "When was the painter of Silent Harbour born?"
HOPS = [search("Silent Harbour"), opened("DOC-3"), search("Anna Berg"), opened("DOC-8")]


@pytest.fixture(scope="module")
def archive() -> Environment:
    return Environment.load(archive_spec())


def found(archive: Environment, query: str) -> list[str]:
    with archive.episode() as episode:
        rows = episode.attempt(search(query)).value
    assert isinstance(rows, list)
    return [str(row["id"]) for row in rows if isinstance(row, dict)]


def test_the_best_documents_come_first_and_no_more_than_asked_for(archive: Environment) -> None:
    assert found(archive, "Silent Harbour") == ["DOC-3", "DOC-17"]
    assert len(found(archive, "picture artist bought born")) == 3


def test_words_are_found_inflected_and_without_accents_and_phrases_as_a_whole(archive: Environment) -> None:
    assert found(archive, "BOAT painting")[0] == "DOC-3"
    assert found(archive, "malmo") == ["DOC-17"]
    assert found(archive, '"upper floor"') == ["DOC-17"]
    assert found(archive, '"floor upper"') == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('the "Silent Harbour', "quotation mark that is never closed"),
        ("?! --", "a word to search for"),
        ("", "a word to search for"),
        (" ".join(f"word{n}" for n in range(33)), "at most 32 different words, not 33"),
    ],
)
def test_a_malformed_query_is_answered_with_what_to_do_and_breaks_nothing(
    archive: Environment, query: str, said: str
) -> None:
    with archive.episode() as episode:
        result = episode.attempt(search(query))
        assert not result.ok and said in str(result.error)
        assert episode.attempt(search("harbour")).ok


@given(st.text(max_size=80))
@settings(max_examples=300)
def test_no_query_breaks_the_environment(archive: Environment, query: str) -> None:
    with archive.episode() as episode:
        episode.attempt(search(query))
        assert episode.broken is None and episode.changeset() == ()


@pytest.mark.parametrize(
    "query", ["title : Anna", "NEAR(silent harbour)", "silent NOT harbour", "ann*", "^Anna", "a AND (b", "-title"]
)
def test_the_operators_of_the_engine_are_words_like_any_other(archive: Environment, query: str) -> None:
    with archive.episode() as episode:
        assert episode.attempt(search(query)).ok


def test_equal_archives_have_equal_bytes_and_answer_alike_in_both_scan_orders(archive: Environment) -> None:
    assert Environment.load(archive_spec()).base.sha256 == archive.base.sha256
    calls = [search("picture bought"), search("artist born school"), opened("DOC-12")]
    assert archive.replay(calls) == archive.replay(calls, reverse_unordered_selects=True)


WITH = "FROM document_fts JOIN document ON document.rowid = document_fts.rowid WHERE document_fts MATCH :query"


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT document.id FROM document_fts('berg') JOIN document ORDER BY :query", "outside of"),
        ("SELECT title FROM document_fts WHERE document_fts = :query ORDER BY title", "outside of"),
        (f"SELECT document.id {WITH} || '*' ORDER BY document.id", "outside of"),
        (f"SELECT document.id {WITH} AND rank MATCH 'x' ORDER BY document.id", "uses rank"),
        (f"SELECT document.id {WITH} AND document_fts MATCH :query ORDER BY document.id", "with 2 MATCH"),
        ("SELECT title FROM document_fts WHERE title MATCH :query ORDER BY title", "outside of"),
        ("SELECT f.title FROM document_fts AS f WHERE f.document_fts MATCH :query ORDER BY 1", "outside of"),
        (f"SELECT document.id {WITH} ORDER BY rank, document.id", "uses rank"),
        ("SELECT f.title FROM 'document_fts' AS f WHERE f.title > :query ORDER BY 1", "outside of"),
        (f"SELECT document.id {WITH} OR document.title = 'x' ORDER BY 1", "outside of"),
        (f"SELECT document.id {WITH} AND document.title IN (SELECT title FROM [document_fts] AS f) ORDER BY 1", "uses"),
        (f"SELECT document.id {WITH} AND document_fts.title/**/MATCH 'x' ORDER BY 1", "uses MATCH"),
        ("SELECT id FROM document WHERE title LIKE :query ORDER BY id", "outside of"),
        (f"SELECT block AS id {WITH.replace('document ON', 'document_fts_data ON')} ORDER BY 1", "not a table"),
        (f"SELECT highlight(document_fts, 1, '', '') AS id {WITH} ORDER BY document.id", "the function highlight()"),
        (f"SELECT sum(bm25(document_fts)) AS id {WITH} ORDER BY 1", "unable to use function bm25"),
    ],
)
def test_sql_may_ask_an_index_with_one_match_of_a_query_and_in_no_other_way(sql: str, what: str) -> None:
    with pytest.raises(SpecError, match=r"tools\.search\.returns") as error:
        Environment.load(archive_spec(search=search_tool(sql)))
    assert what in str(error.value)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT document.id {WITH.replace('WHERE', 'WHERE document.id <> :from AND')} GROUP BY document.id ORDER BY 1",
        "SELECT id FROM document WHERE rowid IN (SELECT [document_fts].rowid FROM `document_fts` -- the index"
        '\nWHERE "document_fts" MATCH:query) AND id <> :from ORDER BY id',
    ],
)
def test_an_index_may_be_asked_in_any_of_the_ways_to_write_it(sql: str) -> None:
    Environment.load(archive_spec(search=search_tool(sql, Parameter(name="from", type="string"))))


@pytest.mark.parametrize("indexed", [True, False])
def test_match_is_a_name_like_any_other(indexed: bool) -> None:
    """Only the operator is the index's own: columns, tables, parameters and tools may have its name."""
    columns = (Column(name="match", type="text"),)
    tool = Tool(
        name="match",
        description="",
        parameters=(Parameter(name="match", type="string"),),
        returns=Returns(sql='SELECT "match"."match" AS "match" FROM "match" WHERE "match" = :match', shape="scalar"),
    )
    spec = archive_spec(tool) if indexed else shop_spec(tools=(tool,))
    spec = spec.model_copy(
        update={
            "tables": (*spec.tables, Table(name="match", id_prefix="MAT", columns=columns)),
            "rows": {**spec.rows, "match": (("MAT-1", "final"),)},
        }
    )
    with Environment.load(spec).episode() as episode:
        assert episode.call("match", match="final").value == "final"


@pytest.mark.parametrize(
    ("effect", "what"),
    [
        ("INSERT INTO document_fts (document_fts) VALUES ('delete-all')", "writes document_fts"),
        ("INSERT INTO document_fts (title, body) VALUES ('x', 'y')", "writes document_fts"),
        ("DELETE FROM document_fts_data", "may not be modified"),
        ("UPDATE document SET title = 'x'", "has a full-text index and stays as it is"),
        ("DELETE FROM document WHERE id = 'DOC-3'", "has a full-text index and stays as it is"),
    ],
)
def test_nothing_writes_what_is_indexed(effect: str, what: str) -> None:
    tool = Tool(name="spoil", description="", effects=(effect,), returns=Returns(sql="SELECT 1 AS done"))
    with pytest.raises(SpecError) as error:
        Environment.load(archive_spec(tool))
    assert what in str(error.value)


def test_a_program_cannot_match_what_it_makes_up() -> None:
    code = 'db_query("SELECT title FROM document_fts WHERE document_fts MATCH :q", {"q": text})'
    tool = Tool(
        name="find",
        description="",
        parameters=(Parameter(name="text", type="string"),),
        program=Program(code=code),
    )
    with pytest.raises(SpecError, match="parameter of format query"):
        Environment.load(archive_spec(tool))


def test_a_query_needs_an_index_and_an_index_needs_texts() -> None:
    plain = TABLE.model_copy(update={"full_text": ()})
    with pytest.raises(SpecError, match="no such table"):
        Environment.load(archive_spec(tables=(plain,)))
    unsearched = search_tool("SELECT id FROM document WHERE title = :query ORDER BY id")
    with pytest.raises(SpecError, match="outside of"):
        Environment.load(archive_spec(tables=(plain,), search=unsearched))
    with pytest.raises(SpecError, match="nothing is no text column"):
        Environment.load(archive_spec(tables=(TABLE.model_copy(update={"full_text": ("nothing",)}),)))
    taken = Table(name="document_fts", id_prefix="F", columns=(Column(name="x", type="text"),))
    with pytest.raises(SpecError, match="Rename the table"):
        Environment.load(archive_spec(tables=(TABLE, taken)))


def test_a_question_over_two_documents_is_proven(archive: Environment) -> None:
    task = question(archive.spec, WHO, HOPS, "On 1931-05-04.", BORN)
    proof = prove(task, archive)
    assert proof.accepted, proof.rejected_by
    assert all(proof.check(name).outcome is CheckOutcome.PASSED for name in ("discoverable", "no_leak", "minimal"))


def rejected(archive: Environment, golden: list[ToolCall], instruction: str = WHO) -> dict[str, str]:
    proof = prove(question(archive.spec, instruction, golden, "On 1931-05-04.", BORN), archive)
    return {name: proof.check(name).evidence for name in proof.rejected_by}


def test_a_query_of_words_that_nobody_said_is_not_discoverable(archive: Environment) -> None:
    assert "query 'Anna Berg'" in rejected(archive, HOPS[2:])["discoverable"]
    assert "discoverable" not in rejected(archive, HOPS[2:], "When was the painter Anna Berg born?")


def test_a_search_or_a_document_that_leads_nowhere_is_not_minimal(archive: Environment) -> None:
    assert "call 0 (search)" in rejected(archive, [search("painter"), *HOPS])["minimal"]
    aside = [*HOPS[:1], opened("DOC-17"), *HOPS[1:]]
    assert "call 1 (open)" in rejected(archive, aside)["minimal"]
    said = "Anna Berg is said to have painted Silent Harbour. When was she born?"
    assert "nothing it tells is used" in rejected(archive, HOPS, said)["minimal"]


def test_a_document_whose_search_result_tells_it_all_is_not_needed() -> None:
    chatty = Environment.load(archive_spec(search=search_tool(SEARCH.replace("'…', 6", "'…', 60"))))
    assert "call 1 (open): nothing it tells is used" in rejected(chatty, HOPS)["minimal"]
    assert not rejected(chatty, [HOPS[0], HOPS[2]])


def bought(*paid: int) -> Fact:
    parts = tuple(
        Fact(label=f"price of {name}", kind="cents", value=cents)
        for name, cents in zip(("Golden Mill", "Silent Garden"), paid, strict=True)
    )
    return Fact(label="both prices", kind="cents", value=sum(paid), drawn_from=parts)


def test_a_fact_drawn_from_two_documents_needs_both_and_only_what_they_tell(archive: Environment) -> None:
    asked = "What did Golden Mill and Silent Garden cost together?"
    golden = [search("Golden Mill"), opened("DOC-12"), search("Silent Garden"), opened("DOC-17")]

    def rejected_by(calls: list[ToolCall], fact: Fact) -> tuple[str, ...]:
        return prove(question(archive.spec, asked, calls, f"{fact.value} cents", fact), archive).rejected_by

    assert rejected_by(golden, bought(120_000, 95_000)) == ()
    assert rejected_by(golden, bought(120_000, 96_000)) == ("minimal", "discoverable")
    assert rejected_by(golden[:2], bought(120_000, 95_000)) == ("discoverable",)
    aside = [*golden, search("cost together")]
    assert rejected_by(aside, bought(120_000, 95_000)) == ("minimal",)


def test_a_query_is_a_text_for_those_who_call_over_json_schema() -> None:
    from envs.json_schema import input_schema

    schema = input_schema(search_tool())
    assert schema["properties"][QUERY.name] == {"type": "string"}


def test_a_text_that_repeats_one_word_too_often_is_refused_at_load() -> None:
    """Cutting a snippet out of it would take minutes, which nothing can interrupt."""
    text = "The waves, and the waves. " * (MAX_REPEATS // 2 + 1)
    spec = archive_spec()
    spec = spec.model_copy(update={"rows": {"document": (*spec.rows["document"], ("DOC-40", "Waves", text))}})
    with pytest.raises(
        SpecError, match=rf"rows.document\[5\]: the word '\w+' stands there more than {MAX_REPEATS} times"
    ):
        Environment.load(spec)
