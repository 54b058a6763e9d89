"""The log of changes tells what SQLite's session extension tells, whatever the statements."""

import tracemalloc
from contextlib import suppress

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.changes import MAX_LOG_BYTES, ChangeLog, Row
from envs.environment import Environment
from envs.errors import EnvironmentBroken, SpecError
from envs.spec import Parameter, Returns, Tool
from tests.envs.programs import needs_workers, shop_with, unread
from tests.fixtures import call, shop_spec

KEYS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.integers(0, 2)
UPSERT = "INSERT INTO t VALUES (?, ?, 'u') ON CONFLICT (id) DO UPDATE SET v = v + 1"
STATEMENTS = st.one_of(
    st.builds(lambda k, v: ("INSERT OR IGNORE INTO t VALUES (?, ?, ?)", (k, v, None)), KEYS, VALUES),
    st.builds(lambda k, v: ("INSERT OR REPLACE INTO t VALUES (?, ?, ?)", (k, v, "r")), KEYS, VALUES),
    st.builds(
        lambda k, v: ("INSERT INTO t VALUES (?, ?, 'u') ON CONFLICT (id) DO UPDATE SET v = v + 1", (k, v)), KEYS, VALUES
    ),
    st.builds(lambda k, v: ("UPDATE t SET v = ? WHERE id = ?", (v, k)), KEYS, VALUES),
    st.builds(lambda k, to: ("UPDATE OR IGNORE t SET id = ? WHERE id = ?", (to, k)), KEYS, KEYS),
    st.builds(lambda v: ("UPDATE t SET v = ?", (v,)), VALUES),
    st.builds(lambda k: ("DELETE FROM t WHERE id = ?", (k,)), KEYS),
    st.just(("DELETE FROM t", ())),
)


def database() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE t (id TEXT PRIMARY KEY, v INTEGER, note TEXT) STRICT")
    connection.execute("CREATE TABLE child (id TEXT PRIMARY KEY, t_id TEXT REFERENCES t ON DELETE CASCADE) STRICT")
    connection.execute("INSERT INTO t VALUES ('a', 0, NULL), ('b', 1, 'x'); INSERT INTO child VALUES ('k', 'b')")
    return connection


def by_session(statements: list[tuple[str, tuple]]) -> set[tuple[str, Row | None, Row | None]]:
    """Rows before and after, put together from the session extension's changeset."""
    connection = database()
    before = rows(connection)
    session = apsw.Session(connection, "main")
    session.attach()
    for sql, bindings in statements:
        attempt(connection, sql, bindings)
    after = rows(connection)
    places = {(c.name, (c.old or c.new)[0]) for c in apsw.Changeset.iter(session.changeset())}
    return {(table, before.get((table, key)), after.get((table, key))) for table, key in places}


def rows(connection: apsw.Connection) -> dict[tuple[str, str], Row]:
    return {(table, row[0]): row for table in ("t", "child") for row in connection.execute(f"SELECT * FROM {table}")}


def attempt(connection: apsw.Connection, sql: str, bindings: tuple) -> bool:
    try:
        connection.execute(sql, bindings)
    except apsw.ConstraintError:
        return False
    return True


@settings(max_examples=300)
@given(st.lists(STATEMENTS, max_size=8))
def test_the_log_nets_to_the_session_extensions_changeset(statements: list[tuple[str, tuple]]) -> None:
    connection = database()
    log = ChangeLog(connection)
    for sql, bindings in statements:
        mark = log.mark()
        if not attempt(connection, sql, bindings):
            log.forget(mark)
    assert set(log.net()) == by_session(statements)


@settings(max_examples=150)
@given(st.lists(st.tuples(STATEMENTS, st.booleans()), max_size=8))
def test_what_was_rolled_back_is_not_in_the_log(steps: list[tuple[tuple[str, tuple], bool]]) -> None:
    connection = database()
    connection.execute("BEGIN")
    log = ChangeLog(connection)
    for (sql, bindings), kept in steps:
        connection.execute("SAVEPOINT s")
        mark = log.mark()
        if not (attempt(connection, sql, bindings) and kept):
            log.forget(mark)
            connection.execute("ROLLBACK TO s")
        connection.execute("RELEASE s")
    assert set(log.net()) == by_session([statement for statement, kept in steps if kept])


