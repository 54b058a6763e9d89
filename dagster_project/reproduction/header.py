"""The header of a bundle, `bundle.json`: what it may say, checked before anything else of the archive is read.

Shapes, ids and names are checked here, and that the files are those of the batches. What a campaign or a brief says
inside is not.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from dagster_project.code_versions import MADE_BY
from dagster_project.giving import CAMPAIGN, HELD_OUT, MARKS, SOURCES
from dagster_project.reproduction.containment import BundleBroken, is_plain, shortened
from dagster_project.reproduction.naming import is_partition
from envs.record import content_id
from warehouse.givens import Given
from warehouse.quarantine import KINDS
from warehouse.tables import RECORD_TABLES, TABLES

VERSION = 1
HEADER = "bundle.json"
DEEPEST = 40
"""Objects and arrays inside one another; a header that we write has about ten."""
MOST_BATCHES = 20_000
"""An iteration of a campaign has three."""
_TABLE_NAMES = {table.name for table in RECORD_TABLES}
_ARTEFACT = re.compile(r"artefacts/((brief|hooks)-[0-9a-f]{32}\.json|[0-9a-f]{32}/(?P<file>[^/]+))")
_RUNTIME: Mapping[str, type | tuple[type, ...]] = {
    "id": str, "code_version": str, "dirty": bool, "lock_sha256": str, "python": str,
    "machine": (str, dict), "libraries": (str, dict),
}  # fmt: skip

Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundledEdge(_Part):
    """An edge of the lineage to a record."""

    parent_kind: str
    parent_id: str
    child_kind: str
    child_id: str
    relation: str


class BundledBatch(_Part):
    """One batch: its names, what it was made from and with, and the tables it has rows of."""

    id: Identity
    asset: str
    partition: str
    data_version: str = Field(pattern=r"^[0-9a-f]{32,64}$")
    code_version: str = Field(pattern=r"^[\w.+-]{1,100}$")
    run_id: str = Field(pattern=r"^[\w-]{1,64}$")
    runtime: dict[str, JsonValue] | None
    inputs: list[Identity]
    edges: list[BundledEdge]
    givens: list[Identity]
    tables: list[str]

    @model_validator(mode="after")
    def _names_an_asset_and_its_partition(self) -> "BundledBatch":
        if self.asset not in MADE_BY:
            raise ValueError(f"asset {shortened(self.asset)} is unknown")
        if not is_partition(self.asset, self.partition):
            raise ValueError(f"partition {shortened(self.partition)} is none of {self.asset}")
        if unknown := sorted(set(self.tables) - _TABLE_NAMES):
            raise ValueError(f"table {shortened(unknown[0])} is unknown")
        return self

    @field_validator("runtime")
    @classmethod
    def _runtime_is_a_row(cls, runtime: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if runtime is None:
            return None
        if runtime.keys() != TABLES["runtimes"].columns.keys():
            raise ValueError(f"columns of a runtime are {', '.join(TABLES['runtimes'].columns)}")
        for name, kind in _RUNTIME.items():
            if not isinstance(runtime[name], kind) and (runtime[name] is not None or name != "lock_sha256"):
                raise ValueError(f"{name} has a wrong type")
        for name in ("machine", "libraries"):
            text = runtime[name]
            if isinstance(text, str) and not isinstance(json.loads(text), dict):
                raise ValueError(f"{name} is no object")
        return runtime


class BundleHeader(_Part):
    """All that a bundle holds."""

    bundle: Literal[1]
    id: Identity
    checkpoint: Identity
    batches: list[BundledBatch] = Field(min_length=1, max_length=MOST_BATCHES)
    givens: dict[Identity, tuple[str, str, dict[str, JsonValue]]]
    files: dict[str, Sha256]

    @field_validator("givens")
    @classmethod
    def _givens_have_their_ids(
        cls, givens: dict[str, tuple[str, str, dict[str, JsonValue]]]
    ) -> dict[str, tuple[str, str, dict[str, JsonValue]]]:
        for identity, (kind, name, record) in givens.items():
            if Given(kind, name, record).id != identity:
                raise ValueError(f"{kind} {shortened(name)} has another id than {identity}")
            if not is_plain(name) or not _GIVEN.get(kind, _is_unknown)(record):
                raise ValueError(f"{kind} {shortened(name)} is nothing that a batch is given")
        return givens

    @model_validator(mode="after")
    def _batches_stand_on_those_before(self) -> "BundleHeader":
        before: set[str] = set()
        for batch in self.batches:
            if batch.id in before or not set(batch.inputs) <= before or not set(batch.givens) <= self.givens.keys():
                raise ValueError(f"batch {batch.id} is there twice, or stands on something that is not before it")
            before.add(batch.id)
        return self

    @model_validator(mode="after")
    def _files_are_those_of_the_batches(self) -> "BundleHeader":
        rows = {f"rows/{batch.id}/{table}.parquet" for batch in self.batches for table in batch.tables}
        for name in self.files:
            artefact = _ARTEFACT.fullmatch(name)
            if name not in rows and not (artefact and is_plain(artefact["file"] or "page")):
                raise ValueError(f"{shortened(name)} is no file of a bundle")
        if missing := sorted(rows - self.files.keys()):
            raise ValueError(f"{missing[0]} is missing")
        return self


def read_header(content: bytes) -> BundleHeader:
    """The header that these bytes are. Raises BundleBroken: which field, and why."""
    try:
        plain = json.loads(content, parse_constant=_refuse)
        if not isinstance(plain, dict) or "bundle" not in plain:
            raise ValueError("it is no header of a bundle")
        if plain["bundle"] != VERSION or isinstance(plain["bundle"], bool):
            raise BundleBroken(
                f"version {str(plain['bundle'])[:20]}, this code reads {VERSION}. Use the code that wrote it."
            )
        _require_depth(plain)
        if content_id({name: value for name, value in plain.items() if name != "id"}) != plain.get("id"):
            raise ValueError("its contents do not have the hash it says")
        return BundleHeader.model_validate(plain)
    except BundleBroken:
        raise
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise BundleBroken(f"{HEADER}: {place[:100] or 'the whole'}: {problem['msg'][:300]}") from error
    except (ValueError, RecursionError) as error:
        raise BundleBroken(f"{HEADER} is not one of a bundle ({str(error)[:300]})") from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _require_depth(value: Any) -> None:
    level, values = 0, [value]
    while values := [
        inner
        for outer in values
        if isinstance(outer, dict | list)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]:
        level += 1
        if level > DEEPEST:
            raise ValueError(f"more than {DEEPEST} objects are inside one another")


def _is_unknown(_: Mapping[str, Any]) -> bool:
    return False


def _are_marks(record: Mapping[str, Any]) -> bool:
    marks = record.get("marks")
    return (
        record.keys() == {"marks"}
        and isinstance(marks, list)
        and all(isinstance(mark, list) and list(map(type, mark)) == [str] * 3 and mark[0] in KINDS for mark in marks)
    )


_GIVEN: Mapping[str, Any] = {
    CAMPAIGN: lambda record: isinstance(record.get("held_out", []), list),
    HELD_OUT: lambda record: record.keys() == {"text"} and isinstance(record["text"], str),
    MARKS: _are_marks,
    SOURCES: lambda record: all(isinstance(sha256, str) for sha256 in record.values()),
}
"""Kind of a given → whether a record is one."""
