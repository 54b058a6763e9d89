"""What SQL tries in order to get out, or to stay, in programs and in declared tools: no attempt leaves a trace."""

import pytest

from envs.environment import Environment
from envs.errors import SpecError
from envs.spec import Returns, Tool
from tests.envs.containment import contained
from tests.envs.programs import needs_workers, shop_with, unread
from tests.fixtures import call

SQL = {
    "attach": "ATTACH DATABASE '/tmp/escaped.db' AS x",
    "pragma": "PRAGMA foreign_keys = OFF",
    "pragma the engine needs": "PRAGMA table_xinfo(orders)",
    "pragma as a table": "SELECT name FROM pragma_table_info('orders')",
    "extension": "SELECT load_extension('/tmp/x.so')",
    "file": "SELECT readfile('/etc/passwd')",
    "schema": "SELECT sql FROM sqlite_master",
    "schema of temporary tables": "SELECT sql FROM sqlite_temp_schema",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "begin": "BEGIN",
    "the engine's savepoint": "RELEASE call",
    "a savepoint": "SAVEPOINT mine",
    "two statements": "SELECT 1 AS x; DELETE FROM orders",
    "a statement behind NUL": "SELECT 1 AS x\x00; DELETE FROM orders",
    "a statement behind a comment": "SELECT 1 AS x; -- x\nDELETE FROM orders",
    "definition": "CREATE TABLE t (x)",
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON orders BEGIN DELETE FROM customers; END",
    "temporary trigger": "CREATE TEMP TRIGGER t AFTER UPDATE ON orders BEGIN DELETE FROM customers; END",
    "view": "CREATE TEMP VIEW v AS SELECT 1",
    "virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "drop": "DROP TABLE orders",
    "alter": "ALTER TABLE orders ADD COLUMN x",
    "vacuum": "VACUUM INTO '/tmp/escaped.db'",
    "analyze": "ANALYZE",
    "explain": "EXPLAIN SELECT 1",
    "chance": "SELECT random() AS x",
    "chance in bytes": "SELECT hex(randomblob(8)) AS x",
    "what other episodes did": "SELECT total_changes() AS x",
    "local time": "SELECT datetime('now', 'localtime') AS x",
    "other tables": "SELECT * FROM dbstat",
    "schema, quoted": "SELECT * FROM [sqlite_master]",
    "schema in a subquery": "SELECT (SELECT sql FROM main.sqlite_schema LIMIT 1) AS x",
    "schema, counted": "SELECT count(*) AS x FROM sqlite_master",
    "pages": "SELECT * FROM sqlite_dbpage",
    "functions": "SELECT * FROM pragma_function_list",
    "detach": "DETACH DATABASE main",
    "temporary table": "CREATE TEMP TABLE t AS SELECT * FROM customers",
    "chance in an order": "SELECT id FROM orders ORDER BY random()",
    "the engine's version": "SELECT sqlite_version() AS x",
    "rows changed before": "SELECT changes() AS x",
    "write a file": "SELECT writefile('/tmp/escaped', 'x') AS x",
    "two loops in one": f"SELECT count(*) AS x FROM {', '.join(f'orders o{n}' for n in range(12))}",
    "deep subqueries": f"SELECT {'(SELECT ' * 150}1{')' * 150} AS x",
    "trim a long text with a long one": "SELECT trim(printf('%.90000c', 'a'), printf('%.90000c', 'b') || 'a') AS x",
    "search a long text for a long one, often": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT sum(instr(printf('%.90000c', 'a'), printf('%.45000c', 'a') || i)) AS x FROM n",
    "spell a long text out of a long one": "SELECT unhex(printf('%.90000c', 'z'), printf('%.90000c', 'y') || 'z') AS x",
    "replace a long text in a long one": "SELECT replace(printf('%.90000c', 'a'), printf('%.45000c', 'a'), '') AS x",
    "liken a long text to a long pattern": "SELECT printf('%.90000c', 'a') LIKE printf('%.900c', 'a') || 'b' AS x",
    "sort on the stack": "SELECT median(quantity) AS x FROM orders",
    "endless long texts": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT max(length(printf('%.90000c', i))) AS x FROM n",
    "sort endless long texts": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT DISTINCT printf('%.90000c', i) AS x FROM n ORDER BY x",
    "texts that double": "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) "
    "SELECT max(length(s)) AS x FROM n",
    "endless": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS x FROM n",
    "endless rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n",
    "giant text": "SELECT printf('%.2000000c', 'x') AS x",
    "text that is no text": "SELECT CAST(x'ff' AS TEXT) AS x",
    "bytes": "SELECT x'00' AS x",
    "infinity": "SELECT 9e999 AS x",
    "an integer beyond JSON": "SELECT 9223372036854775807 AS x",
    "overflow": "SELECT sum(9223372036854775807) AS x FROM orders",
    "nothing": "-- nothing",
    "positions": "SELECT ? AS x",
    "too much SQL": "SELECT " + "1 + " * 20_000 + "1 AS x",
}
ROWS = {
    "many rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n",
    "much text": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) "
    "SELECT i, printf('%.90000c', 'x') AS x FROM n",
}
"""What a program may not fetch; a declared tool shows its first fifty rows."""
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)"
WRITES = {
    "endless": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "UPDATE orders SET quantity = (SELECT max(i) FROM n)",
    "fills the memory": f"{NUMBERS} INSERT INTO customers SELECT 'X-' || i, printf('%.90000c', 'x'), i, '' FROM n",
    "many rows": f"{NUMBERS} INSERT INTO customers SELECT 'X-' || i, 'x', i, 'x' FROM n",
    "rolls back": "INSERT OR ROLLBACK INTO customers VALUES ('CUS-1', 'A', 'a@b.c', 'X')",
    "reads": "SELECT 1 AS x",
    "defers the foreign keys": "PRAGMA defer_foreign_keys = ON",
    "the engine's savepoint": "ROLLBACK TO call",
    "tells the schema": "UPDATE orders SET quantity = 1 RETURNING (SELECT sql FROM sqlite_master)",
    "gives rows back": "UPDATE orders SET quantity = 1 RETURNING printf('%.99000c', 'x')",
    "by chance": "DELETE FROM orders WHERE quantity > random()",
    "of two": "DELETE FROM orders; DELETE FROM products",
    "writes the schema": "UPDATE sqlite_master SET sql = ''",
    "deletes the schema": "DELETE FROM sqlite_schema",
}


