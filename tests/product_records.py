"""Every type of record in the product, and strategies that make records of any of them from the types of its fields."""

import enum
import importlib
import pkgutil
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from envs.record import Record

PACKAGES = ("envs", "serving", "generators", "trainer", "warehouse", "dagster_project")
WORDS = ("", "a", "boats", "loan", "2026-03-02T09:00:00", "Forty letters at the least, as a description.", "é")


@cache
def record_types() -> dict[str, type[Record]]:
    """Name → type, of every record that a module of ours defines, sorted."""
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    kinds = [kind for kind in _below(Record) if kind.__module__.split(".")[0] in PACKAGES]
    named = {kind.__qualname__: kind for kind in kinds}
    assert len(named) == len(set(kinds)), "two types of records share a name"
    return dict(sorted(named.items()))


def _below(kind: type[Record]) -> Iterator[type[Record]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _below(inner)


JSON = st.none() | st.booleans() | st.sampled_from((0, 1, 1.0, 0.5)) | st.sampled_from(WORDS)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.sampled_from((0, 1, 2, 4, 8, 16, 512)),
    float: st.sampled_from((0.0, 0.5, 1.0, 60.0)),
    str: st.sampled_from(WORDS),
    Path: st.just(Path("folder")),
}
NAMED: dict[str, st.SearchStrategy[Any]] = {
    "title": st.just("Boats"),
    "description": st.just("Forty letters at the least, as a description."),
    "clock": st.sampled_from(("2026-03-02T09:00:00", "2026-03-02T10:00:00")),
}
"""Fields that a mere word is not good for."""


@cache
def records(kind: type[Record]) -> st.SearchStrategy[Record]:
    """Records of one type: every field with a default is left out, or set to a value that may be the default."""
    required, optional = {}, {}
    for name, field in kind.model_fields.items():
        fields = required if field.is_required() else optional
        fields[name] = NAMED[name] if name in NAMED and field.annotation is str else values(field.annotation)
    made = st.fixed_dictionaries(required, optional=optional).map(lambda content: _valid(kind, content))
    return made.filter(lambda record: record is not None)


def _valid(kind: type[Record], content: dict[str, Any]) -> Record | None:
    try:
        return kind.model_validate(content)
    except ValidationError:
        return None


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, mostly small: bounds of a field are met or the record is refused."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (Any, JsonValue):
        return JSON | st.dictionaries(st.sampled_from(WORDS), JSON, max_size=2) | st.lists(JSON, max_size=2)
    if origin is Annotated:
        return values(inner[0])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, inner))
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    if origin is list or (origin is tuple and inner[-1] is Ellipsis):
        return st.lists(values(inner[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(values, inner))
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return st.deferred(lambda: records(annotation))  # a fact is drawn from facts
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(tuple(annotation))
    return SCALARS[annotation]
