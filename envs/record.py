"""The base of every record the rooms exchange: frozen, content-addressed, rebuilt from its own JSON.

What lives here: identity (RFC 8785 canonical JSON, sha256) and seeds derived from identity. No field of the domain.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Self

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
    """An immutable record. Its `id` is the hash of its content, so a record is never changed, only superseded."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def canonical(self) -> bytes:
        """The canonical JSON of this record; `type(self).model_validate_json` gives an equal record back.

        Raises NotCanonical naming the field that JSON cannot carry.
        """
        return _located_json(self.model_dump(mode="json"), type(self).__name__)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other content, and so with an id of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("id", None)
        return copy

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()[:32]
