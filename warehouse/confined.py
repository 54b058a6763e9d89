"""What keeps somebody's SQL to the warehouse: one question at a time, no file, no network, no setting changed.

A read-only connection alone is not enough: `COPY … TO` and `EXPORT DATABASE` write files, `read_text` reads any.
"""

import re
from itertools import pairwise

import duckdb

from warehouse.errors import NotOneQuestion

_SETTINGS = (
    "SET temp_directory = ''",  # what does not fit into memory is refused, and not written beside the warehouse
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",  # a table's name never means one of our variables
    "SET lock_configuration = true",
)
_RUNS_TEXT = {"query", "query_table"}
"""Functions that run SQL which is no part of the question's own text."""
_NAME = re.compile(r'"?(\w+)')
_QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def confine(connection: duckdb.DuckDBPyConnection, data_path: str | None = None) -> None:
    """Close everything but the attached databases; a lake's files lie under `data_path`. It cannot be undone."""
    if data_path is not None:
        connection.execute("SET allowed_directories = ?", [[data_path]])
    for setting in _SETTINGS:
        connection.execute(setting)


def require_one_question(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise `NotOneQuestion` unless the SQL is one SELECT (also SHOW, DESCRIBE, SUMMARIZE) or EXPLAIN.

    On a lake it must call no function of an extension either: those of Postgres reach other servers.
    Raises `duckdb.Error` for what is no SQL.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _QUESTIONS:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise NotOneQuestion(f"The warehouse is read-only and takes one SELECT at a time, not {kinds}.")
    if (extensions := _extension_functions(connection)) and (closed := _called(sql) & (extensions | _RUNS_TEXT)):
        raise NotOneQuestion(f"{min(closed)} reaches beyond the warehouse. Ask the tables and views alone.")


def _called(sql: str) -> set[str]:
    """The names in front of a parenthesis, lower case. DuckDB's own tokens: no other parser has all of its SQL."""
    text = sql.encode()
    starts = [start for start, _ in duckdb.tokenize(sql)]
    pieces = [text[start:end].decode() for start, end in pairwise([*starts, len(text)])]  # with the space behind each
    names = [_NAME.match(piece) for piece, following in pairwise(pieces) if following.startswith("(")]
    return {name[1].lower() for name in names if name}


def _extension_functions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The functions that DuckDB has here and not by itself."""
    names = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name SIMILAR TO '\\w+'"
    with duckdb.connect() as plain:
        builtin = {name for (name,) in plain.execute(names).fetchall()}
    return {name for (name,) in connection.execute(names).fetchall()} - builtin
