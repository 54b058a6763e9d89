"""Which functions the SQL of a specification may use: those whose time is bounded, because none can be interrupted.

SQLite looks at budgets between the steps of a statement, never inside a function. Two kinds are allowed: functions with
a time linear in their texts (under a millisecond for the longest), and functions that compare two texts, which look at
the clock themselves. All others are refused: chance, extensions, the state of the engine, and `median` with its kind,
whose sort can take quadratic time and a deep stack.
"""

from collections.abc import Callable
from typing import Any

import apsw

from envs.cells import MAX_VALUE_BYTES

MAX_COMPARED = 10_000_000
"""Characters of one text times those of the other, in one call: about 30 ms at most."""
MAX_PATTERN_BYTES = 1_000
"""Of a pattern of LIKE and GLOB."""
MAX_ARGUMENTS = 100

_LINEAR_NAMES = """
abs coalesce concat concat_ws format hex ifnull iif if length lower max min nullif
octet_length printf quote round sign substr substring typeof unicode upper char
date time datetime julianday strftime unixepoch timediff current_date current_time current_timestamp
avg count group_concat string_agg sum total
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
ceil ceiling floor trunc mod pow power sqrt exp ln log log10 log2
json json_array json_array_length json_extract json_group_array json_group_object json_object json_type json_valid
-> ->>
"""
COMPARING = {
    "glob": (2,),
    "instr": (2,),
    "like": (2, 3),
    "ltrim": (1, 2),
    "replace": (3,),
    "rtrim": (1, 2),
    "trim": (1, 2),
    "unhex": (1, 2),
}
"""Functions whose time grows with the product of two texts, with their numbers of arguments."""
FUNCTIONS = frozenset(_LINEAR_NAMES.split()) | COMPARING.keys()


def bound_comparisons(connection: apsw.Connection, look_at_budgets: Callable[[], None]) -> None:
    """Put bounded forms of `COMPARING` in the place of SQLite's own, which compute the values in them.

    `look_at_budgets` raises what ends a statement that takes too long or too much.
    """
    inner: list[apsw.Connection] = []  # opened at the first call: most episodes compare nothing

    def bounded(name: str, count: int) -> Callable[..., Any]:
        sql = f"SELECT {name}({', '.join('?' * count)})"

        def compare(*arguments: Any) -> Any:
            look_at_budgets()
            first, second = _length(arguments[0]), _length(arguments[1])
            if first * second > MAX_COMPARED:
                raise apsw.SQLError(
                    f"{name}() is asked to compare {first} characters with {second}; shorten one of them, their "
                    f"product is at most {MAX_COMPARED}"
                )
            if not inner:
                inner.append(_calculator())
            [(value,)] = inner[0].execute(sql, arguments)
            return value

        return compare

    for name, counts in COMPARING.items():
        for count in counts:
            if count > 1:  # of one text: linear
                connection.create_scalar_function(name, bounded(name, count), count, deterministic=True)


def _calculator() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN_BYTES)
    return connection


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 24  # digits of a number
