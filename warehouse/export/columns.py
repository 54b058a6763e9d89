"""Columns of a dataset as data: name, type and a sentence. Parquet schema, card and documentation all follow from it.

Objects of varying shape (arguments, JSON schemas) are stored as JSON text and declared as such, so that `datasets`
gives them back as objects, and no two rows are forced into one union of all their keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

_SCALARS: dict[str, tuple[Any, str]] = {
    "text": (pa.string(), "string"),
    "json": (pa.string(), "json"),
    "int": (pa.int32(), "int32"),
    "big": (pa.int64(), "int64"),
    "real": (pa.float64(), "float64"),
    "float": (pa.float32(), "float32"),
    "bool": (pa.bool_(), "bool"),
}
"""Arrow type and the name that `datasets` has for it."""


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
    about: str

    @property
    def arrow(self) -> pa.Field:
        return pa.field(self.name, _arrow(self.kind))

    @property
    def feature(self) -> dict[str, Any]:
        """The column in the form of a card's `dataset_info.features`."""
        return {"name": self.name, **_feature(self.kind)}

    def documented(self, prefix: str = "") -> Iterator[tuple[str, str, str]]:
        """(name, type, sentence) of the column and, in dotted names, of the fields within."""
        name = f"{prefix}{self.name}"
        inner = self.kind.of if isinstance(self.kind, ListOf) else self.kind
        many = isinstance(self.kind, ListOf)
        words = inner if isinstance(inner, str) else "struct"
        yield name, f"list of {words}" if many else words, self.about
        if not isinstance(inner, str):
            for field in inner:
                yield from field.documented(f"{name}[]." if many else f"{name}.")


@dataclass(frozen=True)
class Configuration:
    """One kind of row of a dataset, as `load_dataset(folder, name)` gives it."""

    name: str
    about: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([column.arrow for column in self.columns])

    @property
    def features(self) -> list[dict[str, Any]]:
        return [column.feature for column in self.columns]

    def without(self, *names: str) -> "Configuration":
        """The same without these columns, or fields of structs."""
        return Configuration(self.name, self.about, _without(self.columns, names))


def columns(lines: str) -> tuple[Column, ...]:
    """Columns of scalars (`name type sentence`) and of lists of scalars (`name type[] sentence`), one a line."""
    found = []
    for line in filter(str.strip, lines.splitlines()):
        name, kind, about = line.strip().split(maxsplit=2)
        scalar, many, _ = kind.partition("[]")
        if scalar not in _SCALARS:
            raise ValueError(f'column {name}: type "{scalar}" is unknown; use one of {", ".join(_SCALARS)}')
        found.append(Column(name, ListOf(scalar) if many else scalar, about))
    return tuple(found)


def _arrow(kind: Kind) -> Any:
    if isinstance(kind, str):
        return _SCALARS[kind][0]
    if isinstance(kind, ListOf):
        return pa.list_(_arrow(kind.of))
    return pa.struct([column.arrow for column in kind])


def _feature(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, str):
        return {"dtype": _SCALARS[kind][1]}
    if isinstance(kind, ListOf):
        of = kind.of
        return {"list": _SCALARS[of][1] if isinstance(of, str) else [column.feature for column in of]}
    return {"struct": [column.feature for column in kind]}


def _without(found: Sequence[Column], names: Sequence[str]) -> tuple[Column, ...]:
    kept = []
    for column in found:
        if column.name in names:
            continue
        kind = column.kind
        if isinstance(kind, tuple):
            kind = _without(kind, names)
        elif isinstance(kind, ListOf) and not isinstance(kind.of, str):
            kind = ListOf(_without(kind.of, names))
        kept.append(Column(column.name, kind, column.about))
    return tuple(kept)
