"""What is otherwise here than it was when a batch was made: settings, pages, prompts, code, libraries, the machine.

Each cause names one thing with what it was and what it is. Only what an asset stands on is told of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dagster_project.campaign import CampaignError, load_campaign
from dagster_project.code_versions import MADE_BY
from dagster_project.giving import CAMPAIGN, HELD_OUT, SOURCES, given_held_out, source_hashes
from dagster_project.home import REPOSITORY, Home
from dagster_project.recorded_campaign import campaign_of
from dagster_project.reproduction.naming import campaign_name
from dagster_project.reproduction.outcome import Finding, Status
from dagster_project.reproduction.scratch import hooks_of, page_file, page_of
from dagster_project.runtime import runtime_row
from dagster_project.sources import Sources
from generators.brief import DomainError, load_brief
from generators.discovery import domain_folder
from generators.hooked import load_hooks
from generators.prompts import FOLDER, template_sha256
from trainer.settings import uses_engine_logprobs
from warehouse.compare import ABSENT, shown
from warehouse.copying import givens_of, runtime_of
from warehouse.givens import Given
from warehouse.warehouse import Batch, Warehouse

TRAINED = ("warm_policy", "checkpoint")
SAMPLED = ("rollouts", "difficulty", "baseline", "evaluation")
AROUND = ("python", "machine", "libraries")
_LONG = 12  # hex digits of a hash that are shown


@dataclass(frozen=True)
class Causes:
    """The present project, to hold recorded batches against."""

    recorded: Home
    """The home of the history."""
    present: Home
    code_version: str
    """What the present code calls itself."""

    @cached_property
    def history(self) -> Warehouse:
        return Warehouse(self.recorded.warehouse, self.recorded.parts)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return source_hashes(REPOSITORY)

    @cached_property
    def _sources(self) -> Sources:
        return Sources(REPOSITORY)

    def of(self, batch: Batch) -> tuple[str, ...]:
        """Everything of ours that the batch stands on and that is otherwise here: settings, pages, prompts, code."""
        givens = givens_of(self.history, batch.batch_id)
        return (
            *self._settings(batch, givens),
            *self._held_out(batch, givens),
            *self._pages(batch),
            *self._templates(batch),
            *self._code(batch, givens),
        )

    def code(self, batch: Batch) -> tuple[str, ...]:
        """Of that, the code alone."""
        return tuple(self._code(batch, givens_of(self.history, batch.batch_id)))

    def around(self, batch: Batch) -> tuple[str, ...]:
        """What it ran on and is otherwise here: Python, libraries, machine; nothing where it was not recorded."""
        then, now = runtime_of(self.history, batch), runtime_row(self.code_version)
        if then is None:
            return ()
        before, here = ({name: _plain(row[name]) for name in AROUND} for row in (then, now))
        return tuple(f"{place}: recorded {one}, here {other}" for place, one, other in differences(before, here))

    def sampled_on_gpu(self, batch: Batch) -> bool:
        """Whether an engine on a GPU drew the tokens: which ones depends there on what it computed together."""
        then = runtime_of(self.history, batch)
        return batch.asset in SAMPLED and then is not None and bool(_plain(then["machine"]).get("gpus"))

    def trained_on_engine(self, batch: Batch) -> bool:
        """Whether an update's bytes hang on the engine's logprobs, whose last digits no two runs share."""
        return batch.asset == "checkpoint" and uses_engine_logprobs(campaign_of(self.history, [batch]).update)

    def commit(self, batch: Batch) -> tuple[str, ...]:
        """The commit, if it is another."""
        if batch.code_version == self.code_version:
            return ()
        return (f"git sha: recorded {batch.code_version}, here {self.code_version}",)

    def _settings(self, batch: Batch, givens: list[Given]) -> Iterator[str]:
        name = campaign_name(batch)
        if name is None:
            return
        then = next((given for given in givens if given.kind == CAMPAIGN and given.name == name), None)
        if then is None:
            yield f"campaign {name}: its settings were not recorded; the present file is taken for them"
            return
        try:
            now = load_campaign(name).model_dump(mode="json")
        except CampaignError as error:
            yield f"campaign {name}: {error}"
            return
        for place, recorded, here in differences(then.record, now):
            yield f"campaign {name}: {place}: recorded {recorded}, here {here}"

    def _held_out(self, batch: Batch, givens: list[Given]) -> Iterator[str]:
        if batch.asset not in ("proven_tasks", "task_dataset"):
            return
        then = {given.name: given.id for given in givens if given.kind == HELD_OUT}
        names = [] if batch.asset == "proven_tasks" else self._named_files(givens)
        try:
            now = {given.name: given.id for given in given_held_out(self.present.held_out_files(names))}
        except (OSError, UnicodeDecodeError) as error:
            yield f"held-out sets: {error}"
            return
        yield from _changed("held-out set", then, now)

    def _named_files(self, givens: list[Given]) -> list[str]:
        return [name for given in givens if given.kind == CAMPAIGN for name in given.record.get("held_out", ())]

    def _pages(self, batch: Batch) -> Iterator[str]:
        """The brief and the Python of a domain."""
        if batch.asset != "brief" or batch.partition is None:
            return
        if not page_file(self.recorded, batch).is_file():
            return
        then = page_of(self.recorded, batch).model_dump(mode="json")
        try:
            now = load_brief(domain_folder(batch.partition)).model_dump(mode="json")
            hooks = _hashed(load_hooks(batch.partition).sources)
        except DomainError as error:
            yield f"brief of {batch.partition}: {error}"
            return
        for place, recorded, here in differences(then, now):
            yield f"brief of {batch.partition}: {place}: recorded {recorded}, here {here}"
        yield from _changed(f"hooks of {batch.partition}", _hashed(hooks_of(self.recorded, batch)), hooks)

    def _templates(self, batch: Batch) -> Iterator[str]:
        """Prompt templates whose text is another than that of the batch's calls."""
        calls = self.history.query(
            "SELECT DISTINCT template, template_sha256 FROM batch_llm_calls WHERE batch_id = ? ORDER BY template",
            [batch.batch_id],
        )
        for name, then in calls.iter_rows():
            now = template_sha256(name) if (FOLDER / f"{name}.j2").is_file() else ABSENT
            if now != then:
                yield f"prompt template {name}: recorded {then[:_LONG]}, here {now[:_LONG]}"

    def _code(self, batch: Batch, givens: list[Given]) -> Iterator[str]:
        """Source files whose hash is another, of those that the asset's code is in."""
        then = next((given.record for given in givens if given.kind == SOURCES), None)
        if then is None:
            yield from self.commit(batch)
            return
        changed = {path for path in {*then, *self._hashes} if then.get(path) != self._hashes.get(path)}
        if changed:
            reached = self._sources.reached(*MADE_BY[batch.asset]).symbols
            modules = {module.replace(".", "/") for module, _ in reached}
            asked = {path for path in changed if _module_of(path) in modules}
            sides = ({path: side[path] for path in asked if path in side} for side in (then, self._hashes))
            yield from _changed("code", *sides)


