"""What every statement of a tool must be, whoever wrote it and whenever it is first seen: one, sealed, deterministic.

SQL in a specification is checked here before the first episode, SQL that a program makes up before it first runs.
"""

from collections.abc import Collection

import apsw

from envs.state import State, Statement


class StatementRefused(Exception):
    """A statement that may not run: `what` is wrong with it, and the remedy (None where the SQL itself is wrong)."""

    def __init__(self, what: str, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def check_statement(sql: str, state: State, may_write: bool, queries: Collection[str] = ()) -> Statement:
    """Prepare a statement under the seal without running it. Raises StatementRefused.

    queries: bound names that hold a checked query; what else is matched with an index could break it.
    """
    from envs.search_sql import search_fault
    from envs.sql_text import REMEDY, UnreadableSql

    if "\x00" in sql:
        raise StatementRefused("holds NUL, where SQLite stops reading", "Remove it")
    if "localtime" in sql.casefold():
        raise StatementRefused("uses localtime, which differs between machines", "The clock has no zone: leave it out")
    try:
        seen = state.inspect(sql, may_write)
    except apsw.Error as error:
        raise StatementRefused(state.seal.refused or str(error).removeprefix("SQLError: ")) from error
    if not seen.text or (not seen.columns and not may_write):
        one = "Write one statement" if may_write else "Write one SELECT"
        raise StatementRefused("there is no statement", one)
    if sql[len(seen.text) :].strip("; \n\t") or seen.explains:
        what = "explains a statement" if seen.explains else "more than one statement"
        raise StatementRefused(what, "Write exactly one statement")
    try:
        fault = search_fault(sql, seen.reads, state.base.indexes, queries)
    except UnreadableSql as error:
        raise StatementRefused(str(error), REMEDY) from error
    if fault is not None:
        raise StatementRefused(fault, "Ask an index once, with MATCH and a parameter of format query")
    if may_write and not seen.writes:
        raise StatementRefused("an effect that changes nothing", "Write an INSERT, UPDATE or DELETE")
    if may_write and seen.columns:
        raise StatementRefused("a write with RETURNING", "Remove it, and select the rows afterwards")
    return seen
