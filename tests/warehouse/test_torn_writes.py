"""Every write of a change is torn, and fails: the warehouse opens, and no more is lost than the change under way.

`faulty_disk` does it, under a preloaded library (`faults.c`) that is compiled here.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.warehouse.faulty_disk import CHANGES
from warehouse import connection
from warehouse.errors import WarehouseBusy, WarehouseUnreadable
from warehouse.replacement import log_of
from warehouse.warehouse import Warehouse

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs gcc and Linux")
    target = tmp_path_factory.mktemp("library") / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, HERE / "faults.c", "-ldl"], check=True)
    return target


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as a large one, to which transactions are logged."""
    monkeypatch.setattr(connection, "_SMALL_BYTES", 0)
    monkeypatch.setattr(connection, "_LOG_SHARE", 1e-9)


def splits(*tasks: str) -> list[dict[str, str]]:
    return [{"task_id": task, "split": "train"} for task in tasks]


def ingest(warehouse: Warehouse, *tasks: str) -> None:
    warehouse.write_part("splits", splits(*tasks), "part")
    assert warehouse.ingest().inserted["splits"] == len(tasks)


def stored(warehouse: Warehouse) -> list[str]:
    return warehouse.query("SELECT task_id FROM splits ORDER BY ALL")["task_id"].to_list()


@pytest.mark.parametrize("change", CHANGES)
def test_a_fault_at_any_write_costs_at_most_the_change_under_way(library: Path, change: str, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "faulty_disk.py"), str(tmp_path), change]
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("damage", [bytes(5000), b"\xff" * 100, (8).to_bytes(8, "little") * 4])
@pytest.mark.usefixtures("large")
def test_a_damaged_end_of_the_log_is_left_out_set_aside_and_named(
    warehouse: Warehouse, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for task in ("a", "b"):
        ingest(warehouse, task)
    log = log_of(warehouse.path)
    sound = log.read_bytes()
    log.write_bytes(sound + damage)
    with caplog.at_level(logging.WARNING):
        assert stored(warehouse) == ["a", "b"]
    [kept] = warehouse.path.parent.glob("*.damaged-*")
    assert kept.read_bytes() == sound + damage
    assert str(kept) in caplog.text and "cannot be read" in caplog.text
    ingest(warehouse, "c")
    assert stored(warehouse) == ["a", "b", "c"]


@pytest.mark.usefixtures("large")
def test_a_transaction_whose_log_is_damaged_comes_back_from_its_parts(warehouse: Warehouse) -> None:
    ingest(warehouse, "a")
    log = log_of(warehouse.path)
    before = log.stat().st_size
    part = warehouse.write_part("splits", splits("b"), "part")
    content = part.read_bytes()
    warehouse.ingest()
    part.write_bytes(content)  # as if the power had failed before the file was opened again
    damaged = bytearray(log.read_bytes())
    damaged[(before + len(damaged)) // 2] ^= 1
    log.write_bytes(damaged)
    assert stored(warehouse) == ["a"]
    assert warehouse.ingest().inserted["splits"] == 1
    assert stored(warehouse) == ["a", "b"]


@pytest.mark.usefixtures("large")
def test_a_large_file_is_logged_to_and_its_log_stays_bounded(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(warehouse, "a")
    before = warehouse.path.read_bytes()
    ingest(warehouse, "b")
    assert warehouse.path.read_bytes() == before and log_of(warehouse.path).exists()
    monkeypatch.setattr(connection, "_LOG_BYTES", 1)
    ingest(warehouse, "c")
    assert not log_of(warehouse.path).exists()
    assert stored(warehouse) == ["a", "b", "c"]


def test_a_small_file_alone_is_the_whole_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    ingest(warehouse, "a")
    assert not log_of(warehouse.path).exists()
    shutil.copy(warehouse.path, tmp_path / "elsewhere.duckdb")
    assert stored(Warehouse(tmp_path / "elsewhere.duckdb", tmp_path / "none")) == ["a"]


def test_a_file_keeps_its_mode_and_a_link_to_it_stays_one(tmp_path: Path) -> None:
    disk = tmp_path / "other disk"
    disk.mkdir()
    link = tmp_path / "warehouse.duckdb"
    link.symlink_to(disk / "data.duckdb")
    warehouse = Warehouse(link, tmp_path / "parts")
    ingest(warehouse, "a")
    (disk / "data.duckdb").chmod(0o640)
    ingest(warehouse, "b")
    assert link.is_symlink() and (disk / "data.duckdb").stat().st_mode & 0o777 == 0o640
    assert stored(warehouse) == ["a", "b"]


def test_a_file_that_another_program_writes_to_is_not_replaced_under_it(warehouse: Warehouse) -> None:
    ingest(warehouse, "a")
    code = f"import duckdb, sys; c = duckdb.connect({str(warehouse.path)!r}); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None and shell.stdin is not None and shell.stdout.readline()
        waiting = Warehouse(warehouse.path, warehouse.parts_dir, timeout_s=0.3)
        waiting.write_part("splits", splits("b"), "part")
        with pytest.raises(WarehouseBusy, match="another program"):
            waiting.ingest()
        shell.stdin.close()
    assert warehouse.ingest().inserted["splits"] == 1


def half_made(path: Path) -> None:
    """As earlier versions left it when the disk was full: a file without its log."""
    duckdb.connect(str(path)).close()


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("leave", [half_made, empty])
def test_a_half_made_warehouse_is_made_anew(warehouse: Warehouse, leave: Callable[[Path], None]) -> None:
    leave(warehouse.path)
    leftover = warehouse.path.with_name(f".creating-{warehouse.path.name}.wal")
    leftover.write_bytes(b"log")
    ingest(warehouse, "a")
    assert stored(warehouse) == ["a"] and not leftover.exists()


@pytest.mark.parametrize("leave", [half_made, empty, lambda path: path.write_bytes(b"damage")])
def test_a_finished_copy_that_is_damaged_since_takes_nobodys_place(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, leave: Callable[[Path], None]
) -> None:
    ingest(warehouse, "a")
    copy = warehouse.path.with_name(f"{warehouse.path.name}.next")
    leave(copy)
    assert stored(warehouse) == ["a"]
    assert not copy.exists() and "set aside" in caplog.text
    assert list(copy.parent.glob(f"{copy.name}.damaged-*"))
    ingest(warehouse, "b")
    assert stored(warehouse) == ["a", "b"]


def test_a_file_that_is_no_warehouse_is_named_and_kept(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.path)) as other:
        other.execute("CREATE TABLE recipes (name VARCHAR)")
    before = warehouse.path.read_bytes()
    with pytest.raises(WarehouseUnreadable, match="recipes"):
        warehouse.query("SELECT 1")
    warehouse.path.write_bytes(before[:5000] + b"damage" + before[5006:])
    with pytest.raises(WarehouseUnreadable, match=r"parts that wait are kept.*backup"):
        warehouse.query("SELECT 1")


def test_a_file_of_no_bytes_is_made_anew_and_that_is_said(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    ingest(warehouse, "a")
    warehouse.path.write_bytes(b"")
    assert stored(warehouse) == []
    assert str(warehouse.path) in caplog.text and "earlier batches are not in it" in caplog.text
