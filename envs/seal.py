"""What a tool's SQL may do: read and write the declared tables with deterministic functions, within budgets.

A seal is installed once per connection. The engine's own statements run with the seal open; SQL of a
specification runs only between `close` and `open`.
"""

import math
from collections.abc import Collection, Iterable
from time import monotonic

import apsw

from envs import search
from envs.cells import MAX_VALUE_BYTES
from envs.functions import FUNCTIONS, MAX_ARGUMENTS, MAX_PATTERN_BYTES, bound_comparisons

STEP_BUDGET = 2_000_000
"""Virtual-machine steps one statement may take (tens of milliseconds)."""
STEP_TICK = 500
"""Steps between two looks at the budgets: more than a point query takes."""
SEARCH_TICK = 25
"""The same where there is a full-text index: ranking and cutting out of one document can take 0.1 s."""
MAX_STATEMENT_S = 3.0
"""Time one statement may take on the wall: far more than its steps need, unless each of them chews on long texts."""
MAX_CALL_S = 10.0
"""Time a call of any tool may take in all: guards, effects, answer, program."""
MAX_STATEMENT_BYTES = 128 << 20
"""Memory that SQLite may take while one statement runs: rows it sorts, groups or keeps aside."""
HEAP_LIMIT_BYTES = 1 << 30
"""For all SQLite memory of the process: many episodes fail one by one instead of taking the machine with them."""

_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    apsw.SQLITE_LIMIT_COLUMN: 200,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    apsw.SQLITE_LIMIT_VARIABLE_NUMBER: 64,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: MAX_PATTERN_BYTES,
    apsw.SQLITE_LIMIT_FUNCTION_ARG: MAX_ARGUMENTS,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_WRITES = {apsw.SQLITE_INSERT: "insert", apsw.SQLITE_UPDATE: "update", apsw.SQLITE_DELETE: "delete"}


class Seal:
    """The authorizer and the step budget of one connection."""

    def __init__(self, connection: apsw.Connection, tables: Iterable[str], searched: Collection[str] = ()) -> None:
        """`searched` are the tables with a full-text index: they and their indexes can be read and not written."""
        self._tables = frozenset(tables)
        self._searched = frozenset(searched)
        self._indexes = frozenset(map(search.index_name, searched))
        self._shadows = frozenset(f"{index}_{shadow}" for index in self._indexes for shadow in search.SHADOWS)
        self._functions = FUNCTIONS | search.FUNCTIONS if searched else FUNCTIONS
        modules = {str(name).casefold() for (name,) in connection.execute("PRAGMA module_list")}
        self._hidden = modules - self._tables
        self._closed = False
        self._may_write = False
        self._running = False
        self._ticks = 0
        self._steps_a_tick = SEARCH_TICK if searched else STEP_TICK
        self._call_ends_at = math.inf
        self._ends_at: float | None = None
        self._bytes_before = 0
        self.refused: str | None = None
        """Why the last statement was refused, in words; None if it was not."""
        self.wrote = False
        """Whether the last statement that was prepared changes rows."""
        self.read: set[str] = set()
        """The tables and indexes that the last statement reads."""
        self.stopped: str | None = None
        """Which budget ended the last statement; None if none did."""
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
        bound_comparisons(connection, self._look_at_budgets)
        connection.authorizer = self._authorize
        connection.set_progress_handler(self._tick, self._steps_a_tick)
        if not 0 < apsw.hard_heap_limit(-1) <= HEAP_LIMIT_BYTES:
            apsw.hard_heap_limit(HEAP_LIMIT_BYTES)

    def close(self, may_write: bool, running: bool = True) -> None:
        """From here until `open` statements are a specification's: judged by the authorizer, counted by the budget.

        `running` is False where SQL is prepared for the first time; only SQL that passed there is ever run.
        """
        self._closed, self._may_write, self._running, self._ticks = True, may_write, running, 0
        self.refused, self.wrote, self.stopped, self._ends_at = None, False, None, None
        self.read.clear()
        self._bytes_before = apsw.memory_used()

    def open(self) -> None:
        """From here statements are the engine's own."""
        self._closed = False

    def begin_call(self) -> None:
        """From here the statements of one call are counted against `MAX_CALL_S`."""
        self._call_ends_at = monotonic() + MAX_CALL_S

    def call_overdue(self) -> str | None:
        """Why the call may not go on; None if it may."""
        return f"the call took longer than {MAX_CALL_S:g} s in all" if monotonic() > self._call_ends_at else None

    def _tick(self) -> bool:
        if not self._closed:
            return False
        self._ticks += 1
        if self._ticks * self._steps_a_tick > STEP_BUDGET:
            self.stopped = f"more than {STEP_BUDGET:,} steps"
        return self.stopped is not None or self._over_budget()

    def _over_budget(self) -> bool:
        if self._ends_at is None:
            self._ends_at = monotonic() + MAX_STATEMENT_S
        if monotonic() > self._ends_at:
            self.stopped = f"it took longer than {MAX_STATEMENT_S:g} s"
        elif apsw.memory_used() - self._bytes_before > MAX_STATEMENT_BYTES:
            self.stopped = f"it took more than {MAX_STATEMENT_BYTES >> 20} MiB of memory"
        else:
            self.stopped = self.call_overdue()
        return self.stopped is not None

    def _look_at_budgets(self) -> None:
        if self._closed and self._over_budget():
            raise apsw.InterruptError(f"stopped: {self.stopped}")

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
            self.read.add(first)
            # While it is asked, an index reads its own tables. SQL that names them itself was refused before it ran.
            if first in self._indexes or (first in self._shadows and self._running):
                return None
            # Without a column SQLite names no database, so a count over a CTE looks like one over a table.
            name = first.casefold()
            outer = name.startswith(("sqlite_", "pragma_")) or name in self._hidden or name in self._shadows
            inner = database is None and not outer
            return None if first in self._tables or inner else f"reads {first}, which is not a table of this domain"
        if action == apsw.SQLITE_FUNCTION:
            known = second.casefold() in self._functions
            return None if known else f"uses the function {second}(), which is not allowed"
        if action in _WRITES:
            if first not in self._tables:
                return f"writes {first}, which is not a table of this domain"
            if first in self._searched:
                return f"writes {first}, which has a full-text index and stays as it is"
            if not self._may_write:
                return f"would {_WRITES[action]} rows of {first}, where only a SELECT may stand"
            self.wrote = True
            return None
        # The session extension looks a table's columns up inside the first statement that changes it.
        if action == apsw.SQLITE_PRAGMA and first == "table_xinfo" and second in self._tables and self._running:
            return None
        if action == apsw.SQLITE_PRAGMA and first == "data_version" and self._indexes and self._running:
            return None  # asked by an index, to know whether it was written meanwhile
        name = str(apsw.mapping_authorizer_function[action]).removeprefix("SQLITE_")
        return f"uses {name}, which is not allowed"
