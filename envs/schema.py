"""From declared tables to SQLite: STRICT tables, constraints that say which column refused, seeded rows.

Names are checked here too, because they end up in SQL text.
"""

import re
import sys

import apsw
from pydantic import JsonValue

from envs.cells import check_references, check_rows
from envs.errors import SpecError
from envs.record import MAX_INTEGER
from envs.spec import Column, EnvironmentSpec, Table

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_STORAGE = {"integer": "INTEGER", "boolean": "INTEGER", "cents": "INTEGER", "real": "REAL"}


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def create_table(connection: apsw.Connection, table: Table) -> None:
    """Create one table. The names of its constraints are `table.column`, which is what error messages then show."""
    columns = ["id TEXT PRIMARY KEY NOT NULL", *(_column_sql(table, column) for column in table.columns)]
    connection.execute(f"CREATE TABLE {quoted(table.name)} ({', '.join(columns)}) STRICT")


def insert_rows(connection: apsw.Connection, spec: EnvironmentSpec) -> None:
    """Seed every table; tables may point at each other in any order. Raises SpecError naming the value or row."""
    check_rows(spec)
    connection.execute("PRAGMA foreign_keys = OFF")
    for table in spec.tables:
        marks = ", ".join("?" * (len(table.columns) + 1))
        for number, row in enumerate(spec.rows.get(table.name, ())):
            try:
                connection.execute(f"INSERT INTO {quoted(table.name)} VALUES ({marks})", row)
            except apsw.TooBigError as error:
                raise SpecError(f"rows.{table.name}[{number}]", "is longer than a row may be", "Shorten it") from error
    check_references(spec)


def highest_number(table: Table, rows: tuple[tuple[JsonValue, ...], ...]) -> int:
    """The highest n among ids `<id_prefix>-<n>`; 0 if there is none."""
    pattern = re.compile(re.escape(table.id_prefix) + r"-(\d{1,15})")
    found = (pattern.fullmatch(str(row[0])) for row in rows)
    return max((int(match.group(1)) for match in found if match), default=0)


def explain_constraint(error: apsw.ConstraintError) -> str:
    """SQLite's constraint message in the words of the domain: the column, never the SQL."""
    text, _, detail = str(error).partition(": ")
    table, _, column = detail.partition(".")
    code = getattr(error, "extendedresult", 0)
    if code in (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY):
        return f"another row of {table} already has this {column}"
    if code == apsw.SQLITE_CONSTRAINT_NOTNULL:
        return f"{column} of {table} must have a value"
    if code == apsw.SQLITE_CONSTRAINT_CHECK:
        return f"this value is not allowed for {column} of {table}"
    if code == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        return "a referred row does not exist, or a row that others refer to would go"
    if code == apsw.SQLITE_CONSTRAINT_DATATYPE:
        return text
    return "the tables do not allow these values"


def _column_sql(table: Table, column: Column) -> str:
    parts = [quoted(column.name), _STORAGE.get(column.type, "TEXT")]
    if not column.nullable:
        parts.append("NOT NULL")
    if column.unique:
        parts.append("UNIQUE")
    if column.references is not None:
        parts.append(f"REFERENCES {quoted(column.references)} (id)")
    check = _check_sql(column)
    if check:
        parts.append(f"CONSTRAINT {quoted(f'{table.name}.{column.name}')} CHECK ({check})")
    return " ".join(parts)


def _check_sql(column: Column) -> str | None:
    name = quoted(column.name)
    if column.type == "boolean":
        return f"{name} IN (0, 1)"
    if column.type == "enum":
        return f"{name} IN ({', '.join(literal(value) for value in column.values)})"
    # What a tool computes must be carried by JSON as well: goals, results and rollouts are stored as such.
    if column.type in ("integer", "cents"):
        return f"{name} BETWEEN -{MAX_INTEGER} AND {MAX_INTEGER}"
    if column.type == "real":
        return f"abs({name}) <= {sys.float_info.max!r}"
    # The length comes first: date('now') inside a CHECK would be an error, not a refusal. There is no year 0.
    if column.type == "date":
        return f"length({name}) = 10 AND date({name}) = {name} AND {name} > '0001'"
    if column.type == "datetime":
        return f"length({name}) = 19 AND strftime('%Y-%m-%dT%H:%M:%S', {name}) = {name} AND {name} > '0001'"
    return None
