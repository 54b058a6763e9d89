"""What a tool's SQL may do: read and write the declared tables with deterministic functions, within budgets.

A seal is installed once per connection. The engine's own statements run with the seal open; SQL of a
specification runs only between `close` and `open`.
"""

from collections.abc import Iterable

import apsw

STEP_BUDGET = 2_000_000
"""Virtual-machine steps one statement may take (tens of milliseconds)."""
STEP_TICK = 10_000
"""Steps between two looks at the budget: rare enough to cost nothing on point queries."""
HEAP_LIMIT_BYTES = 1 << 30
"""For all SQLite memory of the process: a runaway sort fails instead of taking the machine with it."""

_FUNCTION_NAMES = """
abs coalesce concat concat_ws format glob hex ifnull iif if instr length like lower ltrim max min nullif
octet_length printf quote replace round rtrim sign substr substring trim typeof unhex unicode upper char
date time datetime julianday strftime unixepoch timediff current_date current_time current_timestamp
avg count group_concat string_agg sum total median percentile percentile_cont percentile_disc
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
ceil ceiling floor trunc mod pow power sqrt exp ln log log10 log2
json json_array json_array_length json_extract json_group_array json_group_object json_object json_type json_valid
-> ->>
"""
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
"""Everything else is refused: random functions, extension loading, and what counts across episodes (total_changes)."""

_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 1_000_000,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    apsw.SQLITE_LIMIT_COLUMN: 200,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    apsw.SQLITE_LIMIT_VARIABLE_NUMBER: 64,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_WRITES = {apsw.SQLITE_INSERT: "insert", apsw.SQLITE_UPDATE: "update", apsw.SQLITE_DELETE: "delete"}


class Seal:
    """The authorizer and the step budget of one connection."""

    def __init__(self, connection: apsw.Connection, tables: Iterable[str]) -> None:
        self._tables = frozenset(tables)
        modules = {str(name).casefold() for (name,) in connection.execute("PRAGMA module_list")}
        self._hidden = modules - self._tables
        self._closed = False
        self._may_write = False
        self._running = False
        self._ticks = 0
        self.refused: str | None = None
        """Why the last statement was refused, in words; None if it was not."""
        self.wrote = False
        """Whether the last statement that was prepared changes rows."""
        for limit, value in _LIMITS.items():
            connection.limit(limit, value)
        for option, on in (
            (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
            (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
            (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
            # One plan per statement, whatever is bound: answers keep their order, and nothing is planned twice.
            (apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1),
            # A misspelt column in double quotes is an error, not a string.
            (apsw.SQLITE_DBCONFIG_DQS_DML, 0),
            (apsw.SQLITE_DBCONFIG_DQS_DDL, 0),
        ):
            connection.config(option, on)
        connection.authorizer = self._authorize
        connection.set_progress_handler(self._tick, STEP_TICK)
        if not 0 < apsw.hard_heap_limit(-1) <= HEAP_LIMIT_BYTES:
            apsw.hard_heap_limit(HEAP_LIMIT_BYTES)

    def close(self, may_write: bool, running: bool = True) -> None:
        """From here until `open` statements are a specification's: judged by the authorizer, counted by the budget.

        `running` is False where SQL is prepared for the first time; only SQL that passed there is ever run.
        """
        self._closed, self._may_write, self._running, self._ticks = True, may_write, running, 0
        self.refused, self.wrote = None, False

    def open(self) -> None:
        """From here statements are the engine's own."""
        self._closed = False

    def _tick(self) -> bool:
        if not self._closed:
            return False
        self._ticks += 1
        return self._ticks * STEP_TICK > STEP_BUDGET

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, _trigger: str | None
    ) -> int:
        if not self._closed:
            return apsw.SQLITE_OK
        refusal = self._refusal(action, first or "", second or "", database)
        if refusal is None:
            return apsw.SQLITE_OK
        self.refused = self.refused or refusal
        return apsw.SQLITE_DENY

    def _refusal(self, action: int, first: str, second: str, database: str | None) -> str | None:
        if action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE):
            return None
        if action == apsw.SQLITE_READ:
            # Without a column SQLite names no database, so a count over a CTE looks like one over a table.
            name = first.casefold()
            inner = database is None and not name.startswith(("sqlite_", "pragma_")) and name not in self._hidden
            return None if first in self._tables or inner else f"reads {first}, which is not a table of this domain"
        if action == apsw.SQLITE_FUNCTION:
            return None if second.casefold() in FUNCTIONS else f"uses the function {second}(), which is not allowed"
        if action in _WRITES:
            if first not in self._tables:
                return f"writes {first}, which is not a table of this domain"
            if not self._may_write:
                return f"would {_WRITES[action]} rows of {first}, where only a SELECT may stand"
            self.wrote = True
            return None
        # The session extension looks a table's columns up inside the first statement that changes it.
        if action == apsw.SQLITE_PRAGMA and first == "table_xinfo" and second in self._tables and self._running:
            return None
        name = str(apsw.mapping_authorizer_function[action]).removeprefix("SQLITE_")
        return f"uses {name}, which is not allowed"
