"""A scratch project made of what a history recorded: the present code finds the inputs of that time where it looks.

Campaigns, briefs, hooks, recorded calls and held-out sets lie in a home of its own; models are shared. A history from
before settings were recorded takes the present ones, which `causes` says.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from dagster_project.campaign import Campaign, CampaignError, load_campaign
from dagster_project.giving import CAMPAIGN, HELD_OUT, MARKS
from dagster_project.home import Home
from dagster_project.resources import RECORDING
from envs.record import content_id
from generators.brief import Brief
from generators.discovery import ALONE, VARIABLE, domain_folder
from generators.hooks import FILE
from serving.endpoint import LlmCall
from serving.recording import export_extract
from serving.store import CallStore
from trainer.checkpoint import MANIFEST
from warehouse.copying import copy_batch, givens_of, inputs_of
from warehouse.quarantine import lift, marks, quarantine
from warehouse.replacement import log_of
from warehouse.warehouse import Batch, Warehouse

Inputs = Literal["recorded", "present"]


class NotHere(RuntimeError):
    """Something that a step needs is not on this machine, or cannot be: what."""


@dataclass(frozen=True)
class Scratch:
    """The home of a scratch project, and the home whose history is made again in it."""

    home: Home
    recorded: Home
    domains: Path

    @property
    def source(self) -> Warehouse:
        """The history."""
        return Warehouse(self.recorded.warehouse, self.recorded.parts)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home.warehouse, self.home.parts)


def make_scratch(root: Path, recorded: Home, models: Path) -> Scratch:
    """An empty project in `root` that shares the folder `models`."""
    home = Home(root)
    scratch = Scratch(home, recorded, root / "domains")
    for folder in (home.parts, home.artefacts, home.state, home.jobs, home.logs, home.campaigns, scratch.domains):
        folder.mkdir(parents=True, exist_ok=True)
    if not home.models.exists():
        home.models.symlink_to(models.resolve())
    return scratch


def environment_of(scratch: Scratch) -> dict[str, str]:
    """The variables of a process in which the scratch project is the only one there is."""
    return os.environ | {
        "ENVLOOM_HOME": str(scratch.home.root),
        "ENVLOOM_WAREHOUSE": scratch.home.lake_setting,
        "DAGSTER_HOME": str(scratch.home.dagster),
        VARIABLE: str(scratch.domains),
        ALONE: "1",
    }


def give_inputs(scratch: Scratch, batches: Sequence[Batch], inputs: Inputs) -> None:
    """Put the pages that a history began with where the code looks for them: domains and campaigns.

    Before the process starts, since partitions are counted when it does. With `present` inputs those of this project.
    """
    if inputs == "present" and (sets := Home.here().held_out).is_dir():
        shutil.copytree(sets, scratch.home.held_out)
    for batch in batches:
        if batch.asset == "brief" and batch.partition:
            folder = scratch.domains / batch.partition
            folder.mkdir(exist_ok=True)
            if inputs == "present":
                _copy_domain(batch.partition, folder)
            else:
                _write_domain(scratch.recorded, batch, folder)
        if batch.asset == "base_policy" and batch.partition:
            _write_campaign(scratch, batch.partition, _settings_of(scratch.source, batch, inputs))


def give_to(scratch: Scratch, batch: Batch, inputs: Inputs) -> None:
    """Put in place what this one batch was given: its campaign's settings, held-out sets, quarantines, LLM calls."""
    name = campaign_name(batch)
    if name:
        _write_campaign(scratch, name, _settings_of(scratch.source, batch, inputs))
    givens = givens_of(scratch.source, batch.batch_id)
    _mark(scratch.warehouse, {tuple(mark) for each in givens if each.kind == MARKS for mark in each.record["marks"]})
    if inputs == "recorded":
        shutil.rmtree(scratch.home.held_out, ignore_errors=True)
        scratch.home.held_out.mkdir()
        for given in givens:
            if given.kind == HELD_OUT:
                (scratch.home.held_out / given.name).write_text(given.record["text"], encoding="utf-8")
    if batch.asset in ("environment", "candidate_tasks") and batch.partition:
        _write_calls(scratch, batch, batch.partition)


def campaign_of(source: Warehouse, batch: Batch) -> Campaign:
    """The settings that a batch was made with; the present ones where they were not recorded.

    Raises CampaignError for settings that the present code does not know.
    """
    try:
        return Campaign.model_validate(_settings_of(source, batch, "recorded"))
    except ValidationError as error:
        raise CampaignError(f"the settings of then are none that this code knows: {error}") from error


def _settings_of(source: Warehouse, batch: Batch, inputs: Inputs) -> Mapping[str, Any]:
    name = campaign_name(batch) or ""
    if inputs == "recorded":
        for given in givens_of(source, batch.batch_id):
            if given.kind == CAMPAIGN and given.name == name:
                return given.record
    return load_campaign(name).model_dump(mode="json")


def campaign_name(batch: Batch) -> str | None:
    """The campaign that an asset's partition belongs to; None for the assets of a domain."""
    if batch.asset in ("brief", "environment", "candidate_tasks", "proven_tasks") or batch.partition is None:
        return None
    return batch.partition.rpartition("-")[0] if batch.asset in ITERATED else batch.partition


