"""The brief of a domain: what a person writes in `<name>/domain.yaml`, checked with errors that name the field.

Reading a brief lives here; where domains are found is in `generators.discovery`, what becomes of them elsewhere.
"""

import difflib
import re
from collections.abc import Hashable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

NAME = r"^[a-z][a-z0-9_]{1,30}$"
FIELDS = {
    "title": "a name of 3 to 80 letters, such as `title: Car rental`",
    "description": "40 to 4000 letters on who is served, with what, and what people ask for",
    "kind": "service (tables and tools, the default) or documents (texts to be searched; see docs/documents.md)",
    "clock": "a date and time without zone, such as 2026-03-02T09:00:00",
    "entities": "a mapping of names to hints, such as `order: what a customer orders, with a status (open, paid)`",
    "rules": "a list of sentences, such as `- An open order can be paid.`",
    "sizes": "a mapping, such as `{ rows: 40, tools: 16, tasks: 80 }`",
    "seed": "a whole number from 0",
}
"""What may stand in each field, for people."""


class DomainError(ValueError):
    """A domain's folder or brief is not usable: what, where, remedy."""


class Sizes(BaseModel):
    """How much to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: int = Field(4, ge=2, le=12)
    """Asked of the model when the brief leaves the entities open."""
    rows: int = Field(40, ge=8, le=5000)
    """Rows of a table that refers to others (orders, loans); those it refers to get as many as they have names."""
    tools: int = Field(16, ge=4, le=60)
    free_tools: int = Field(0, ge=0, le=20)
    """Tools that the synthesist writes of its own, beside those that follow from the tables; it takes a strong one."""
    tasks: int = Field(80, ge=4, le=20000)
    """Candidate tasks to sample; fewer are proven."""
    paraphrases: int = Field(0, ge=0, le=20000)
    """Requests to have told again by a person, at one LLM call each; tools and texts cost the same for any number."""


class Brief(BaseModel):
    """One page of brief. Everything not said is left to the synthesist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=3, max_length=80)
    description: str = Field(min_length=40, max_length=4000)
    kind: Literal["service", "documents"] = "service"
    """What is made of it: tables with tools that read and write them, or documents to be searched and read."""
    clock: str = "2026-03-02T09:00:00"
    """The frozen present of the environment, ISO 8601 without zone."""
    entities: dict[str, str] = {}
    """Entity name → what to know about it. Empty: the synthesist proposes the entities."""
    rules: tuple[str, ...] = ()
    """Business rules in words, given to the synthesist as hints."""
    sizes: Sizes = Sizes()
    seed: int = Field(0, ge=0)

    @field_validator("clock", mode="before")
    @classmethod
    def _clock_is_local_iso(cls, value: object) -> str:
        # YAML reads an unquoted date and time as one.
        try:
            clock = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError as error:
            raise ValueError("is no date and time") from error
        if clock.tzinfo is not None:
            raise ValueError("must have no time zone")
        return clock.isoformat(timespec="seconds")

    @field_validator("entities")
    @classmethod
    def _entity_names_are_identifiers(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.match(NAME, name):
                raise ValueError(f"'{name}' must be lower case letters, digits and underscores, such as order_line")
        if len(value) == 1:
            raise ValueError("name at least two entities, or none to leave them open")
        return value


def load_brief(folder: Path) -> Brief:
    """The brief in `folder/domain.yaml`. Raises DomainError naming the file, the field and what is allowed there."""
    file = folder / "domain.yaml"
    if not file.is_file():
        raise DomainError(f"{file}: not found. Scaffold a domain with `envloom domain new {folder.name}`.")
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        remedy = "Quote texts that contain a colon, and indent with spaces."
        raise DomainError(f"{file}: is not YAML: {error}. {remedy}") from error
    if not isinstance(content, dict):
        raise DomainError(f"{file}: must be a mapping with {_fields(Brief)}; found {type(content).__name__}.")
    try:
        return Brief.model_validate(content)
    except ValidationError as error:
        raise DomainError("\n".join(_explain(file, problem) for problem in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error: the first of two entities would vanish in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice[0]}' is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _explain(file: Path, problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    field = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        model = Sizes if field == "sizes" else Brief
        return f"{file}: {where}: is unknown. {did_you_mean(str(problem['loc'][-1]), model.model_fields)}"
    if problem["type"] == "missing":
        return f"{file}: {where}: is required. Write {FIELDS.get(field, field)}."
    found = f"found {str(problem['input'])[:80]!r}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{file}: {where}: {said} ({found}). Write {FIELDS.get(field, field)}."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The likeliest of the known names, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"Did you mean {close[0]}? " if close else ""
    return f"{meant}Known: {', '.join(names)}."


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)
