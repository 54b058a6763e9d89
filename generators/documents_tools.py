"""The table of documents, and the two tools that search it and open a document. Both are declared in SQL (tier 1)."""

from envs.search import index_name
from envs.spec import Column, Parameter, Returns, Table, Tool
from generators.operations import Compiled, Kind, Operation

SEARCH, OPEN = "search", "open"
HITS = 6
SNIPPET_WORDS = 12
TITLE_WEIGHT = 8.0
"""How much more a word of the title counts than one of the body."""
_TABLE = "document"
_INDEX = index_name(_TABLE)

DOCUMENTS = Table(
    name=_TABLE,
    id_prefix="DOC",
    description="what the archive holds",
    columns=(Column(name="title", type="text"), Column(name="body", type="text")),
    full_text=("title", "body"),
)
DOCUMENT_TOOLS = (
    Compiled(
        Tool(
            name=SEARCH,
            description=f"Find up to {HITS} documents by words, best first.",
            parameters=(
                Parameter(name="query", type="string", description='words, or a "phrase" in quotes', format="query"),
            ),
            returns=Returns(
                sql=f"SELECT {_TABLE}.id, {_TABLE}.title, snippet({_INDEX}, 1, '', '', '…', {SNIPPET_WORDS}) "
                f"AS snippet FROM {_INDEX} JOIN {_TABLE} ON {_TABLE}.rowid = {_INDEX}.rowid "
                f"WHERE {_INDEX} MATCH :query "
                # Rounded, so that the last bit of a logarithm, which differs between machines, decides nothing.
                f"ORDER BY round(bm25({_INDEX}, {TITLE_WEIGHT}, 1.0), 6), {_TABLE}.id LIMIT {HITS}",
                shape="many",
            ),
        ),
        Operation(kind=Kind.SEARCH, table=_TABLE),
    ),
    Compiled(
        Tool(
            name=OPEN,
            description="Read one document.",
            parameters=(
                Parameter(name="document_id", type="string", description="document id", source=f"{_TABLE}.id"),
            ),
            returns=Returns(sql=f"SELECT title, body FROM {_TABLE} WHERE id = :document_id"),
        ),
        Operation(kind=Kind.READ, table=_TABLE),
    ),
)