ITERATED = ("rollouts", "checkpoint", "evaluation")


def take_over(scratch: Scratch, batch: Batch) -> Batch:
    """The recorded batch as the newest of its asset in the scratch project, with its artefacts."""

    def moved(table: str, row: dict[str, Any]) -> dict[str, Any]:
        if table != "checkpoints" or row["kind"] == "base":
            return row
        return row | {"path": str(_checkpoint(scratch, Path(row["path"]).name))}

    if batch.asset == "brief":
        for file in scratch.recorded.artefacts.glob(f"*-{batch.data_version}.json"):
            shutil.copy(file, scratch.home.artefacts)
    return copy_batch(scratch.source, batch.batch_id, scratch.warehouse, moved)


def _checkpoint(scratch: Scratch, identity: str) -> Path:
    """The recorded checkpoint's folder, in the scratch project's artefacts."""
    there, here = scratch.recorded.artefacts / identity, scratch.home.artefacts / identity
    if not (there / MANIFEST).is_file():
        raise NotHere(f"the adapter of checkpoint {identity} is not in {scratch.recorded.artefacts}")
    if not here.exists():
        here.symlink_to(there.resolve())
    return here


@contextmanager
def undone_unless_kept(scratch: Scratch) -> Iterator[list[bool]]:
    """The warehouse as it was before, unless True is put into the list: of two rows of a key the first one stays."""
    files = (scratch.home.warehouse_file, log_of(scratch.home.warehouse_file))
    for file in files:
        file.with_suffix(".before").unlink(missing_ok=True)
        if file.exists():
            shutil.copyfile(file, file.with_suffix(".before"))
    kept: list[bool] = []
    try:
        yield kept
    finally:
        if not any(kept):
            for file in files:
                file.unlink(missing_ok=True)
                if file.with_suffix(".before").exists():
                    file.with_suffix(".before").replace(file)


def inputs_there(scratch: Scratch, batch: Batch) -> list[tuple[Batch, Batch | None]]:
    """Each recorded input of a batch, and the batch that stands for it in the scratch project."""
    recorded = [scratch.source.batch(each) for each in inputs_of(scratch.source, batch.batch_id)]
    return [(each, scratch.warehouse.latest_batch(each.asset, each.partition)) for each in recorded]


def _mark(warehouse: Warehouse, then: set[tuple[str, str, str]]) -> None:
    """Have exactly the quarantines in force that were when a batch was made."""
    now = {(mark.kind, mark.record_id, mark.reason) for mark in marks(warehouse)}
    for kind, identity, _ in now - then:
        lift(warehouse, (kind, identity), "not in force then")
    for kind, identity, reason in sorted(then - now):
        quarantine(warehouse, (kind, identity), reason)


def _write_campaign(scratch: Scratch, name: str, settings: Mapping[str, Any]) -> None:
    file = scratch.home.campaigns / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(settings), sort_keys=False))


def _write_domain(recorded: Home, batch: Batch, folder: Path) -> None:
    """The brief of a batch and, where it has one, its Python."""
    page = recorded.artefacts / f"brief-{batch.data_version}.json"
    if not page.is_file():
        raise NotHere(f"the brief {page.name} is not in {recorded.artefacts}")
    (folder / "domain.yaml").write_bytes(page.read_bytes())
    sources = hooks_of(recorded, batch)
    if sources and FILE not in sources:
        raise NotHere(f"the hooks of domain {batch.partition} are a class of a distribution that {FILE} does not hold")
    for path, text in sources.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def hooks_of(recorded: Home, batch: Batch) -> dict[str, str]:
    """The Python that took part in a domain's brief, by path; empty without any."""
    page = Brief.model_validate_json((recorded.artefacts / f"brief-{batch.data_version}.json").read_bytes())
    for file in sorted(recorded.artefacts.glob("hooks-*.json")):
        told = page.model_dump(mode="json") | {"hooks": file.stem.removeprefix("hooks-")}
        if content_id(told) == batch.data_version:
            sources: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
            return sources
    return {}


def _copy_domain(name: str, folder: Path) -> None:
    there = domain_folder(name)
    for file in (there / "domain.yaml", *there.rglob("*.py")):
        target = folder / file.relative_to(there)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _write_calls(scratch: Scratch, batch: Batch, domain: str) -> None:
    """The batch's LLM calls as the domain's recording, which is then all that answers."""
    records = scratch.source.records(batch.batch_id, "llm_calls")
    calls = [LlmCall.model_validate_json(record) for record in records]
    models = Counter(call.model for call in calls)
    most = max(sorted(models), key=models.__getitem__) if models else "none"
    stages = {call.request.template: call.model for call in calls if call.model != most}
    header = {"model": most, "engine": "recorded", "recorded": batch.created_at.date().isoformat(), "stages": stages}
    ledger = scratch.home.state / f"recorded-{domain}.sqlite"
    for file in ledger.parent.glob(f"{ledger.name}*"):
        file.unlink()
    store = CallStore(scratch.home.state / f"calls-{batch.batch_id}.sqlite")
    store.add(calls)
    export_extract(store, scratch.domains / domain / RECORDING, [call.id for call in calls], header)
