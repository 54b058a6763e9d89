"""A warehouse of an older schema: opened and migrated with a backup, by nobody by half, or refused."""

import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from warehouse.errors import SchemaVersionMismatch
from warehouse.parts import Parts
from warehouse.tables import ADDED_COLUMNS, SCHEMA_VERSION, TABLES
from warehouse.warehouse import Warehouse

HERE = Path(__file__).parent
COLUMNS = "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE schema_name = 'main'"
KILLED = """
import os, signal, sys
from pathlib import Path
from warehouse import connection, migrations, replacement
from warehouse.warehouse import Warehouse
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def then_die(function):
    return lambda *arguments: (function(*arguments), die())
"""
MOMENTS = {
    "while the backup is copied": "migrations.shutil.copyfile = then_die(migrations.shutil.copyfile)",
    "between the tables and the views": "migrations.view_sql = die",
    "before the commit": "migrations.remembered_sql = die",
    "after the commit in the copy": "connection.migrate = then_die(connection.migrate)",
    "once the copy is whole": "replacement._finish = die",
    "after the copy took the place": "replacement._put_in_place = then_die(replacement._put_in_place)",
}


@pytest.fixture
def old(warehouse: Warehouse) -> Warehouse:
    """A file of version 3, made by the statements that version had, with rows in it."""
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute((HERE / "schema_v3.sql").read_text())
    return warehouse


def backups(warehouse: Warehouse) -> list[Path]:
    return sorted(warehouse.path.parent.glob("warehouse.v*.duckdb"))


def version(path: Path) -> str:
    with duckdb.connect(str(path), read_only=True) as connection:
        [found] = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall()
    return str(found[0])


def test_an_older_warehouse_becomes_one_of_this_schema_with_its_rows(old: Warehouse, tmp_path: Path) -> None:
    current = old.latest_batch("proven_tasks", "retail")
    assert current is not None and (current.batch_id, current.n_rows, current.runtime_id) == ("new", 2, None)
    assert old.read_batch("new", "tasks")["id"].to_list() == ["task-2", "task-1"]
    assert old.read_batch("old", "tasks")["instruction"].to_list() == ["Refund it."]
    assert old.query("SELECT logprobs, reasons, components['cost'] AS cost FROM turns, rollouts, rewards").rows() == [
        ([-0.5], ["changeset"], -0.01)
    ]
    fresh = Warehouse(tmp_path / "fresh.duckdb", tmp_path / "no-parts")
    assert sorted(old.query(COLUMNS).rows()) == sorted(fresh.query(COLUMNS).rows())
    for table in TABLES:
        order = "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index"
        assert old.query(order, [table])["column_name"].to_list() == list(TABLES[table].columns)


def test_the_backup_is_the_file_as_it_was(old: Warehouse) -> None:
    before = old.path.read_bytes()
    old.query("SELECT 1")
    old.query("SELECT 1")
    [backup] = backups(old)
    assert backup.read_bytes() == before
    assert (version(backup), version(old.path)) == ("3", str(SCHEMA_VERSION))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_migration_killed_at_any_moment_leaves_the_old_file_or_the_new(old: Warehouse, moment: str) -> None:
    code = f"{KILLED}\n{MOMENTS[moment]}\nWarehouse(Path(sys.argv[1]), Path(sys.argv[2])).query('SELECT 1')"
    command = [sys.executable, "-c", code, str(old.path), str(old.parts_dir)]
    assert subprocess.run(command, cwd=HERE.parents[1], check=False).returncode == -signal.SIGKILL
    assert version(old.path) == (str(SCHEMA_VERSION) if "took" in moment else "3")
    assert old.read_batch("new", "tasks")["id"].to_list() == ["task-2", "task-1"]
    assert version(old.path) == str(SCHEMA_VERSION)
    assert {version(backup) for backup in backups(old)} == {"3"}


@pytest.mark.parametrize("found", ["2", "99"])
def test_a_version_without_a_way_from_it_is_refused_and_the_file_untouched(old: Warehouse, found: str) -> None:
    with duckdb.connect(str(old.path)) as connection:
        connection.execute("UPDATE meta SET value = ?", [found])
    before = old.path.read_bytes()
    with pytest.raises(SchemaVersionMismatch, match=f"schema version {found}, this code reads {SCHEMA_VERSION}"):
        old.query("SELECT 1")
    assert old.path.read_bytes() == before and not backups(old)


def test_a_batch_that_waited_while_the_code_changed_is_ingested(old: Warehouse) -> None:
    runtime = dict.fromkeys(TABLES["runtimes"].columns) | {"id": "machine"}
    made = {"run_id": "run-3", "code_version": "x", "runtime": runtime}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Warehouse, "ingest", lambda _: None)
        patched.setattr(Warehouse, "batch", lambda *_: None)
        old.record_batch("a", None, {"splits": [{"task_id": "t", "split": "train"}]}, **made)
    [part] = Parts(old.parts_dir).waiting()
    rows = part.read()
    for table, columns in ADDED_COLUMNS.items():
        rows[table] = rows[table].drop_columns(list(columns))
    Parts(old.parts_dir).remove(part)
    Parts(old.parts_dir).write_bundle("before", rows)
    assert old.ingest().quarantined == []
    batch = old.latest_batch("a")
    assert batch is not None and batch.runtime_id is None


def test_views_follow_the_code_without_a_backup(warehouse: Warehouse) -> None:
    warehouse.query("SELECT 1")
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("CREATE OR REPLACE VIEW quarantined AS SELECT 42 AS answer")
        connection.execute("UPDATE meta SET value = 'earlier' WHERE key = 'views_sha256'")
    assert "record_id" in warehouse.query("SELECT * FROM quarantined").columns
    assert not backups(warehouse)


def test_a_quarantine_is_in_force_until_a_second_row_lifts_it(warehouse: Warehouse) -> None:
    first, second, third = (datetime(2026, 1, day) for day in (1, 2, 3))
    record = {"kind": "environment", "record_id": "env", "lifted_at": None}
    leaks = record | {"id": "1", "reason": "leaks", "created_at": first}
    unsolvable = record | {"id": "2", "reason": "unsolvable", "created_at": second}
    lifting = leaks | {"id": "3", "reason": "repaired", "lifted_at": third}
    for row, in_force in ((leaks, ["1"]), (unsolvable, ["1", "2"]), (lifting, ["2"])):
        warehouse.write_part("quarantines", [row], "quarantine")
        warehouse.ingest()
        assert warehouse.query("SELECT id FROM quarantined ORDER BY id")["id"].to_list() == in_force


def test_a_batch_names_what_made_it_and_on_what(warehouse: Warehouse) -> None:
    runtime = dict.fromkeys(TABLES["runtimes"].columns) | {"id": "here", "dirty": True, "machine": {"cores": 2}}
    for run in ("1", "2"):
        batch = warehouse.record_batch("a", None, {}, run_id=run, code_version="x", runtime=runtime)
        assert batch.runtime_id == "here"
    assert warehouse.query("SELECT dirty, machine FROM runtimes").rows() == [(True, '{"cores":2}')]
    assert warehouse.query("SELECT count(*) FROM lineage WHERE parent_kind = 'runtime'").item() == 2
