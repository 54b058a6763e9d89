"""What a user relies on: rows stored once, batches readable for ever, and errors that name the place."""

import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import filelock
import polars as pl
import pytest

import warehouse as package
from warehouse import locking
from warehouse.errors import RowsRejected, UnknownBatch, UnknownTable, WarehouseBusy
from warehouse.tables import RECORD_TABLES, TABLES
from warehouse.warehouse import Warehouse

MADE = {"run_id": "run-1", "code_version": "abc"}


def splits(*tasks: str, split: str = "train") -> list[dict[str, str]]:
    return [{"task_id": task, "split": split} for task in tasks]


def test_the_package_is_the_one_of_this_repository() -> None:
    assert Path(package.__file__).is_relative_to(Path(__file__).parents[2])


def test_importing_the_warehouse_loads_neither_torch_nor_dagster() -> None:
    modules = "warehouse.warehouse, warehouse.export, warehouse.lineage"
    heavy = "{'torch', 'dagster', 'vllm', 'transformers', 'datasets'}"
    code = f"import sys, {modules}; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_batch_reads_back_in_the_order_it_was_recorded(warehouse: Warehouse) -> None:
    batch = warehouse.record_batch("task_dataset", None, {"splits": splits("b", "c", "a")}, **MADE)
    assert warehouse.read_batch(batch.batch_id, "splits")["task_id"].to_list() == ["b", "c", "a"]
    assert batch.n_rows == 3


def test_the_same_content_from_another_run_adds_a_batch_and_no_rows(warehouse: Warehouse) -> None:
    rows = {"splits": splits("a", "b")}
    first = warehouse.record_batch("task_dataset", None, rows, run_id="run-1", code_version="x")
    second = warehouse.record_batch("task_dataset", None, rows, run_id="run-2", code_version="x")
    assert first.data_version == second.data_version and first.batch_id != second.batch_id
    assert warehouse.query("SELECT count(*) FROM splits").item() == 2
    assert warehouse.latest_batch("task_dataset") == second


def test_a_repeated_call_of_one_run_is_the_same_batch(warehouse: Warehouse) -> None:
    first, second = (warehouse.record_batch("a", "p", {"splits": splits("t")}, **MADE) for _ in range(2))
    assert first == second
    assert warehouse.query("SELECT count(*) FROM batch_members").item() == 1


def test_order_is_part_of_the_data_version_and_absent_tables_are_not(warehouse: Warehouse) -> None:
    one = warehouse.record_batch("a", None, {"splits": splits("a", "b")}, run_id="1", code_version="x")
    other = warehouse.record_batch("a", None, {"splits": splits("b", "a")}, run_id="2", code_version="x")
    same = warehouse.record_batch("a", None, {"splits": splits("a", "b"), "tasks": []}, run_id="3", code_version="x")
    assert one.data_version == same.data_version != other.data_version


def test_a_rematerialisation_hides_the_old_batch_from_current_and_keeps_it_readable(warehouse: Warehouse) -> None:
    old = warehouse.record_batch("a", "p", {"splits": splits("old")}, run_id="1", code_version="x")
    warehouse.record_batch("a", "p", {"splits": splits("new")}, run_id="2", code_version="x")
    warehouse.record_batch("a", "q", {"splits": splits("elsewhere")}, run_id="3", code_version="x")
    current = warehouse.query("SELECT partition, task_id FROM current_splits ORDER BY partition")
    assert current.rows() == [("p", "new"), ("q", "elsewhere")]
    assert warehouse.read_batch(old.batch_id, "splits")["task_id"].to_list() == ["old"]


def test_what_is_read_can_be_recorded_again_unchanged(campaign: Warehouse) -> None:
    batches = campaign.query("SELECT DISTINCT batch_id, table_name FROM batch_members").rows()
    assert {table for _, table in batches} == {table.name for table in RECORD_TABLES}
    for number, (batch_id, table) in enumerate(batches):
        rows = campaign.read_batch(batch_id, table)
        again = campaign.record_batch("copy", None, {table: rows}, run_id=str(number), code_version="x")
        assert campaign.read_batch(again.batch_id, table).equals(rows)
    for table in RECORD_TABLES:
        assert (
            campaign.query(f"SELECT count(*) - count(DISTINCT ({', '.join(table.key)})) FROM {table.name}").item() == 0
        )


