"""A small archive, written by hand: five documents, a search and a tool to open one."""

from pydantic import JsonValue

from envs.spec import Column, EnvironmentSpec, Parameter, Returns, Table, Tool
from envs.task import Fact, Goal, Task, Toolbox, ToolCall

CLOCK = "2026-03-02T09:00:00"
DOCUMENTS: tuple[tuple[JsonValue, ...], ...] = (
    (
        "DOC-3",
        "Silent Harbour",
        "A small picture of boats, signed and framed. Silent Harbour was painted by Anna Berg.",
    ),
    ("DOC-8", "Anna Berg", "The artist grew up by the sea and never left it. She was born on 4 May 1931 in Lund."),
    ("DOC-12", "Golden Mill", "A large picture, often lent to others, on a wooden board. It was bought for $1,200."),
    (
        "DOC-17",
        "Silent Garden",
        "A picture that hangs in the hall on the upper floor. It was bought for $950 in Malmö.",
    ),
    ("DOC-21", "Ben Okri", "The artist taught for many years at a school in town. He was born on 9 June 1940 in Oslo."),
)
SEARCH = (
    "SELECT document.id, document.title, snippet(document_fts, 1, '', '', '…', 6) AS snippet "
    "FROM document_fts JOIN document ON document.rowid = document_fts.rowid WHERE document_fts MATCH :query "
    "ORDER BY round(bm25(document_fts, 8.0, 1.0), 6), document.id LIMIT 3"
)
QUERY = Parameter(name="query", type="string", format="query")
TABLE = Table(
    name="document",
    id_prefix="DOC",
    columns=(Column(name="title", type="text"), Column(name="body", type="text")),
    full_text=("title", "body"),
)
OPEN = Tool(
    name="open",
    description="Read one document.",
    parameters=(Parameter(name="document_id", type="string", source="document.id"),),
    returns=Returns(sql="SELECT title, body FROM document WHERE id = :document_id"),
)


def search_tool(sql: str = SEARCH, *parameters: Parameter) -> Tool:
    """A tool of this SQL, with the query and further parameters."""
    returns = Returns(sql=sql, shape="many")
    return Tool(name="search", description="Search.", parameters=(QUERY, *parameters), returns=returns)


def archive_spec(*more: Tool, tables: tuple[Table, ...] = (TABLE,), search: Tool | None = None) -> EnvironmentSpec:
    """The archive, with more tools."""
    return EnvironmentSpec(
        domain="archive",
        title="Archive",
        policy="Search, then open.",
        tables=tables,
        rows={"document": DOCUMENTS},
        tools=(search or search_tool(), OPEN, *more),
        clock=CLOCK,
        seed=1,
    )


def search(query: str) -> ToolCall:
    return ToolCall(tool="search", arguments={"query": query})


def opened(document_id: str) -> ToolCall:
    return ToolCall(tool="open", arguments={"document_id": document_id})


def question(spec: EnvironmentSpec, instruction: str, golden: list[ToolCall], answer: str, *facts: Fact) -> Task:
    """A task that asks for facts."""
    return Task(
        environment_id=spec.id,
        domain=spec.domain,
        instruction=instruction,
        golden=tuple(golden),
        golden_answer=answer,
        goal=Goal(facts=facts),
        difficulty=len(golden),
        toolbox=Toolbox(tools=("search", "open"), call_prices_usd={}, input_usd_per_mtok=1, output_usd_per_mtok=1),
    )
