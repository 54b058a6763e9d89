"""Whether what is stored is what was made: nothing is run but what a hash, a row or a reward is computed from.

Every row is derived again from its record, ids and data versions from content, base states from specifications,
rewards, advantages and summaries from rollouts, and artefacts are hashed. What only running an asset can show, such as
the outcome of a check of the proof, is for `remaking`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from dagster_project.campaign import CampaignError
from dagster_project.home import Home
from dagster_project.recorded_campaign import campaign_of
from dagster_project.reproduction.containment import path_inside
from dagster_project.reproduction.deriving import DERIVED, Rows, Stored, scored
from dagster_project.reproduction.outcome import Finding, Status
from dagster_project.reproduction.scratch import hooks_of, page_file, page_of
from dagster_project.training import judge
from envs.errors import EnvironmentBroken, SpecError
from envs.record import content_id
from serving.errors import ServingError
from serving.models import fingerprint_here
from trainer.checkpoint import CheckpointBroken, CheckpointManifest, read_checkpoint
from trainer.rows import rows_sha256, training_rows
from trainer.settings import UpdateConfig, uses_engine_logprobs
from warehouse.compare import Difference, compare_rows, shown
from warehouse.errors import RowsRejected, UnknownBatch
from warehouse.parts import to_arrow
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse

BY_CONTENT = ("brief", "warm_policy", "checkpoint")
"""Assets whose data version is the hash of bytes; of the others it is that of their rows' ids."""


UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EnvironmentBroken,
    LookupError,
    MemoryError,
    RowsRejected,
    RuntimeError,
    SpecError,
    TypeError,
    UnknownBatch,
    ValueError,
    pa.ArrowException,
)
"""What our readers raise at a record that may be anything."""
_LONGEST = 600
"""Characters of an error that are shown."""


class NotVerifiable(RuntimeError):
    """What a batch is to be held against is not on this machine: what."""


def verify(home: Home, warehouse: Warehouse, batch: Batch) -> Finding:
    """The first thing that is wrong with a batch, or how much was looked at."""
    there = Stored(home, warehouse, batch)
    try:
        wrong = next((fault for check in CHECKS for fault in check(there)), None)
    except (NotVerifiable, CampaignError) as error:
        return Finding.of(batch, Status.NOT_HERE, str(error))
    except UNREADABLE as error:
        reason = f"a stored record cannot be read: {type(error).__name__}: {error}"
        return Finding.of(batch, Status.DIFFERENT, reason[:_LONGEST])
    if isinstance(wrong, Difference):
        return Finding.of(batch, Status.DIFFERENT, "not what its record says", wrong)
    if wrong:
        return Finding.of(batch, Status.DIFFERENT, wrong)
    return Finding.of(batch, Status.IDENTICAL, f"{batch.n_rows} rows, ids, hashes")


def _members(there: Stored) -> Iterator[str]:
    """Ids of batch and content."""
    batch = there.batch
    named = there.warehouse.query(
        "SELECT table_name, record_id FROM batch_members WHERE batch_id = ? ORDER BY table_name, position",
        [batch.batch_id],
    )
    ids: dict[str, list[str]] = {}
    for table, identity in named.iter_rows():
        ids.setdefault(table, []).append(identity)
    for table, members in ids.items():
        if missing := len(members) - len(there.tables.get(table, [])):
            yield f"{missing} of {len(members)} rows of {table} are gone"
    if sum(map(len, ids.values())) != batch.n_rows:
        yield f"{batch.n_rows} rows were recorded, {sum(map(len, ids.values()))} are named"
    version = content_id(dict(sorted(ids.items())))
    if batch.asset not in BY_CONTENT and version != batch.data_version:
        yield f"data version {batch.data_version} was recorded; that of its rows is {version}"
    identity = content_id([batch.asset, batch.partition, batch.data_version, batch.run_id])
    if identity != batch.batch_id:
        yield f"the batch is named {batch.batch_id}; asset, partition, content and run say {identity}"


def _rows(there: Stored) -> Iterator[Difference]:
    """Every row against what its record, or what it was computed from, says."""
    for table, rows in there.tables.items():
        if table in DERIVED:
            yield from _apart(table, rows, DERIVED[table](there))


def _apart(table: str, rows: Rows, derived: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    columns = TABLES[table].columns
    told = to_arrow(TABLES[table], [dict.fromkeys(columns) | dict(row) for row in derived])
    frame = pl.from_arrow(told)
    assert isinstance(frame, pl.DataFrame)
    given = {name for row in derived for name in row}  # a column that nothing is said of is not compared
    now = [{name: value for name, value in row.items() if name in given} for row in frame.to_dicts()]
    places = {tuple(row[name] for name in TABLES[table].key): place for place, row in enumerate(rows)}
    now.sort(key=lambda row: places.get(tuple(row[name] for name in TABLES[table].key), len(places)))
    if found := compare_rows(table, rows, now).difference:
        yield found


def _brief(there: Stored) -> Iterator[str]:
    """The page and its Python, under the hash that is the data version."""
    if there.batch.asset != "brief":
        return
    file = page_file(there.home, there.batch)
    if not file.is_file():
        raise NotVerifiable(f"{file} is not there")
    page = page_of(there.home, there.batch).canonical_fields()
    sources = hooks_of(there.home, there.batch)
    version = content_id(page | ({"hooks": content_id(sources)} if sources else {}))
    if version != there.batch.data_version:
        yield f"{file.name} holds another page: its hash is {version}"


def _weights(there: Stored) -> Iterator[str]:
    """Adapters against their manifests, base models against their fingerprints."""
    for row in there.tables.get("checkpoints", []):
        if row["kind"] == "base":
            yield from _base(there, row)
            continue
        folder = path_inside(there.home.artefacts, row["id"])
        if not folder.exists():
            raise NotVerifiable(f"the checkpoint's folder {folder} is not there")
        try:
            manifest = read_checkpoint(folder)
        except CheckpointBroken as error:
            yield str(error)
            return
        if manifest.canonical().decode() != row["record"]:
            yield f"{folder}: its manifest is not the stored one"
        if row["adapter_sha256"] != there.batch.data_version:
            yield f"data version {there.batch.data_version} was recorded; the weights' hash is {row['adapter_sha256']}"
        if "rewards" in there.tables:
            yield from _trained_rows(there, manifest)


def _base(there: Stored, row: Mapping[str, Any]) -> Iterator[str]:
    if there.batch.asset != "base_policy":
        return
    campaign = campaign_of(there.warehouse, [there.batch])
    try:
        fingerprint = fingerprint_here(campaign.policy, there.home.models, campaign.revision)
    except ServingError as error:
        raise NotVerifiable(f"the base model {row['id']} is not here: {error}") from error
    if fingerprint != row["id"]:
        yield f"base model {row['id']} was recorded; {campaign.policy} is another one here"


def _trained_rows(there: Stored, manifest: CheckpointManifest) -> Iterator[str]:
    """The tokens, logprobs and advantages that were trained on, against the hash that the manifest has of them."""
    rollouts = scored(there)
    _, advantages = judge(rollouts, campaign_of(there.warehouse, [there.batch]))
    rows = training_rows(rollouts, [each for each in advantages if not each.left_out])
    config = UpdateConfig.model_validate(manifest.config)
    found = rows_sha256(rows, behaviour=uses_engine_logprobs(config))
    if found != manifest.rows_sha256:
        yield f"rows of sha256 {shown(manifest.rows_sha256[:16])} were trained; the stored rollouts give {found[:16]}"


CHECKS: tuple[Callable[[Stored], Iterator[Difference | str]], ...] = (_members, _brief, _rows, _weights)
