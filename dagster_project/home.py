"""Where everything of a project lies: `.envloom/`, or wherever `ENVLOOM_HOME` says; and what a person puts there."""

import os
from collections.abc import Iterable
from pathlib import Path

from warehouse.lake import Lake

REPOSITORY = Path(__file__).resolve().parent.parent
DAGSTER_SETTINGS = f"""\
nux:
  enabled: false  # no invitation to a newsletter over the first page
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: {max(2, os.cpu_count() or 2)}  # each is a process of its own; the others wait
  pools:
    default_limit: 1  # an engine, or training, has the machine to itself
run_monitoring:
  enabled: false
"""


class HeldOutMissing(FileNotFoundError):
    """A held-out set that a campaign names is nowhere; the message says where it may lie."""


class Home:
    """The folders of one project. Nothing is made before `prepare`."""

    def __init__(self, root: Path, lake: Lake | None = None) -> None:
        self.root, self.lake = root, lake
        self.dagster = root / "dagster"
        self.warehouse_file = root / "warehouse.duckdb"
        self.warehouse = lake or self.warehouse_file
        self.parts = root / "parts"
        self.artefacts = root / "artefacts"
        self.ledger = root / "ledger.sqlite"
        self.models = root / "models"
        self.logs = root / "logs"
        self.state = root / "state"
        self.running = root / "state" / "running"
        self.jobs = root / "jobs"
        self.merged = root / "merged"
        self.held_out = root / "held_out"
        self.reports = root / "reports"
        self.campaigns = root / "campaigns"

    @classmethod
    def here(cls) -> "Home":
        """The folder named by `ENVLOOM_HOME`, else `.envloom` in the repository; the lake of `ENVLOOM_WAREHOUSE`.

        Raises `LakeMisconfigured`.
        """
        root = Path(os.environ.get("ENVLOOM_HOME") or REPOSITORY / ".envloom").resolve()
        return cls.at(str(root), os.environ.get("ENVLOOM_WAREHOUSE", ""))

    @classmethod
    def at(cls, root: str, lake: str) -> "Home":
        """The home in that folder, on the lake of that setting if there is one. Raises `LakeMisconfigured`."""
        return cls(Path(root), Lake.parse(lake) if lake else None)

    @property
    def lake_setting(self) -> str:
        """What `at` and `ENVLOOM_WAREHOUSE` take; empty where the warehouse is a file."""
        return self.lake.setting() if self.lake else ""

    def held_out_files(self, names: Iterable[str] = ()) -> list[Path]:
        """The held-out sets: every file in `held_out/`, and those of these names, which lie there or in the project.

        Raises HeldOutMissing, naming where it was looked for.
        """
        found = {}
        if self.held_out.is_dir():
            files = sorted(self.held_out.iterdir())
            found = {file.resolve(): None for file in files if not file.name.startswith(".")}
        for name in names:
            places = (self.held_out / name, REPOSITORY / name)
            file = next((place for place in places if place.is_file()), None)
            if file is None:
                raise HeldOutMissing(
                    f"held-out set '{name}' is neither {places[0]} nor {places[1]}. Put the file there, or take the "
                    "name out of the campaign's `held_out`."
                )
            found[file.resolve()] = None
        return list(found)

    def prepare(self) -> "Home":
        """Make the folders, and point Dagster at its own: without a home it forgets its history when it ends.

        Every process started from here finds this home again, and its lake or none.
        """
        for folder in (self.dagster, self.parts, self.artefacts, self.models, self.logs, self.state, self.jobs):
            folder.mkdir(parents=True, exist_ok=True)
        settings = self.dagster / "dagster.yaml"
        if not settings.exists():
            settings.write_text(DAGSTER_SETTINGS)
        os.environ["ENVLOOM_HOME"] = str(self.root)
        os.environ["DAGSTER_HOME"] = str(self.dagster)
        if self.lake:
            os.environ["ENVLOOM_WAREHOUSE"] = self.lake_setting
        else:
            os.environ.pop("ENVLOOM_WAREHOUSE", None)
        return self
