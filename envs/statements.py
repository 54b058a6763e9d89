"""What every statement of a tool must be, whoever wrote it and whenever it is first seen: one, sealed, deterministic.

SQL in a specification is checked here before the first episode, SQL that a program makes up before it first runs.
"""

import re

import apsw

from envs.state import State, Statement

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARENTHESISED = re.compile(r"\([^()]*\)")


class StatementRefused(Exception):
    """A statement that may not run: `what` is wrong with it, and the remedy (None where the SQL itself is wrong)."""

    def __init__(self, what: str, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def check_statement(sql: str, state: State, may_write: bool) -> Statement:
    """Prepare a statement under the seal without running it. Raises StatementRefused."""
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
    if may_write and not seen.writes:
        raise StatementRefused("an effect that changes nothing", "Write an INSERT, UPDATE or DELETE")
    return seen


def is_ordered(sql: str) -> bool:
    """Whether the outermost SELECT has ORDER BY: literals, comments and everything in parentheses left out."""
    text = _QUOTED.sub(" ", sql)
    while _PARENTHESISED.search(text):
        text = _PARENTHESISED.sub(" ", text)
    return re.search(r"\border\s+by\b", text, re.IGNORECASE) is not None
