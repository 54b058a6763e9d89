"""The brief of a domain: what a person writes in `<name>/domain.yaml`, checked with errors that name the field.

Reading a brief lives here; where domains are found is in `generators.discovery`, what becomes of them elsewhere.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from envs.record import Record
from generators.fields import MAX_INTEGER, FieldsInvalid, Problem, validated
from generators.yaml_documents import YamlUnreadable, read_yaml

NAME = r"[a-z][a-z0-9_]{1,30}"
"""A whole name of a domain or an entity."""
YEARS = (1900, 2199)
"""First and last year of a clock: dates stand around it, up to 120 years before."""
FIELDS = {
    "title": "a name of 3 to 80 letters, such as `title: Car rental`",
    "description": "40 to 4000 letters on who is served, with what, and what people ask for",
    "kind": "service (tables and tools, the default) or documents (texts to be searched; see docs/documents.md)",
    "clock": f"a date and time from {YEARS[0]} to {YEARS[1]} without zone, such as 2026-03-02T09:00:00",
    "entities": "a mapping of names to hints, such as `order: what a customer orders, with a status (open, paid)`",
    "rules": "a list of sentences, such as `- An open order can be paid.`",
    "sizes": "a mapping, such as `{ rows: 40, tools: 16, tasks: 80 }`",
    "seed": f"a whole number from 0 to {MAX_INTEGER}",
    "answers_seed": f"a whole number from 0 to {MAX_INTEGER}",
}
"""What may stand in each field, for people."""


class DomainError(ValueError):
    """A domain's folder or brief is not usable: what, where, remedy."""


class Sizes(Record):
    """How much to make."""

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


class Brief(Record):
    """One page about a domain: what it is for, and if wished its entities, rules, sizes, clock and seed.

    Everything else is left to the generator model. `load_brief(folder)` reads one from a file, `synthesise` makes an
    environment of it.

        Brief(title="City library", description="Members borrow books, renew loans and reserve copies that are out.")
    """

    title: str = Field(min_length=3, max_length=80)
    description: str = Field(min_length=40, max_length=4000)
    kind: Literal["service", "documents"] = "service"
    """What is made of it: tables with tools that read and write them, or documents to be searched and read."""
    clock: str = "2026-03-02T09:00:00"
    """The frozen present of the environment, ISO 8601 without zone."""
    entities: dict[str, str] = Field(default_factory=dict)
    """Entity name → what to know about it. Empty: the synthesist proposes the entities."""
    rules: tuple[str, ...] = ()
    """Business rules in words, given to the synthesist as hints."""
    sizes: Sizes = Sizes()
    seed: int = Field(0, ge=0, le=MAX_INTEGER)
    """Draws rows, tasks and prices. The model is asked the same under every seed, except for paraphrases."""
    answers_seed: int = Field(0, ge=0, le=MAX_INTEGER)
    """Goes out with every question to the model: another one, other answers and other tools, recorded anew."""

    def as_asked(self) -> "Brief":
        """The page as questions to the model see it: without the seed, the clock and the number of rows.

        Where an answer is tried out on rows before it is accepted, these come from this page. So the recorded answers
        are accepted, and no other question follows, whatever the three are.
        """
        sizes = self.sizes.model_copy(update={"rows": Sizes().rows})
        update = {"seed": self.answers_seed, "clock": Brief.model_fields["clock"].default, "sizes": sizes}
        return self.model_copy(update=update)

    @field_validator("clock", mode="before")
    @classmethod
    def _clock_is_local_iso(cls, value: object) -> str:
        try:
            clock = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise ValueError("is no date and time") from error
        if clock.tzinfo is not None:
            raise ValueError("must have no time zone")
        if clock.microsecond:
            raise ValueError("must have no fraction of a second")
        if not YEARS[0] <= clock.year <= YEARS[1]:
            raise ValueError(f"must lie in the years {YEARS[0]} to {YEARS[1]}")
        return clock.isoformat(timespec="seconds")

    @field_validator("entities")
    @classmethod
    def _entity_names_are_identifiers(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"'{name[:40]}' must be lower case letters, digits and underscores: order_line")
        if len(value) == 1:
            raise ValueError("name at least two entities, or none to leave them open")
        return value


def load_brief(folder: Path) -> Brief:
    """The brief in the file `domain.yaml` of a domain's folder.

    Raises DomainError naming the file, the field and what is allowed there.
    """
    file = folder / "domain.yaml"
    if not file.is_file():
        raise DomainError(f"{file}: not found. Scaffold a domain with `envloom domain new {folder.name}`.")
    try:
        content = read_yaml(file)
    except YamlUnreadable as error:
        raise DomainError(f"{file}: {error}") from error
    if not isinstance(content, dict):
        fields = ", ".join(Brief.model_fields)
        raise DomainError(f"{file}: must be a mapping with {fields}; found {_shown(content)}.")
    try:
        return validated(Brief, content)
    except FieldsInvalid as error:
        raise DomainError("\n".join(_explained(file, problem) for problem in error.problems)) from error


def _explained(file: Path, problem: Problem) -> str:
    if problem.kind == "unknown":
        return f"{file}: {problem.where}: {problem.message}."
    field = str(problem.path[0])
    value = f" (found {_shown(problem.value)})" if problem.kind == "value" else ""
    return f"{file}: {problem.where}: {problem.message}{value}. Write {FIELDS[field]}."


def _shown(value: Any) -> str:
    """A value for a message. Of a list or a mapping only its kind: aliases make it as long as they like."""
    if isinstance(value, list | dict):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(value)[:80]
