"""Which SQL reaches no function of an extension, whatever it is written like."""

import duckdb
import pytest

from warehouse.confined import require_one_question
from warehouse.errors import NotOneQuestion


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.create_function("reach_out", lambda text: text, ["VARCHAR"], "VARCHAR")
    connection.execute("CREATE TABLE t (x VARCHAR, y INTEGER)")
    return connection


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT reach_out('x')",
        "SELECT reach_out/* as if it were a name */('x')",
        "SELECT \"Reach_Out\" -- a name\n ('x')",
        "EXPLAIN SELECT main.reach_out('x')",
        "PIVOT (SELECT reach_out(x) AS x, y FROM t) ON x IN ('a') USING sum(y)",
        "FROM query/**/('SELECT 1')",
    ],
)
def test_a_function_of_an_extension_is_refused_by_its_name(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(NotOneQuestion, match=r"^(reach_out|query) reaches beyond the warehouse"):
        require_one_question(connection, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'reach_out(' AS é, $$query('x')$$ -- reach_out(",
        "SELECT reach_out FROM (SELECT 1 AS reach_out)",
        "PIVOT t ON x IN ('a') USING sum(y)",
        "SUMMARIZE t",
    ],
)
def test_a_text_or_column_of_such_a_name_is_none(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    require_one_question(connection, sql)