@needs_workers
@pytest.mark.parametrize("attempt", {**SQL, **ROWS})
@pytest.mark.parametrize("function", ["db_query", "db_exec"])
def test_no_sql_of_a_program_gets_out(attempt: str, function: str) -> None:
    sql = {**SQL, **ROWS}[attempt]
    with unread(f"db_exec('UPDATE orders SET quantity = 7')\nreturn {function}({sql!r})", writes=True) as environment:
        contained(environment)


@needs_workers
@pytest.mark.parametrize("attempt", WRITES)
@pytest.mark.parametrize("swallowed", [False, True])
def test_no_write_of_a_program_takes_the_episode_with_it(attempt: str, swallowed: bool) -> None:
    write = f"db_exec({WRITES[attempt]!r})"
    if swallowed:
        write = f"try:\n    {write}\nexcept BaseException:\n    pass\ndb_exec('UPDATE orders SET quantity = 8')"
    with unread(f"db_exec('UPDATE orders SET quantity = 7')\n{write}\nreturn 1", writes=True) as environment:
        contained(environment)


@needs_workers
def test_constraints_refuse_a_write_and_nothing_of_the_call_stays() -> None:
    code = (
        "db_exec('UPDATE orders SET quantity = 7')\ndb_exec(\"UPDATE OR FAIL customers SET email = 'same'\")\nreturn 1"
    )
    with unread(code, writes=True) as environment:
        replay = environment.replay([call("program"), call("cancel_order", order_id="ORD-1")])
    assert replay.results[0].error == "program: another row of customers already has this email"
    assert [change.key for change in replay.changeset] == ["ORD-1", "PRD-1"]


@pytest.mark.parametrize("attempt", [*SQL, *ROWS])
def test_no_sql_of_a_declared_tool_gets_out(attempt: str) -> None:
    sql = {**SQL, **ROWS}[attempt]
    tool = Tool(name="program", description="", returns=Returns(sql=sql))
    try:
        environment = Environment.load(shop_with(tool))
    except SpecError:
        return
    with environment:
        if attempt in ROWS:
            assert environment.replay([call("program")]).results[0].ok
        else:
            contained(environment)


@pytest.mark.parametrize("attempt", WRITES)
def test_no_write_of_a_declared_tool_takes_the_episode_with_it(attempt: str) -> None:
    effects = ("UPDATE orders SET quantity = 7", WRITES[attempt])
    tool = Tool(name="program", description="", effects=effects, returns=Returns(sql="SELECT 1 AS x"))
    try:
        environment = Environment.load(shop_with(tool))
    except SpecError:
        return
    with environment:
        contained(environment)
