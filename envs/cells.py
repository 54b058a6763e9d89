"""Which values the rows of a specification may hold and its bounds allow, checked one by one when it is loaded.

SQLite would turn `"5"` into 5 and 2 into `"2"` without a word, and take an integer or a real that no JSON can carry.
"""

import math
import re
from collections.abc import Mapping
from datetime import date, datetime

from pydantic import JsonValue

from envs.errors import SpecError
from envs.record import MAX_INTEGER, scalar_problem
from envs.spec import Column, EnvironmentSpec, Parameter, Table

MAX_VALUE_BYTES = 100_000
"""Of a value, and of a row."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_STORED: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "integer": ("integers", (int,)),
    "cents": ("integers", (int,)),
    "real": ("numbers", (int, float)),
    "boolean": ("true or false", (bool,)),
}
_TEXT = ("text", (str,))
_ID = Column(name="id", type="text", unique=True)


def is_date(text: str) -> bool:
    """Whether this is a day of the calendar, as `2026-03-02`."""
    return bool(_DATE.fullmatch(text)) and _parses(date, text)


def is_datetime(text: str) -> bool:
    """Whether this is an instant of the calendar without zone, as `2026-03-02T09:00:00`."""
    return bool(_DATETIME.fullmatch(text)) and _parses(datetime, text)


def text_problem(text: object) -> str | None:
    """Why a text or number of a specification cannot be carried; None if it can be."""
    if isinstance(text, str) and "\x00" in text:
        return "holds NUL, where SQLite stops reading"
    return scalar_problem(text)


def check_rows(spec: EnvironmentSpec) -> None:
    """Every value of every row against its column. Raises SpecError naming it, as `rows.trip[1].n`."""
    for table in spec.tables:
        columns = (_ID, *table.columns)
        values_of = {column.name: set[JsonValue]() for column in columns if column.unique}
        for number, row in enumerate(spec.rows.get(table.name, ())):
            place = f"rows.{table.name}[{number}]"
            if len(row) != len(columns):
                names = ", ".join(column.name for column in columns)
                raise SpecError(place, f"has {len(row)} values for {len(columns)} columns", f"Give {names}")
            for column, value in zip(columns, row, strict=True):
                _check_cell(f"{place}.{column.name}", column, value)
                if value is not None and column.name in values_of:
                    _check_new(f"{place}.{column.name}", table, column, value, values_of[column.name])


def check_references(spec: EnvironmentSpec) -> None:
    """Every reference to a row. Raises SpecError naming it."""
    ids = {table.name: {row[0] for row in spec.rows.get(table.name, ())} for table in spec.tables}
    for table in spec.tables:
        referring = [(at, c, c.references) for at, c in enumerate(table.columns, start=1) if c.references is not None]
        for number, row in enumerate(spec.rows.get(table.name, ())):
            for position, column, parent in referring:
                if row[position] is not None and row[position] not in ids[parent]:
                    place = f"rows.{table.name}[{number}].{column.name}"
                    fault = f"refers to a row of {parent} that does not exist"
                    raise SpecError(place, fault, f"Use an id seeded in {parent}")


def check_range(where: str, parameter: Parameter) -> None:
    """Some value lies between the bounds of a parameter, and a call can carry it. Raises SpecError."""
    bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    for name, bound in bounds.items():
        if bound is not None and parameter.type not in ("integer", "number"):
            raise SpecError(f"{where}.{name}", f"a bound on a {parameter.type}", "Only a number has one: remove it")
        if bound is not None and abs(bound) > MAX_INTEGER:
            raise SpecError(f"{where}.{name}", f"{bound:g} is beyond every argument", "Stay within 2**53 - 1")
    low, high = parameter.minimum, parameter.maximum
    if low is None or high is None:
        return
    whole = parameter.type == "integer"
    if (math.ceil(low) > math.floor(high)) if whole else low > high:
        kind = "integer" if whole else "number"
        raise SpecError(where, f"no {kind} is at least {low:g} and at most {high:g}", "Correct the bounds")


def _check_cell(place: str, column: Column, value: JsonValue) -> None:
    if value is None:
        if not column.nullable:
            raise SpecError(place, "has no value", "Give one, or make the column nullable")
        return
    kind, types = _STORED.get(column.type, _TEXT)
    if not isinstance(value, types) or (isinstance(value, bool) and column.type != "boolean"):
        raise SpecError(place, f"is {_shown(value)}, and the column holds {kind}", "Nothing is converted: correct it")
    if problem := text_problem(value):
        raise SpecError(place, problem, "Give a finite number up to 2**53 - 1, or Unicode text without NUL")
    if isinstance(value, str):
        _check_text(place, column, value)


def _check_text(place: str, column: Column, text: str) -> None:
    if (size := len(text.encode())) > MAX_VALUE_BYTES:
        raise SpecError(place, f"has {size} bytes", f"Shorten it to {MAX_VALUE_BYTES}")
    if column.type == "enum" and text not in column.values:
        raise SpecError(place, f"is {_shown(text)}, which is not allowed", f"Use one of {', '.join(column.values)}")
    if column.type == "date" and not is_date(text):
        raise SpecError(place, f"is {_shown(text)}, which is no day of the calendar", "Write it as 2026-03-02")
    if column.type == "datetime" and not is_datetime(text):
        raise SpecError(place, f"is {_shown(text)}, which is no instant", "Write it as 2026-03-02T09:00:00")


def _check_new(place: str, table: Table, column: Column, value: JsonValue, values: set[JsonValue]) -> None:
    if value in values:
        raise SpecError(place, f"another row of {table.name} already has this {column.name}", "Give it another")
    values.add(value)


def _parses(kind: type[date], text: str) -> bool:
    try:
        kind.fromisoformat(text)
    except ValueError:
        return False
    # Hour 24 is read by later versions of Python, and is no hour of SQLite's.
    return text[11:13] != "24"


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
