"""What a tool's SQL may do: read and write the declared tables with deterministic functions, within budgets.

A seal is installed once per connection. The engine's own statements run with the seal open; SQL of a
specification runs only between `close` and `open`.
"""

from collections.abc import Callable, Collection, Iterable
from time import monotonic

import apsw

from envs import search
from envs.cells import MAX_VALUE_BYTES

STEP_BUDGET = 2_000_000
"""Virtual-machine steps one statement may take (tens of milliseconds)."""
STEP_TICK = 500
"""Steps between two looks at the budgets: more than a point query takes."""
MAX_STATEMENT_S = 3.0
"""Time one statement may take on the wall: far more than its steps need, unless each of them chews on long texts."""
MAX_TRIMMED = 100
"""Characters that trim may be told to take off."""
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
    apsw.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
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


def _trim(strip: Callable[[str, str], str]) -> Callable[..., str | None]:
    """SQLite's own compares every character with every other: minutes for two texts as long as values may be."""

    def trim(text: object, characters: object) -> str | None:
        if text is None or characters is None:
            return None
        if not isinstance(text, str | int) or not isinstance(characters, str | int):
            raise apsw.SQLError("trim takes text")
        if len(str(characters)) > MAX_TRIMMED:
            raise apsw.SQLError(f"trim takes off at most {MAX_TRIMMED} different characters")
        return strip(str(text), str(characters))

    return trim


_TRIMS = {"trim": _trim(str.strip), "ltrim": _trim(str.lstrip), "rtrim": _trim(str.rstrip)}


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
        self._ends_at = 0.0
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
        for name, strip in _TRIMS.items():
            connection.create_scalar_function(name, strip, 2, deterministic=True)
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
        if self._ticks == 1:
            self._ends_at = monotonic() + MAX_STATEMENT_S
        return self._ticks * STEP_TICK > STEP_BUDGET or monotonic() > self._ends_at

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