@pytest.mark.parametrize("clause", ["OR FAIL", "OR ROLLBACK"])
def test_a_statement_refused_half_way_leaves_nothing_behind(clause: str) -> None:
    """Both clauses end a statement without undoing it alone; what the call did must be gone all the same."""
    rename = Tool(
        name="rename_all",
        description="",
        parameters=(Parameter(name="email", type="string"),),
        effects=(f"UPDATE {clause} customers SET email = :email",),
        returns=Returns(sql="SELECT 1 AS done"),
    )
    environment = Environment.load(shop_spec(tools=(*shop_spec().tools, rename)))
    with environment.episode() as episode:
        before = episode.content_hash()
        assert episode.call("cancel_order", order_id="ORD-1").ok
        kept = episode.changeset()
        with suppress(EnvironmentBroken):  # what SQLite rolled back with the whole episode is lost to it
            assert not episode.attempt(call("rename_all", email="x@example.org")).ok
            assert episode.changeset() == kept
    with environment.episode() as episode:
        assert episode.content_hash() == before


LONG_ROWS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 150) "
    "INSERT INTO customers SELECT 'X-' || i, printf('%.90000c', 'x'), i, '' FROM n"
)
LONGER = "UPDATE customers SET name = printf('%.90000c', 'y')"


def refused_within_memory(environment: Environment) -> str:
    """What broke the second call, and that the first is kept; fails if Python needed more than twice the bound."""
    tracemalloc.start()
    try:
        with environment.episode() as episode:
            assert episode.call("cancel_order", order_id="ORD-1").ok
            before = episode.content_hash()
            tracemalloc.reset_peak()
            with pytest.raises(EnvironmentBroken) as broken:
                episode.call("program")
            assert tracemalloc.get_traced_memory()[1] < 2 * MAX_LOG_BYTES
            assert episode.content_hash() == before
    finally:
        tracemalloc.stop()
    return str(broken.value)


def test_changes_that_take_more_memory_than_they_may_are_undone() -> None:
    effects = (LONG_ROWS, *[LONGER] * 20)
    tool = Tool(name="program", description="", effects=effects, returns=Returns(sql="SELECT 1 AS x"))
    with Environment.load(shop_with(tool)) as environment:
        assert "take more than 64 MiB; change fewer" in refused_within_memory(environment)
        assert environment.replay([call("cancel_order", order_id="ORD-1")]).changeset


@needs_workers
def test_changes_of_a_program_are_bounded_alike() -> None:
    code = f"db_exec({LONG_ROWS!r})\nfor _ in range(20):\n    db_exec({LONGER!r})\nreturn 1"
    with unread(code, writes=True) as environment:
        assert "take more than 64 MiB; change fewer" in refused_within_memory(environment)


def test_room_for_changes_comes_back_when_they_are_undone() -> None:
    """A refused call and an episode that ended count no more."""
    effects = (LONG_ROWS, LONGER)
    fine = Tool(name="grow", description="", effects=effects, returns=Returns(sql="SELECT 1 AS x"))
    refused = fine.model_copy(update={"name": "refused", "effects": (*effects, "UPDATE customers SET email = ''")})
    with Environment.load(shop_with(fine, refused)) as environment:
        for _ in range(2):
            with environment.episode() as episode:
                for _ in range(3):
                    assert episode.call("refused").error == "refused: another row of customers already has this email"
                assert episode.call("grow").ok


def test_long_changes_of_past_episodes_take_no_memory() -> None:
    parameters = (Parameter(name="letter", type="string"),)
    effects = (LONG_ROWS, "UPDATE customers SET name = printf('%.40000c', :letter) WHERE id LIKE 'X-%'")
    grow = Tool(
        name="grow", description="", parameters=parameters, effects=effects, returns=Returns(sql="SELECT 1 AS x")
    )
    with Environment.load(shop_with(grow)) as environment:
        tracemalloc.start()
        try:
            for letter in "abcd":
                assert environment.replay([call("grow", letter=letter)]).changeset
            assert tracemalloc.get_traced_memory()[0] < 4 << 20
        finally:
            tracemalloc.stop()


def test_a_write_gives_no_rows_back() -> None:
    sql = f"{LONG_ROWS} RETURNING printf('%.99000c', 'x')"
    tool = Tool(name="program", description="", effects=(sql,), returns=Returns(sql="SELECT 1 AS x"))
    with pytest.raises(SpecError, match=r"tools.program.effects\[0\]: a write with RETURNING. Remove it"):
        Environment.load(shop_with(tool))
