"""A scratch project made of what a history recorded: the present code finds the inputs of that time where it looks.

Campaigns, briefs, hooks, recorded calls and held-out sets lie in a home of its own; models are shared. A history from
before settings were recorded takes the present ones, which `causes` says.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from dagster_project.campaign import load_campaign
from dagster_project.giving import HELD_OUT, MARKS
from dagster_project.home import Home
from dagster_project.recorded_campaign import recorded_settings
from dagster_project.reproduction.containment import BundleBroken, path_inside, shortened, write_inside
from dagster_project.reproduction.naming import campaign_name
from envs.record import content_id
from generators.brief import Brief
from generators.discovery import ALONE, RECORDING, VARIABLE, domain_folder
from generators.hooks import FILE
from generators.yaml_documents import yaml_text
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


def environment_of(scratch: Scratch, variables: Mapping[str, str]) -> dict[str, str]:
    """`variables` as a process has them in which the scratch project is the only one there is."""
    return {
        **variables,
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
            folder = path_inside(scratch.domains, batch.partition)
            folder.mkdir(exist_ok=True)
            if inputs == "present":
                _copy_domain(batch.partition, folder)
            else:
                _write_domain(scratch.recorded, batch, folder)
        if batch.asset == "base_policy" and batch.partition:
            _write_campaign(scratch, batch, inputs)


def give_to(scratch: Scratch, batch: Batch, inputs: Inputs) -> None:
    """Put in place what this one batch was given: its campaign's settings, held-out sets, quarantines, LLM calls."""
    if campaign_name(batch):
        _write_campaign(scratch, batch, inputs)
    givens = givens_of(scratch.source, batch.batch_id)
    _mark(scratch.warehouse, {tuple(mark) for each in givens if each.kind == MARKS for mark in each.record["marks"]})
    if inputs == "recorded":
        shutil.rmtree(scratch.home.held_out, ignore_errors=True)
        scratch.home.held_out.mkdir()
        for given in givens:
            if given.kind == HELD_OUT:
                write_inside(scratch.home.held_out, given.name, given.record["text"].encode())
    if batch.asset in ("environment", "candidate_tasks") and batch.partition:
        _write_calls(scratch, batch, batch.partition)


def take_over(scratch: Scratch, batch: Batch) -> Batch:
    """The recorded batch as the newest of its asset in the scratch project, with its artefacts."""

    def moved(table: str, row: dict[str, Any]) -> dict[str, Any]:
        if table != "checkpoints" or row["kind"] == "base":
            return row
        return row | {"path": str(_checkpoint(scratch, row["id"]))}

    if batch.asset == "brief" and (page := page_file(scratch.recorded, batch)).is_file():
        shutil.copy(page, scratch.home.artefacts)
    return copy_batch(scratch.source, batch.batch_id, scratch.warehouse, moved)


def _checkpoint(scratch: Scratch, identity: str) -> Path:
    """The recorded checkpoint's folder, in the scratch project's artefacts."""
    there, here = (path_inside(home.artefacts, identity) for home in (scratch.recorded, scratch.home))
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


def _write_campaign(scratch: Scratch, batch: Batch, inputs: Inputs) -> None:
    """The settings of a batch's campaign where the asset looks for them.

    Recorded held-out sets all lie in the scratch project's own folder, which counts anyway: a name in the settings
    could only lead to another file.
    """
    name = campaign_name(batch) or ""
    recorded = recorded_settings(scratch.source, batch) if inputs == "recorded" else None
    settings = load_campaign(name).model_dump(mode="json") if recorded is None else {**recorded, "held_out": []}
    file = path_inside(scratch.home.campaigns, f"{name}.yaml")
    file.write_text(yaml_text(dict(settings)), encoding="utf-8")


def _write_domain(recorded: Home, batch: Batch, folder: Path) -> None:
    """The brief of a batch and, where it has one, its Python."""
    page = page_file(recorded, batch)
    if not page.is_file():
        raise NotHere(f"the brief {page.name} is not in {recorded.artefacts}")
    (folder / "domain.yaml").write_bytes(page.read_bytes())
    sources = hooks_of(recorded, batch)
    if sources and FILE not in sources:
        raise NotHere(f"the hooks of domain {batch.partition} are a class of a distribution that {FILE} does not hold")
    for path, text in sources.items():
        write_inside(folder, path, text.encode())


def page_file(recorded: Home, batch: Batch) -> Path:
    """The file of a batch's brief."""
    return path_inside(recorded.artefacts, f"brief-{batch.data_version}.json")


def page_of(recorded: Home, batch: Batch) -> Brief:
    """A batch's brief. Raises BundleBroken for a file that is none."""
    file = page_file(recorded, batch)
    try:
        return Brief.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleBroken(f"{file}: is no brief ({error})") from error


def hooks_file(recorded: Home, batch: Batch) -> Path | None:
    """The file with the Python that took part in a domain's brief; None without any."""
    page = page_of(recorded, batch).canonical_fields()
    for file in sorted(recorded.artefacts.glob("hooks-*.json")):
        if content_id(page | {"hooks": file.stem.removeprefix("hooks-")}) == batch.data_version:
            return file
    return None


def hooks_of(recorded: Home, batch: Batch) -> dict[str, str]:
    """The Python that took part in a domain's brief, by path; empty without any. Raises BundleBroken if altered."""
    file = hooks_file(recorded, batch)
    if file is None:
        return {}
    try:
        sources: dict[str, str] = TypeAdapter(dict[str, str]).validate_json(file.read_bytes())
    except ValidationError as error:
        raise BundleBroken(f"{file}: is no object of Python files ({error.errors()[0]['msg']})") from error
    if content_id(sources) != file.stem.removeprefix("hooks-"):
        raise BundleBroken(f"{file}: the Python of domain {batch.partition} was altered: its name is another hash")
    for path in sources:
        if path_inside(file.parent, path).suffix != ".py":
            raise BundleBroken(f"{file}: {shortened(path)} is no Python file")
    return sources


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
    export_extract(store, path_inside(scratch.domains, domain) / RECORDING, [call.id for call in calls], header)
