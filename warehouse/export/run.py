"""What all exports have in common: what they are asked, what they leave out, and how they end with a card."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envs.work_folder import work_folder
from warehouse.export.card import Description, render_card
from warehouse.export.columns import Configuration
from warehouse.export.folder import DatasetFolder, ExportRefused
from warehouse.export.provenance import provenance
from warehouse.export.quarantined import Quarantined, quarantined_rollouts
from warehouse.export.rollouts import StoredRollout, stage_rollouts, stored_rollouts
from warehouse.export.selection import Selection
from warehouse.proven import unproven
from warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Wanted:
    """What every export is asked."""

    selection: Selection
    out: Path
    code_version: str
    """The commit of the code that exports; it stands on the card."""
    licence: str = "unknown"
    """Of the dataset, as the hub names licences."""
    model_licences: dict[str, str] = field(default_factory=dict)
    """Model name → licence, for models that are not packaged."""
    unproven_too: bool = False


@dataclass(frozen=True)
class Exported:
    """A finished folder: rows by configuration and split, and what was left out, by reason."""

    path: Path
    rows: dict[str, dict[str, int]]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Staged:
    """Rollouts that were copied out of the warehouse."""

    whose: str
    """`campaign demo`, or the batch."""
    batch_ids: list[str]
    """Theirs, and those of their rewards."""
    rollouts: Iterator[StoredRollout]
    """All of them, group by group, one at a time."""


class Export:
    """One export on its way. Its first configuration is the default one, and must not end empty."""

    def __init__(self, warehouse: Warehouse, wanted: Wanted, *configurations: Configuration) -> None:
        self.warehouse, self.wanted, self.configurations = warehouse, wanted, configurations
        self.left_out: dict[str, int] = {}
        self.notes: list[str] = []
        self._simulated = 0
        self._experts: set[str] = set()

    def leave_out(self, reason: str, records: int) -> None:
        """Count what is not exported; the card tells."""
        if records:
            self.left_out[reason] = self.left_out.get(reason, 0) + records

    def leave_out_quarantined(self, found: Quarantined) -> None:
        """Count them by what keeps them out."""
        for reason, records in found.reasons.items():
            self.leave_out(reason, records)

    def require_proven(self, task_ids: Sequence[str]) -> None:
        """Raises ExportRefused for tasks that are unproven, unless they were asked for: then the card says so."""
        found = unproven(self.warehouse, task_ids)
        if found and not self.wanted.unproven_too:
            raise ExportRefused(
                f"{len(found)} of {len(task_ids)} tasks are not proven, the first is {found[0]}. Put them to the proof "
                "(materialise proven_tasks), or export them as they are with --unproven."
            )
        if found:
            self.notes.append(f"{len(found)} of {len(task_ids)} tasks are not proven: they may be unsolvable.")

    @contextmanager
    def staged_rollouts(self) -> Iterator[Staged]:
        """The rollouts of the selection but for quarantined ones, as files that are gone afterwards."""
        whose, batch_ids = self.wanted.selection.rollouts(self.warehouse)
        bad = quarantined_rollouts(self.warehouse, batch_ids)
        self.leave_out_quarantined(bad)
        with work_folder("envloom-export-") as staging:
            rewarded_by, task_ids = stage_rollouts(self.warehouse, batch_ids, bad.ids, staging)
            self.require_proven(task_ids)
            yield Staged(whose, [*batch_ids, *rewarded_by], self._watched(stored_rollouts(staging)))

    def _watched(self, rollouts: Iterator[StoredRollout]) -> Iterator[StoredRollout]:
        """The rollouts, with an eye on the experts on offer: the card has to tell of them."""
        for rollout in rollouts:
            self._simulated += rollout.row["simulated_experts"]
            self._experts |= {expert.profile for expert in rollout.toolbox.experts if not expert.simulated}
            yield rollout

    def _about_experts(self) -> list[str]:
        notes = []
        if self._simulated:
            notes.append(f"{self._simulated} of the rollouts read were offered simulated experts.")
        if self._experts:
            names = ", ".join(sorted(self._experts))
            notes.append(f"Words of models stand in results of experts ({names}): mind the licences of those too.")
        return notes

    def folder(self) -> DatasetFolder:
        """The folder to fill."""
        return DatasetFolder(self.wanted.out, self.configurations)

    def publish(
        self, folder: DatasetFolder, batch_ids: Sequence[str], title: str, about: str, tags: Sequence[str], nothing: str
    ) -> Exported:
        """End the folder's files and describe them. Raises ExportRefused, saying `nothing`, where there is no row."""
        written = folder.finish()
        if not any(name == self.configurations[0].name for name, _ in written):
            raise ExportRefused(nothing)
        description = Description(
            title=title,
            about=about,
            tags=tuple(tags),
            left_out=self.left_out,
            notes=(*self.notes, *self._about_experts()),
            code_version=self.wanted.code_version,
            licence=self.wanted.licence,
            model_licences=self.wanted.model_licences,
            line_files=folder.line_files(),
        )
        origin = provenance(self.warehouse, batch_ids, self.wanted.selection.assets)
        folder.describe(render_card(description, self.configurations, written, origin))
        rows: dict[str, dict[str, int]] = {}
        for (configuration, split), of in written.items():
            rows.setdefault(configuration, {})[split] = of.rows
        return Exported(folder.target, rows, self.left_out)
