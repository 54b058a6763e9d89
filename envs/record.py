"""The base of every record the rooms exchange: frozen, content-addressed, rebuilt from its own JSON.

What lives here: identity (RFC 8785 canonical JSON, sha256) and seeds derived from identity. No field of the domain.
One rule: a field at its default is no part of the identity. So a field that is added with a default changes no id, and
a changed default changes the id of every record that holds it.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, Literal, Self, get_args, get_origin

import rfc8785
from pydantic import BaseModel, ConfigDict

MAX_INTEGER = 2**53 - 1
"""The integers JSON can carry between any two programs (RFC 8785)."""
_LEAST, _MOST = 1e-4, 1e16
"""Between these, Python and RFC 8785 write fractions alike: the shortest digits, and no exponent."""


class NotCanonical(ValueError):
    """A value that canonical JSON cannot carry. `place` is its path, such as `golden[0].arguments.n`."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place or 'the value'} {problem}")
        self.place = place
        self.problem = problem


def scalar_problem(value: Any) -> str | None:
    """Why JSON does not carry this text or number between any two programs, as in `is inf, …`; None if it does."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which is not JSON"
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        return "is an integer beyond 2**53 - 1, which JSON does not carry safely"
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds a surrogate without its pair, which is no text"
    return None


def problems(
    value: Any, place: str = "", problem_of: Callable[[Any], str | None] = scalar_problem
) -> Iterator[tuple[str, str]]:
    """(path, problem) of everything in a JSON value that `problem_of` objects to. Named items are told by name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if problem := problem_of(key):
                yield f"{place}{'.' if place else ''}{key!a}", problem
            yield from problems(inner, f"{place}{'.' if place else ''}{key}", problem_of)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            name = inner.get("name") if isinstance(inner, dict) else None
            named = isinstance(name, str) and name.isascii() and name.isidentifier()
            yield from problems(inner, f"{place}.{name}" if named else f"{place}[{number}]", problem_of)
    elif problem := problem_of(value):
        yield place, problem


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value (RFC 8785): sorted keys, shortest numbers, no white space.

    Raises ValueError for what JSON cannot carry; `content_id` and `Record.canonical` name its place.
    """
    try:
        plain = _plain(value)
    except _NotPlain:
        return rfc8785.dumps(value)
    # Written in C, ten times as fast, and alike wherever numbers and keys are plain (a test compares the two).
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


class _NotPlain(Exception):
    """A value that Python's own writer may write otherwise than RFC 8785 asks."""


def _plain(value: Any) -> Any:
    """The value with whole floats as integers. Raises _NotPlain."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict:
        # Keys are sorted by UTF-16 units there and by characters here: the same for these.
        if not all(type(key) is str and key.isascii() for key in value):
            raise _NotPlain
        return {key: _plain(inner) for key, inner in value.items()}
    if kind is list or kind is tuple:
        return [_plain(inner) for inner in value]
    if kind is float and value.is_integer():
        value, kind = int(value), int
    if kind is int and -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    if kind is float and _LEAST <= abs(value) < _MOST:
        return value
    raise _NotPlain


def content_id(value: Any) -> str:
    """The first 32 hex digits of the sha256 of the canonical JSON: equal content, equal id, on every machine.

    Raises NotCanonical.
    """
    return hashlib.sha256(_located_json(value)).hexdigest()[:32]


def _located_json(value: Any, place: str = "") -> bytes:
    """The canonical JSON. Raises NotCanonical, whose path begins with `place`."""
    try:
        return canonical_json(value)
    except (ValueError, OverflowError) as error:
        located = next(problems(value, place), (place, f"is not JSON ({error})"))
        raise NotCanonical(*located) from error


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**31) that depends on every part and on nothing else. Raises NotCanonical."""
    return int(content_id(list(parts))[:8], 16) & 0x7FFF_FFFF


class Record(BaseModel):
    """An immutable record. Its `id` is the hash of its content, so a record is never changed, only superseded.

    The type is no part of the id: wherever an id is kept, its kind stands beside it (a table, the kind of an edge).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def canonical_fields(self) -> dict[str, Any]:
        """The JSON value of this record without fields at their default, also in the records that it holds.

        Always there: a field without a default, and a tag (a `Literal` of one value), by which a union is read back.
        `model_dump` has every field.
        """
        fields: dict[str, Any] = _without_defaults(self, self.model_dump(mode="json"))
        return fields

    def canonical(self) -> bytes:
        """The canonical JSON of `canonical_fields`; `type(self).model_validate_json` gives an equal record back.

        Raises NotCanonical naming the field that JSON cannot carry.
        """
        return _located_json(self.canonical_fields(), type(self).__name__)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other content, and so with an id of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("id", None)
        return copy

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()[:32]


@cache
def record_defaults(kind: type[Record]) -> dict[str, Any]:
    """Field → default as in `canonical_fields`, of every field that identity leaves out at its default."""
    unset = kind.model_construct()  # without validation: only what has a default is there
    dumped = unset.model_dump(mode="json")
    untagged = (name for name in dumped if not _is_tag(kind.model_fields[name].annotation))
    return {name: _without_defaults(getattr(unset, name), dumped[name]) for name in untagged}


def _is_tag(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def _without_defaults(value: Any, dumped: Any) -> Any:
    """`dumped`, the JSON value of `value`, without the fields at their default of every record in it."""
    if isinstance(value, Record) and isinstance(dumped, dict):
        defaults = record_defaults(type(value))
        fields = {name: _without_defaults(getattr(value, name), inner) for name, inner in dumped.items()}
        return {
            name: field
            for name, field in fields.items()
            if name not in defaults or not _same_json(field, defaults[name])
        }
    if isinstance(value, dict) and isinstance(dumped, dict):
        return dict(zip(dumped, map(_without_defaults, value.values(), dumped.values()), strict=True))
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return list(map(_without_defaults, value, dumped))
    return dumped


def _same_json(value: Any, default: Any) -> bool:
    """Whether two JSON values have the same canonical form: 1 and 1.0 have, 1 and true have not."""
    if isinstance(value, bool) or isinstance(default, bool):
        return value is default
    if isinstance(value, dict) and isinstance(default, dict):
        return value.keys() == default.keys() and all(_same_json(value[name], default[name]) for name in value)
    if isinstance(value, list) and isinstance(default, list):
        return len(value) == len(default) and all(map(_same_json, value, default))
    return bool(value == default)
