"""The columns of a dataset's configurations, and how `datasets` names their types.

A column that leaves as it is in the warehouse takes its type and meaning from `warehouse.tables`. Parquet schema, card
and documentation all follow from a configuration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from warehouse.columns import Column, Kind, ListOf
from warehouse.tables import table_named

_FEATURES = {
    "text": "string",
    "json": "json",  # so that `datasets` gives objects back
    "int": "int32",
    "big": "int64",
    "real": "float64",
    "float": "float32",
    "bool": "bool",
}


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
        """The columns in the form of a card's `dataset_info.features`."""
        return _features(self.columns)

    def without(self, *names: str) -> "Configuration":
        """The same without these columns, or fields of structs."""
        return Configuration(self.name, self.about, _without(self.columns, names))


def stored(table: str, names: str) -> tuple[Column, ...]:
    """Columns of the warehouse's table that leave as they are. Raises KeyError for a column it does not have."""
    return tuple(table_named(table).columns[name] for name in names.split())


def stored_text(table: str, name: str) -> Column:
    """A column of canonical JSON that leaves as text, since its hash is that of the very bytes."""
    return replace(table_named(table).columns[name], kind="text")


def _features(columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [{"name": column.name, **_feature(column.kind)} for column in columns]


def _feature(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, str):
        return {"dtype": _FEATURES[kind]}
    if isinstance(kind, ListOf):
        return {"list": _FEATURES[kind.of] if isinstance(kind.of, str) else _features(kind.of)}
    return {"struct": _features(kind)}


def _without(columns: Sequence[Column], names: Sequence[str]) -> tuple[Column, ...]:
    kept = []
    for column in columns:
        if column.name in names:
            continue
        kind = column.kind
        if isinstance(kind, tuple):
            kind = _without(kind, names)
        elif isinstance(kind, ListOf) and not isinstance(kind.of, str):
            kind = ListOf(_without(kind.of, names))
        kept.append(replace(column, kind=kind))
    return tuple(kept)
