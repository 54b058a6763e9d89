"""Where a home may lie: under any name, on a medium that cannot be written, and elsewhere tomorrow than today."""

import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.home import Home
from dagster_project.runner import Step, run_steps
from dagster_project.training import NoAdapter, served
from trainer.jobs import UpdateJob
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

NAMES = ["pct%20x", "a#b", 'a home\'s "ü"', "new\nline", "semi;colon:at@x", "%", "back\\slash"]
runner = CliRunner()


def move_to(home: Path, patch: pytest.MonkeyPatch) -> Home:
    patch.setenv("ENVLOOM_HOME", str(home))
    patch.setenv("DAGSTER_HOME", str(home / "dagster"))
    return Home.here()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_is_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = move_to(tmp_path / name, monkeypatch).prepare()
    run_steps([Step("brief", "library")], home)
    with dg.DagsterInstance.get() as instance:
        [run] = instance.get_runs()
        assert run.is_success and instance.all_logs(run.run_id)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["quest?x", "b[r]", "st*r", "latin\udcff"])
def test_a_name_that_a_part_cannot_use_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / name))
    for command in (["domain", "make", "library"], ["query", "SELECT 1"], ["demo"]):
        refused = runner.invoke(app, command)
        assert refused.exit_code == 2 and "Set ENVLOOM_HOME to" in refused.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/home", "loop", "x" * 300, "/".join(["y" * 200] * 30)])
def test_a_place_where_no_folder_can_be_is_refused_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / name))
    for command in (["domain", "make", "library"], ["query", "SELECT 1"], ["env", "list"]):
        refused = runner.invoke(app, command)
        assert refused.exit_code == 2 and "Set ENVLOOM_HOME to" in refused.output


def test_dagster_settings_of_a_person_stay_and_get_our_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes of before have none; a storage that a person has chosen is left alone."""
    home = move_to(tmp_path, monkeypatch)
    home.dagster.mkdir()
    settings = home.dagster / "dagster.yaml"
    settings.write_text("concurrency:\n  runs:\n    max_concurrent_runs: 7")
    home.prepare()
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__module__ == "dagster_project.sqlite_history"
        assert instance.get_settings("concurrency")["runs"]["max_concurrent_runs"] == 7
    chosen = "storage:\n  sqlite:\n    base_dir: /elsewhere\n"
    settings.write_text(chosen)
    home.prepare()
    assert settings.read_text() == chosen


def contents(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.rglob("*"))}


@pytest.mark.parametrize(
    "command",
    [
        ["query", "SELECT 1"], ["env", "list"], ["env", "show", "library"], ["env", "play", "library"],
        ["funnel", "library"], ["lineage", "environment[library]"], ["prove", "library"],
        ["reproduce", "demo-0001", "--mode", "verify"], ["bundle", "demo-0001"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_that_read_write_nothing_but_the_warehouse_lock(
    library_home: Home, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    move_to(library_home.root, monkeypatch)
    before = contents(library_home.root)
    shown = runner.invoke(app, command)
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.output
    changed = {name for name, state in contents(library_home.root).items() if before.get(name) != state}
    assert changed - {str(library_home.root), f"{library_home.warehouse_file}.lock"} == set()


def test_a_copied_home_goes_on_by_itself_when_the_original_is_gone(
    library_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    shutil.copytree(library_home.root, original)
    shutil.copytree(original, copy)
    shutil.rmtree(original)
    home = move_to(copy, monkeypatch).prepare()
    ran = run_steps([Step(asset, "library") for asset in ("brief", "environment")], home)
    assert [step.seconds for step in ran] == [None, None], "what the original had made is there"
    run_steps([Step("environment", "library")], home, again=True)
    assert not original.exists()
    rows = Warehouse(home.warehouse, home.parts).query("SELECT count(*) AS n FROM batches WHERE asset = 'environment'")
    assert rows["n"].item() == 2
    for name in (str(library_home.root), str(original)):
        assert subprocess.run(["grep", "-rlF", name, str(copy)], capture_output=True).stdout == b""


def test_a_policy_is_read_from_the_home_it_is_in_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose row names the folder where the home was when it was made."""
    home = move_to(tmp_path / "now", monkeypatch).prepare()
    warehouse = Warehouse(home.warehouse, home.parts)
    for path in ("/home/of/then/artefacts/abc", "artefacts/abc"):
        row = dict.fromkeys(TABLES["checkpoints"].columns) | {"id": "abc", "kind": "update", "path": path}
        batch = warehouse.record_batch(
            "checkpoint", path, {"checkpoints": [row]}, run_id="1", code_version="", data_version=path
        )
        assert served(warehouse, batch).adapter_path == str(home.artefacts / "abc")


def test_a_checkpoint_without_an_adapter_is_not_served_as_the_base_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = move_to(tmp_path / "now", monkeypatch).prepare()
    warehouse = Warehouse(home.warehouse, home.parts)
    row = dict.fromkeys(TABLES["checkpoints"].columns) | {"id": "abc", "kind": "update"}
    batch = warehouse.record_batch(
        "checkpoint", "demo-0000", {"checkpoints": [row]}, run_id="1", code_version="", data_version="v"
    )
    with pytest.raises(NoAdapter, match=r"abc, checkpoint\[demo-0000\].*Materialize"):
        served(warehouse, batch)


def test_a_job_is_the_same_job_where_its_home_has_been_moved_to() -> None:
    def job(home: str, seed: int = 0) -> UpdateJob:
        return UpdateJob(
            base_model_name="m", base_model_path=f"{home}/models/m", base_model_fingerprint="m@1",
            parent_adapter_path=f"{home}/artefacts/abc", rows_path=f"{home}/jobs/rows/1.parquet",
            artefacts_dir=f"{home}/artefacts", seed=seed,
        )  # fmt: skip

    assert job("/a").identity == job("/b/c").identity != job("/a", seed=1).identity


def test_stored_paths_begin_at_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.relative(tmp_path / "models" / "m") == "models/m"
    assert home.relative("/elsewhere/m") == "/elsewhere/m"
