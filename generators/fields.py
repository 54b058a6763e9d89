"""What is wrong with the fields of a file that a person wrote, for any model: where, and what would be right.

No message quotes a value, which may be a secret in the wrong field; a caller may add one where that is safe.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
FieldPath: TypeAlias = tuple[str | int, ...]
MAX_INTEGER = 2**53 - 1
"""The largest whole number that every reader of JSON carries exactly."""
_LONGEST = 300
_KINDS = {
    "int": "a whole number in plain digits, without quotes",
    "float": "a number in plain digits, without quotes",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}
"""The kinds of fields in the words of YAML, by the first word of pydantic's error."""


@dataclass(frozen=True)
class Problem:
    """One field that cannot be used."""

    path: FieldPath
    kind: Literal["unknown", "missing", "value"]
    message: str
    """What is wrong with the field, for people, without a full stop."""
    value: Any = None
    """The content of the field, for callers that may quote it."""

    @property
    def where(self) -> str:
        """The path for people: `rollouts.workers.count`."""
        return ".".join(str(part)[:40] for part in self.path)

    @property
    def sentence(self) -> str:
        """Field and finding; the finding alone where it concerns the whole file."""
        return f"{self.where}: {self.message}." if self.path else f"{self.message}."


class FieldsInvalid(ValueError):
    """Fields cannot be used; `problems` has all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.sentence for problem in self.problems))


def validated(model: type[Model], content: dict[str, Any]) -> Model:
    """The content as a model; no number is made of a text, a fraction or a yes. Raises FieldsInvalid."""
    try:
        read = model.model_validate(content)
    except ValidationError as error:
        # Not `from error`: pydantic's message quotes values, and Dagster stores causes with an error.
        raise FieldsInvalid(_problem(model, details) for details in error.errors()) from None
    if problems := list(_misread(content, read, ())):
        raise FieldsInvalid(problems)
    return read


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The likeliest of the known names, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name[:80], names, n=1)
    meant = f"Did you mean {close[0]}? " if close else ""
    return f"{meant}Known: {', '.join(names)}."


def _problem(model: type[BaseModel], details: Any) -> Problem:
    """A finding of pydantic."""
    path: FieldPath = details["loc"]
    if details["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        remedy = did_you_mean(str(path[-1]), owner.model_fields) if owner else "Leave it out."
        return Problem(path, "unknown", f"is unknown. {remedy.rstrip('.')}")
    if details["type"] == "missing":
        return Problem(path, "missing", "is required")
    if details["type"] == "string_type" and isinstance(details["input"], bool | int | float):
        return Problem(path, "value", "must be text: put it in quotes", details["input"])
    if kind := _KINDS.get(details["type"].split("_")[0]):
        return Problem(path, "value", f"must be {kind}", details["input"])
    message = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return Problem(path, "value", message[:_LONGEST].rstrip("."), details["input"])


def _model_at(model: type[BaseModel], path: FieldPath) -> type[BaseModel] | None:
    """The model of the field at a path; None where fields of several models may stand."""
    for part in path:
        if part not in model.model_fields:
            return None
        annotation = model.model_fields[str(part)].annotation
        models = [kind for kind in (annotation, *get_args(annotation)) if _is_model(kind)]
        if len(models) != 1:
            return None
        model = models[0]
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _misread(content: Any, read: Any, path: FieldPath) -> Iterator[Problem]:
    """Numbers of the model that are not the number that was written, or that JSON does not carry."""
    if isinstance(content, dict) and isinstance(read, dict | BaseModel):
        fields = dict(read)
        for key in content.keys() & fields.keys():
            yield from _misread(content[key], fields[key], (*path, key))
    elif isinstance(content, list) and isinstance(read, list | tuple):
        for place, (written, item) in enumerate(zip(content, read, strict=False)):
            yield from _misread(written, item, (*path, place))
    elif isinstance(read, int | float) and not isinstance(read, bool):
        if isinstance(read, int) and (isinstance(content, bool) or not isinstance(content, int)):
            yield Problem(path, "value", f"must be {_KINDS['int']}", content)
        elif isinstance(read, int) and abs(read) > MAX_INTEGER:
            yield Problem(path, "value", f"must lie between -{MAX_INTEGER} and {MAX_INTEGER}", content)
        elif isinstance(content, bool | str):
            yield Problem(path, "value", f"must be {_KINDS['float']}", content)
        elif not isfinite(read):
            yield Problem(path, "value", "must be a finite number", content)
