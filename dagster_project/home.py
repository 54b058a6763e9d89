"""Where everything of a project lies: `.envloom/`, or wherever `ENVLOOM_HOME` says; and what a person puts there."""

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import yaml

from warehouse.errors import naming_full_disk
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
DAGSTER_STORAGE = """\
storage:  # SQLite in this folder, for any folder name and any number of processes
  custom:
    module: dagster_project.sqlite_history
    class: History
    config:
      base_dir:
        env: DAGSTER_HOME
"""


class HomeError(Exception):
    """A folder that cannot be a home; the message names it, and the remedy."""


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

        Raises `HomeError` and `LakeMisconfigured`.
        """
        root = _resolved(Path(os.environ.get("ENVLOOM_HOME") or REPOSITORY / ".envloom"))
        _require_usable(root)
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
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise FileNotFoundError(
                    f"held-out set '{name}' lies elsewhere. Put the file into {self.held_out}, and write its name "
                    "alone into the campaign's `held_out`."
                )
            places = (self.held_out / name, REPOSITORY / name)
            file = next((place for place in places if place.is_file()), None)
            if file is None:
                raise HeldOutMissing(
                    f"held-out set '{name}' is neither {places[0]} nor {places[1]}. Put the file there, or take the "
                    "name out of the campaign's `held_out`."
                )
            found[file.resolve()] = None
        return list(found)

    def relative(self, path: Path | str) -> str:
        """The path as it is stored: from the home on, so that it holds where the home is moved or copied to.

        A path outside of the home stays as it is.
        """
        path = Path(path)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def prepare(self) -> "Home":
        """Make the folders, and point Dagster at its own: without a home it forgets its history when it ends.

        Every process started from here finds this home again, and its lake or none. Raises `HomeError`, `DiskFull`.
        """
        try:
            with naming_full_disk(self.root):
                for folder in (
                    self.dagster, self.parts, self.artefacts, self.models, self.logs, self.state, self.jobs,
                ):  # fmt: skip
                    folder.mkdir(parents=True, exist_ok=True)
                self._configure_dagster()
        except OSError as error:
            raise HomeError(
                f"{self.root}: cannot be written ({error.strerror or error}). Make it writable, or set ENVLOOM_HOME to "
                "another folder. Commands that only read, such as `envloom query`, work on it as it is."
            ) from error
        os.environ["ENVLOOM_HOME"] = str(self.root)
        os.environ["DAGSTER_HOME"] = str(self.dagster)
        if self.lake:
            os.environ["ENVLOOM_WAREHOUSE"] = self.lake_setting
        else:
            os.environ.pop("ENVLOOM_WAREHOUSE", None)
        return self

    def _configure_dagster(self) -> None:
        """Write `dagster.yaml`, or add our storage to one that names none; the rest of it is a person's.

        Raises HomeError for a file that is no YAML mapping.
        """
        file = self.dagster / "dagster.yaml"
        try:
            text = file.read_text(encoding="utf-8") if file.exists() else DAGSTER_SETTINGS
            settings = yaml.safe_load(text) or {}
            if not isinstance(settings, dict):
                raise ValueError("no mapping of settings")
        except (yaml.YAMLError, ValueError) as error:
            raise HomeError(f"{file}: cannot be read ({error}). Correct it, or delete it: it is made anew.") from error
        if _STORAGES.isdisjoint(settings):
            unfinished = file.with_name(f".{file.name}.{uuid4().hex}")  # other processes may read or write it now
            unfinished.write_text(text.rstrip("\n") + "\n" + DAGSTER_STORAGE)
            unfinished.replace(file)


_PATTERN = set("?*[")
_STORAGES = {"storage", "run_storage", "event_log_storage", "schedule_storage"}


def _resolved(root: Path) -> Path:
    """The absolute path without links. Raises HomeError for one that no folder can have."""
    try:
        root = root.resolve()
        root.exists()  # a file system says only here that a name is too long
    except (OSError, RuntimeError) as error:  # a RuntimeError is a link that leads to itself
        reason = getattr(error, "strerror", None) or error
        raise HomeError(f"{root}: cannot be a folder ({reason}). Set ENVLOOM_HOME to another one.") from error
    return root


def _require_usable(root: Path) -> None:
    """Refuse a folder that a part of the project could not use, before anything is written. Raises HomeError."""
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise HomeError(f"{str(root)!r}: the name is not UTF-8. Set ENVLOOM_HOME to a folder whose name is.") from None
    # DuckDB takes "?" for the query of a web address when it names its log. Dagster looks for its settings by a
    # pattern, and would go on without them.
    if wrong := sorted(_PATTERN & set(str(root))):
        raise HomeError(
            f"{root}: a home's path may not hold {' or '.join(wrong)}, which DuckDB and Dagster take for patterns. Set "
            "ENVLOOM_HOME to another folder."
        )
    for folder in (root, *root.parents):
        if folder.exists() and not folder.is_dir():
            raise HomeError(f"{folder}: is a file. Set ENVLOOM_HOME to a folder, or to a name that is free.")
