"""The brief of a domain: what a person writes in `domains/<name>/domain.yaml`, checked with errors that name the field.

Reading and discovering briefs lives here; what becomes of them does not.
"""

import re
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

BUILT_IN = Path(__file__).parent / "domains"
NAME = r"^[a-z][a-z0-9_]{1,30}$"


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
    tasks: int = Field(80, ge=4, le=20000)
    """Candidate tasks to sample; fewer are proven."""


class Brief(BaseModel):
    """One page of brief. Everything not said is left to the synthesist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=3, max_length=80)
    description: str = Field(min_length=40, max_length=4000)
    clock: str = "2026-03-02T09:00:00"
    """The frozen present of the environment, ISO 8601 without zone."""
    entities: dict[str, str] = {}
    """Entity name → what to know about it. Empty: the synthesist proposes the entities."""
    rules: tuple[str, ...] = ()
    """Business rules in words, given to the synthesist as hints."""
    sizes: Sizes = Sizes()
    seed: int = Field(0, ge=0)

    @field_validator("clock")
    @classmethod
    def _clock_is_local_iso(cls, value: str) -> str:
        if datetime.fromisoformat(value).tzinfo is not None:
            raise ValueError("must have no time zone, such as 2026-03-02T09:00:00")
        return value

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
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise DomainError(f"{file}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise DomainError(f"{file}: must be a mapping with {_fields(Brief)}; found {type(content).__name__}.")
    try:
        return Brief.model_validate(content)
    except ValidationError as error:
        raise DomainError("\n".join(_explain(file, problem) for problem in error.errors())) from error


def _explain(file: Path, problem: object) -> str:
    assert isinstance(problem, dict)
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        model = Sizes if problem["loc"][0] == "sizes" else Brief
        return f"{file}: {where}: is unknown. Use {_fields(model)}."
    return f"{file}: {where}: {problem['msg']} (found {problem['input']!r})."


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def domain_folders() -> dict[str, Path]:
    """Every domain by name: the built-in folders, then those of the entry-point group `envloom.domains`.

    An entry point names a package (or a function returning a path) whose folder holds a `domain.yaml`.
    Raises DomainError if two domains share a name.
    """
    folders = {path.parent.name: path.parent for path in sorted(BUILT_IN.glob("*/domain.yaml"))}
    for point in sorted(entry_points(group="envloom.domains"), key=lambda point: point.name):
        loaded = point.load()
        folder = Path(loaded()) if callable(loaded) else Path(loaded.__file__).parent
        if point.name in folders:
            raise DomainError(f"{folder}: domain '{point.name}' exists already in {folders[point.name]}. Rename one.")
        folders[point.name] = folder
    return folders


def domain_folder(name: str) -> Path:
    """The folder of one domain. Raises DomainError listing the known ones."""
    folders = domain_folders()
    if name not in folders:
        raise DomainError(f"domain '{name}' is unknown. Known: {', '.join(folders)}.")
    return folders[name]


SCAFFOLD = """\
title: {title}
description: >
  Who is served, with what, and what people ask for at the help desk. Two to ten sentences: everything
  that is not said here is left to the synthesist. Name the things that are kept track of and how their status moves.
# entities:            # leave out to have them proposed; those that others refer to first
#   customer: a person with a name, an email and a city
#   order: what a customer orders, with a status (pending, shipped, delivered, cancelled)
sizes: {{ rows: 40, tools: 16, tasks: 80 }}
"""


def scaffold(name: str, parent: Path = BUILT_IN) -> Path:
    """A new brief to fill in: `parent/<name>/domain.yaml`. Raises DomainError if the name is taken or is no name."""
    if not re.match(NAME, name):
        raise DomainError(f"'{name}' must be lower case letters, digits and underscores, such as car_rental.")
    file = parent / name / "domain.yaml"
    if file.exists() or name in domain_folders():
        raise DomainError(f"{file}: domain '{name}' exists already. Edit it, or choose another name.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SCAFFOLD.format(title=name.replace("_", " ").capitalize()))
    return file
