"""Columns and tables as values: a name, a type and a sentence. The tables of the warehouse are written with them in
`tables`, the columns of exported datasets in `export`.

Objects of varying shape (arguments, JSON schemas) are stored as JSON text and declared as such, so that no two rows are
forced into one union of all their keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

_SCALARS: dict[str, tuple[Any, str]] = {
    "text": (pa.string(), "VARCHAR"),
    "json": (pa.string(), "VARCHAR"),  # canonical JSON; dicts and lists are accepted and written canonically
    "int": (pa.int32(), "INTEGER"),
    "big": (pa.int64(), "BIGINT"),
    "real": (pa.float64(), "DOUBLE"),
    "float": (pa.float32(), "FLOAT"),
    "bool": (pa.bool_(), "BOOLEAN"),
    "time": (pa.timestamp("us"), "TIMESTAMP"),  # UTC without a zone: DuckDB needs an extension for zones
    "map": (pa.map_(pa.string(), pa.float64()), "MAP(VARCHAR, DOUBLE)"),
}
"""Arrow type and DuckDB type."""


@dataclass(frozen=True)
class ListOf:
    """A list of scalars or of structs."""

    of: "str | tuple[Column, ...]"


Kind: TypeAlias = "str | ListOf | tuple[Column, ...]"


@dataclass(frozen=True)
class Column:
    """One column, or one field of a struct."""

    name: str
    kind: Kind
    meaning: str
    added: bool = False
    """Whether files and parts from before the column lack it. It is null in their rows."""

    @property
    def arrow(self) -> pa.Field:
        return pa.field(self.name, _arrow(self.kind))

    @property
    def sql(self) -> str:
        """The DuckDB type. Structs have none: they are stored as JSON."""
        scalar = self.kind.of if isinstance(self.kind, ListOf) else self.kind
        if not isinstance(scalar, str):
            raise TypeError(f"column {self.name}: the warehouse stores structs as json.")
        return f"{_SCALARS[scalar][1]}{'[]' if isinstance(self.kind, ListOf) else ''}"

    def documented(self, prefix: str = "") -> Iterator[tuple[str, str, str]]:
        """(name, type, meaning) of the column and, in dotted names, of the fields within."""
        name = f"{prefix}{self.name}"
        inner = self.kind.of if isinstance(self.kind, ListOf) else self.kind
        many = isinstance(self.kind, ListOf)
        words = inner if isinstance(inner, str) else "struct"
        yield name, f"list of {words}" if many else words, self.meaning
        if not isinstance(inner, str):
            for field in inner:
                yield from field.documented(f"{name}[]." if many else f"{name}.")


@dataclass(frozen=True)
class Table:
    """A table of the warehouse: its columns by name, in order, and the columns that identify a row."""

    name: str
    meaning: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for an added column that a file cannot be given: in the key, or before an older one."""
        added = [column.added for column in self.columns.values()]
        if added != sorted(added) or any(self.columns[name].added for name in self.key):
            raise ValueError(f"table {self.name}: columns marked `?` come last and are not part of the key.")

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a part of this table; key columns are not nullable."""
        return pa.schema([column.arrow.with_nullable(name not in self.key) for name, column in self.columns.items()])

    @property
    def create_sql(self) -> str:
        columns = ", ".join(
            f'"{name}" {column.sql}{" NOT NULL" if name in self.key else ""}' for name, column in self.columns.items()
        )
        return f"CREATE TABLE {self.name} ({columns})"

    def member_match(self, member: str, row: str) -> str:
        """SQL that pairs a `batch_members` row with the row it names.

        A composite key is taken apart on the member's side, so that the large table's columns stay bare and DuckDB can
        push the join's filter into its scan.
        """
        if len(self.key) == 1:
            return f'{member}.record_id = {row}."{self.key[0]}"'
        parts = [f"split_part({member}.record_id, '/', {position})" for position in range(1, len(self.key) + 1)]
        return " AND ".join(
            f'{row}."{name}" = CAST({part} AS {self.columns[name].sql})'
            for name, part in zip(self.key, parts, strict=True)
        )


def columns(lines: str) -> tuple[Column, ...]:
    """Columns of scalars (`name type sentence`) and of lists of scalars (`name type[] sentence`), one a line.

    A `?` after the type marks an added column. Raises ValueError for an unknown type.
    """
    return tuple(_column(*line.split(maxsplit=2)) for line in filter(str.strip, lines.splitlines()))


def _column(name: str, kind: str, meaning: str) -> Column:
    scalar = kind.removesuffix("?").removesuffix("[]")
    if scalar not in _SCALARS:
        raise ValueError(f'column {name}: type "{scalar}" is unknown; use one of {", ".join(_SCALARS)}')
    many = "[]" in kind
    return Column(name, ListOf(scalar) if many else scalar, meaning.strip(), added=kind.endswith("?"))


def define_table(name: str, meaning: str, lines: str, key: str = "id") -> Table:
    """A table whose columns are written as for `columns`; `key` has the names of the columns that identify a row."""
    return Table(name, meaning, {column.name: column for column in columns(lines)}, tuple(key.split()))


def _arrow(kind: Kind) -> Any:
    if isinstance(kind, str):
        return _SCALARS[kind][0]
    if isinstance(kind, ListOf):
        return pa.list_(_arrow(kind.of))
    return pa.struct([column.arrow for column in kind])
