"""What an asset is given beside batches, as it is recorded with what it makes: settings, held-out sets, sources, and
quarantines in force.

A reproduction takes these instead of the present files, and tells how the two differ.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from dagster_project.campaign import Campaign
from dagster_project.home import REPOSITORY
from generators.decontamination import held_out_text
from warehouse.givens import Given
from warehouse.quarantine import marks
from warehouse.warehouse import Warehouse

CAMPAIGN, HELD_OUT, MARKS, SOURCES = "campaign", "held_out", "marks", "sources"
ROOMS = ("dagster_project", "envs", "generators", "serving", "trainer", "warehouse")


def given_campaign(name: str, campaign: Campaign) -> Given:
    """The campaign's settings, defaults too."""
    return Given(CAMPAIGN, name, campaign.model_dump(mode="json"))


def given_held_out(files: Iterable[Path]) -> list[Given]:
    """Held-out sets, with their whole text. Raises HeldOutError."""
    return [Given(HELD_OUT, file.name, {"text": held_out_text(file)}) for file in files]


def given_marks(warehouse: Warehouse) -> list[Given]:
    """The quarantines in force, since an asset leaves out what they reach; nothing if there are none."""
    found = [[mark.kind, mark.record_id, mark.reason] for mark in marks(warehouse)]
    return [Given(MARKS, "quarantines", {"marks": found})] if found else []


@cache
def given_sources() -> Given:
    """The sha256 of every source file and prompt of ours, as they were when this process first asked."""
    return Given(SOURCES, "sources", source_hashes(REPOSITORY))


def source_hashes(root: Path) -> dict[str, str]:
    """Path below `root` → sha256 of every source file and prompt of our packages."""
    files = (file for room in ROOMS for file in (root / room).rglob("*") if file.suffix in (".py", ".j2"))
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