def test_records_come_back_as_canonical_json(warehouse: Warehouse, row) -> None:
    rejection = row("rejections", id="r", record={"b": 1, "a": [1.0, None]})
    batch = warehouse.record_batch("a", None, {"rejections": [rejection]}, **MADE)
    assert warehouse.records(batch.batch_id, "rejections") == ['{"a":[1,null],"b":1}']
    with pytest.raises(UnknownTable, match='no column "record"'):
        warehouse.records(batch.batch_id, "splits")


def test_missing_and_unknown_columns_make_one_error_that_names_them(warehouse: Warehouse) -> None:
    with pytest.raises(RowsRejected, match=r"splits: row 0: columns missing \['split'\] and unknown \['part'\]"):
        warehouse.write_part("splits", [{"task_id": "t", "part": "train"}], "k")
    with pytest.raises(RowsRejected, match=r"columns missing \['split'\]"):
        warehouse.write_part("splits", pl.DataFrame({"task_id": ["t"]}), "k")
    with pytest.raises(UnknownTable, match="tasks"):
        warehouse.write_part("task", [], "k")
    assert warehouse.pending("splits").is_empty()


def test_a_wrong_type_names_the_column_and_a_key_is_never_null(warehouse: Warehouse, row) -> None:
    with pytest.raises(RowsRejected, match=r"tasks\.difficulty: not int32"):
        warehouse.write_part("tasks", [row("tasks", id="t", difficulty="hard")], "k")
    with pytest.raises(RowsRejected, match=r"tasks\.difficulty: not int32"):
        warehouse.write_part("tasks", [row("tasks", id="t", difficulty=2**40)], "k")
    with pytest.raises(RowsRejected, match=r"tasks\.id: null in 1 rows"):
        warehouse.write_part("tasks", [row("tasks")], "k")


def test_a_rejected_table_leaves_nothing_of_its_batch(warehouse: Warehouse) -> None:
    with pytest.raises(RowsRejected):
        warehouse.record_batch("a", None, {"splits": splits("t"), "tasks": [{"id": "t"}]}, **MADE)
    warehouse.ingest()
    assert warehouse.query("SELECT count(*) FROM splits").item() == 0
    assert warehouse.latest_batch("a") is None


def test_an_unknown_batch_is_an_error_and_an_absent_table_is_empty(warehouse: Warehouse) -> None:
    batch = warehouse.record_batch("a", None, {"splits": splits("t")}, **MADE)
    empty = warehouse.read_batch(batch.batch_id, "turns")
    assert empty.is_empty() and empty.columns == list(TABLES["turns"].columns)
    with pytest.raises(UnknownBatch, match="nowhere"):
        warehouse.read_batch("nowhere", "turns")


def test_a_query_cannot_write_and_a_failed_one_leaves_the_warehouse_free(warehouse: Warehouse) -> None:
    for wrong in ("DELETE FROM splits", "SELECT nonsense FROM splits"):
        with pytest.raises(duckdb.Error):
            warehouse.query(wrong)
    warehouse.record_batch("a", None, {"splits": splits("t")}, **MADE)
    assert warehouse.query("SELECT split FROM splits WHERE task_id = $task", {"task": "t"}).item() == "train"


def test_who_waits_for_another_process_says_for_what(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locking, "_SILENCE_S", 0.05)
    impatient = Warehouse(warehouse.path, warehouse.parts_dir, timeout_s=0.2)
    lock = warehouse.path.with_name(f"{warehouse.path.name}.lock")
    with filelock.FileLock(lock), pytest.raises(WarehouseBusy):
        impatient.query("SELECT 1")
    assert f"{lock}: held by another process; waiting at most" in caplog.text


def test_a_file_open_elsewhere_is_waited_for_and_then_named_busy(warehouse: Warehouse) -> None:
    warehouse.query("SELECT 1")
    shell = duckdb.connect(str(warehouse.path))
    impatient = Warehouse(warehouse.path, warehouse.parts_dir, timeout_s=0.2)
    with pytest.raises(WarehouseBusy, match="open in another program"):
        impatient.query("SELECT 1")
    closing = threading.Timer(0.5, shell.close)
    closing.start()
    assert warehouse.query("SELECT 1").item() == 1
    closing.join()