def explained(finding: Finding, batch: Batch, causes: Causes, mode: str) -> Finding:
    """The finding with its causes. What differs although nothing of ours does is not reproducible here.

    To what is stored only the code matters that computes it again.
    """
    if finding.status is Status.TAKEN:
        return finding
    if mode == "verify":
        return finding if finding.status is Status.IDENTICAL else replace(finding, causes=causes.code(batch))
    ours, around = causes.of(batch), causes.around(batch)
    if finding.status is Status.DIFFERENT:
        if not ours and mode == "regenerate" and causes.sampled_on_gpu(batch):
            return replace(finding, status=Status.NOT_HERE, causes=("sampled on a GPU", *around))
        if not ours and mode == "regenerate" and causes.trained_on_engine(batch):
            told = "campaign: update.behaviour is engine: its logprobs differ in the last digits from run to run"
            return replace(finding, status=Status.NOT_HERE, causes=(told, *around))
        if not ours and around and batch.asset in (*TRAINED, *SAMPLED):
            return replace(finding, status=Status.NOT_HERE, causes=around)
    return replace(finding, causes=(*ours, *around))


def differences(then: Any, now: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Place and both values of everything that differs in two JSON values; a setting that is new has its default."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in {**then, **now}:
            inner = f"{place}.{name}" if place else str(name)
            yield from differences(then.get(name, ABSENT), now.get(name, ABSENT), inner)
    elif then != now:
        yield place, shown(then), shown(now)


def _changed(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        one, other = then.get(name, ABSENT), now.get(name, ABSENT)
        if one != other:
            yield f"{what} {name}: recorded {one[:_LONG]}, here {other[:_LONG]}"


def _hashed(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__")


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
