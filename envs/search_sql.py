"""What a tool's SQL may ask of a full-text index: rows by MATCH with one checked query, their rank and a snippet.

Only what is listed here is allowed: SQLite takes an index's own name as a column, a function and a command, too.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from sqlglot import expressions as exp
from sqlglot.tokens import Token, TokenType

from envs.search import SUFFIX
from envs.sql_text import sql_tokens, syntax_tree

_OF_AN_INDEX = ("bm25", "snippet")


def search_fault(sql: str, reads: frozenset[str], indexes: Collection[str], queries: Collection[str]) -> str | None:
    """What is wrong with how a statement uses an index or a query; None if all is well.

    sql: one statement that SQLite has prepared. reads: the tables and indexes that SQLite says it reads. queries: the
    names that are bound to a checked query (`envs.search.match_expression`). Every word that names an index, a query
    or the operator MATCH must be part of a use that is allowed: what the syntax tree does not show is thus refused.
    Raises UnreadableSql.
    """
    tokens = sql_tokens(sql)
    bound = _bound_names(tokens)
    words = [token for token in tokens if token not in bound]
    names = [token for token in words if token.text.casefold() in indexes]
    asked = [token for token in bound if _bare(token) in queries]
    # Where nothing can be searched, the seal refuses the operator, and its word is a name like any other.
    operators = [token for token in words if token.token_type is TokenType.MATCH] if indexes else []
    is_read = bool(names) or not reads.isdisjoint(indexes)
    if not (is_read or asked or operators):
        return None
    tree = syntax_tree(sql)
    searches = [match for match in tree.find_all(exp.Match) if _is_search(match, indexes, queries)]
    if len(asked) > len(searches):
        query = f":{_bare(asked[0])}"
        return f"uses the query {query} outside of <table>{SUFFIX} MATCH {query}"
    if is_read and (rank := _column_named(words, "rank")):
        return _misused(rank)
    if len(operators) > len(searches):
        return _misused(operators[0].text)
    if len(names) > len(searches) + sum(_is_allowed(node, indexes) for node in tree.find_all(exp.Table, exp.Column)):
        return _misused(names[0].text)
    return f"reads an index with {len(searches)} MATCH" if is_read and len(searches) != 1 else None


def _misused(word: str) -> str:
    return f"uses {word} otherwise than in FROM, JOIN, rowid, bm25, snippet and MATCH with a query"


def _bound_names(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of bound names: what follows : or @, and what begins with $."""
    signs = (TokenType.COLON, TokenType.PARAMETER)
    named = [token for sign, token in pairwise(tokens) if sign.token_type in signs]
    return [*named, *(token for token in tokens if token.text.startswith("$"))]


def _bare(token: Token) -> str:
    return token.text.removeprefix("$")


def _column_named(words: Sequence[Token], name: str) -> str | None:
    """The name as the statement writes it, unless it only calls a function of that name."""
    for token, following in pairwise([*words, None]):
        is_called = following is not None and following.token_type is TokenType.L_PAREN
        if token is not None and token.text.casefold() == name and not is_called:
            return token.text
    return None


def _is_search(match: exp.Match, indexes: Collection[str], queries: Collection[str]) -> bool:
    """Whether it is `<index> MATCH :query`, alone or joined by AND in a WHERE or ON."""
    condition: exp.Expr | None = match.parent
    while isinstance(condition, exp.And):
        condition = condition.parent
    query = match.expression
    return (
        isinstance(condition, exp.Where | exp.Join)
        and _is_index(match.this, indexes)
        and isinstance(query, exp.Placeholder)
        and query.name in queries
    )


def _is_allowed(node: exp.Expr, indexes: Collection[str]) -> bool:
    """Whether it names an index as a table without an alias, in `<index>.rowid`, or as what bm25 and snippet rank."""
    if isinstance(node, exp.Table):
        plain = isinstance(node.this, exp.Identifier) and not node.alias and not node.args.get("db")
        return plain and _named(node.this, indexes) and isinstance(node.parent, exp.From | exp.Join)
    if node.args.get("table") is not None:
        return node.name.casefold() == "rowid" and _named(node.args["table"], indexes) and not node.args.get("db")
    call = node.parent
    ranks = isinstance(call, exp.Anonymous) and call.name.casefold() in _OF_AN_INDEX
    return ranks and _is_index(node, indexes) and call is not None and call.expressions[0] is node


def _is_index(node: exp.Expr, indexes: Collection[str]) -> bool:
    return isinstance(node, exp.Column) and len(node.parts) == 1 and _named(node.this, indexes)


def _named(name: exp.Expr, indexes: Collection[str]) -> bool:
    return isinstance(name, exp.Identifier) and name.name.casefold() in indexes
