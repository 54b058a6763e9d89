"""A warehouse of an older schema: opened and migrated with a backup, by nobody by half, or refused."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from warehouse.columns import Column, ListOf
from warehouse.errors import SchemaVersionMismatch
from warehouse.parts import Parts
from warehouse.tables import SCHEMA_VERSION, TABLES, views_sha256
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
    for table in rows:
        rows[table] = rows[table].drop_columns([c.name for c in TABLES[table].columns.values() if c.added])
    Parts(old.parts_dir).remove(part)
    Parts(old.parts_dir).write_bundle("before", rows)
    assert old.ingest().quarantined == []
    batch = old.latest_batch("a")
    assert batch is not None and batch.runtime_id is None
    rows["batches"] = rows["batches"].drop_columns(["asset"])
    Parts(old.parts_dir).write_bundle("damaged", rows)
    [(_, reason)] = old.ingest().quarantined
    assert "missing ['asset']" in reason


def altered(warehouse: Warehouse, statement: str) -> Warehouse:
    """The warehouse as other code left it, with one batch of one task."""
    task = dict.fromkeys(TABLES["tasks"].columns) | {"id": "task-1"}
    warehouse.record_batch("tasks", None, {"tasks": [task]}, run_id="run-1", code_version="x")
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute(statement)
        connection.execute("UPDATE meta SET value = 'other code' WHERE key = 'views_sha256'")
    return warehouse


def test_a_file_that_lacks_an_added_column_gets_it_and_keeps_a_backup(warehouse: Warehouse) -> None:
    older = altered(warehouse, "ALTER TABLE batches DROP COLUMN runtime_id")
    before = older.path.read_bytes()
    batch = older.latest_batch("tasks")
    assert batch is not None and (batch.n_rows, batch.runtime_id) == (1, None)
    assert older.read_batch(batch.batch_id, "tasks")["id"].to_list() == ["task-1"]
    runtime = dict.fromkeys(TABLES["runtimes"].columns) | {"id": "machine"}
    again = older.record_batch("tasks", None, {}, run_id="run-2", code_version="x", runtime=runtime)
    assert again.runtime_id == "machine"
    [backup] = backups(older)
    assert backup.read_bytes() == before


def test_a_column_that_is_added_to_a_table_comes_into_files_and_rows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered(warehouse, "SELECT 1")
    tasks = TABLES["tasks"]
    moods = Column("moods", ListOf("int"), "Calls.", added=True)
    monkeypatch.setitem(TABLES, "tasks", replace(tasks, columns=dict(tasks.columns) | {"moods": moods}))
    for module in ("tables", "migrations"):
        monkeypatch.setattr(f"warehouse.{module}.views_sha256", views_sha256.__wrapped__)
    row = dict.fromkeys(TABLES["tasks"].columns)
    rows = [row | {"id": "task-1", "moods": [1]}, row | {"id": "task-2", "moods": [2]}]
    warehouse.write_part("tasks", rows, "new")
    assert not warehouse.ingest().differing  # task-1 is older than the column
    assert warehouse.query("SELECT id, moods FROM tasks ORDER BY id").rows() == [("task-1", None), ("task-2", [2])]
    assert warehouse.query("SELECT id, moods FROM current_tasks").rows() == [("task-1", None)]
    assert len(backups(warehouse)) == 1


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE tasks ADD COLUMN mood VARCHAR", "does not know the columns tasks.mood"),
        ("ALTER TABLE tasks DROP COLUMN shape", "the columns tasks.shape are missing"),
    ],
)
def test_columns_that_no_other_version_explains_are_refused_and_the_file_untouched(
    warehouse: Warehouse, statement: str, named: str
) -> None:
    before = altered(warehouse, statement).path.read_bytes()
    with pytest.raises(SchemaVersionMismatch, match=named):
        warehouse.query("SELECT 1")
    assert warehouse.path.read_bytes() == before and not backups(warehouse)


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
