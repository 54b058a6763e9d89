"""Full-text search over a table's texts: its index, and what a caller may write as a query.

An index is part of the base state and never changes. What a caller writes becomes an expression of quoted words, so no
operator of the search engine's own language is reachable, and no query can break the environment.
"""

import re

import apsw

from envs.schema import quoted
from envs.spec import Table

SUFFIX = "_fts"
FUNCTIONS = frozenset({"match", "bm25", "snippet"})
"""What SQL may use besides the functions every statement may use, where the domain has an index."""
SHADOWS = ("config", "data", "docsize", "idx")
"""Tables in which SQLite keeps an index; the index reads them itself."""
MAX_WORDS = 32
"""Different words and phrases of one query."""
MAX_REPEATS = 200
"""How often one word may stand in the indexed texts of a row: snippet() compares every match with every other."""
_TERMS = re.compile(r'"([^"]*)"|([^\s"]+)')
_WORD = re.compile(r"[^\W_]+")


def index_name(table: str) -> str:
    """What SQL calls the index of a table."""
    return f"{table}{SUFFIX}"


def create_index(connection: apsw.Connection, table: Table) -> None:
    """Index the texts of a filled table; its rows must not change afterwards."""
    index = quoted(index_name(table.name))
    columns = ", ".join(quoted(column) for column in table.full_text)
    # Words are found in any inflection and without their accents. The texts themselves stay in the table only.
    connection.execute(
        f"CREATE VIRTUAL TABLE {index} USING fts5({columns}, content={quoted(table.name)}, "
        "tokenize='porter unicode61 remove_diacritics 2')"
    )
    connection.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
    connection.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")


def most_repeated(connection: apsw.Connection, table: str) -> tuple[int, str] | None:
    """The row (counted from 0) and the word of a table that stands in it more than `MAX_REPEATS` times, if any."""
    connection.execute(f"CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, {quoted(index_name(table))}, instance)")
    counted = "SELECT doc - 1, term FROM temp.words GROUP BY doc, term HAVING count(*) > ? ORDER BY 1, 2 LIMIT 1"
    repeated = connection.execute(counted, (MAX_REPEATS,)).fetchone()
    connection.execute("DROP TABLE temp.words")
    return repeated


def open_index(connection: apsw.Connection, table: str) -> None:
    """Let SQLite read an index's settings, which it does at its first use and which no sealed statement may."""
    connection.execute(f"SELECT 1 FROM {quoted(index_name(table))} LIMIT 0").fetchall()


def query_problem(text: str) -> str | None:
    """Why a text is no query, in words for its caller; None if it is one."""
    if text.count('"') % 2:
        return "has a quotation mark that is never closed"
    terms = _terms(text)
    if not terms:
        return "must contain a word to search for"
    if len(terms) > MAX_WORDS:
        return f"must be at most {MAX_WORDS} different words, not {len(terms)}"
    return None


def match_expression(text: str) -> str:
    """The expression that finds what holds any of the query's words, or its quoted phrases."""
    return " OR ".join(f'"{term}"' for term in _terms(text))


def words_of(text: str) -> set[str]:
    """The different words of a text, lower case: what a query is made of."""
    return {word.casefold() for word in _WORD.findall(text)}


def _terms(text: str) -> list[str]:
    """Words, and the words of each quoted phrase, each once, in order. A lone letter is a word only by itself."""
    terms: list[str] = []
    for phrase, piece in _TERMS.findall(text):
        terms += [" ".join(_WORD.findall(phrase))] if phrase else _WORD.findall(piece)
    distinct = [term for term in dict.fromkeys(terms) if term]
    return [term for term in distinct if len(term) > 1 or term.isdigit()] or distinct
