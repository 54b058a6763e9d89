"""A warehouse whose folder cannot be written: it is read as it is, and what cannot be done is one sentence."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import filelock
import pytest

from warehouse import connection, replacement
from warehouse.errors import WarehouseBusy, WarehouseReadOnly
from warehouse.replacement import log_of
from warehouse.warehouse import Warehouse

HERE = Path(__file__).parent
COUNT = "SELECT count(*) AS n FROM current_splits"
READER = f"""
import sys
from collections.abc import Callable
from pathlib import Path
from warehouse.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1], "warehouse.duckdb"), Path(sys.argv[1], "parts"), timeout_s=5)
print(warehouse.query({COUNT!r}).item(), warehouse.pending("splits").height)
"""
MOUNTED = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" -c "$2" "$1"'


def record(warehouse: Warehouse, task: str) -> None:
    rows = {"splits": [{"task_id": task, "split": "train"}]}
    warehouse.record_batch("a", task, rows, run_id=task, code_version="x")


@pytest.fixture
def stored(warehouse: Warehouse) -> Warehouse:
    record(warehouse, "t")
    return warehouse


@pytest.fixture(params=[errno.EROFS, errno.EACCES])
def close_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, it is as if no lock file could be opened for writing."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    return lambda: monkeypatch.setattr(filelock.FileLock, "acquire", refuse)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_reader_works_and_writes_nothing(
    stored: Warehouse, tmp_path: Path, close_folder: Callable[[], None]
) -> None:
    close_folder()
    before = contents(tmp_path)
    batch = stored.latest_batch("a", "t")
    assert batch is not None and stored.batch(batch.batch_id) == batch
    assert stored.read_batch(batch.batch_id, "splits").height == 1
    assert list(stored.read_whole(batch.batch_id)) == ["splits"]
    assert stored.query(COUNT).item() == 1
    assert stored.pending("splits").is_empty()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("small", [True, False])
def test_a_read_only_mount_is_read(warehouse: Warehouse, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not small:
        monkeypatch.setattr(connection, "_SMALL_BYTES", 0)
        monkeypatch.setattr(connection, "_LOG_SHARE", 1e-9)
    record(warehouse, "t")
    assert log_of(warehouse.path).exists() is not small
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    command = [unshare, "-m", "bash", "-c", MOUNTED, sys.executable, str(warehouse.path.parent), READER]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    )
    assert done.stdout.split() == ["1", "0"], done.stderr


def test_a_copy_that_was_finished_and_not_put_in_place_is_read(
    stored: Warehouse, close_folder: Callable[[], None]
) -> None:
    stored.path.rename(stored.path.with_name(f"{stored.path.name}.next"))
    duckdb.connect(str(stored.path)).close()
    close_folder()
    assert stored.query(COUNT).item() == 1


@pytest.fixture
def other_views(stored: Warehouse) -> Warehouse:
    with duckdb.connect(str(stored.path)) as other:
        other.execute("CREATE OR REPLACE VIEW current_splits AS SELECT 42 AS answer")
        other.execute("UPDATE meta SET value = 'earlier' WHERE key = 'views_sha256'")
    return stored


def test_views_of_another_version_are_replaced_for_the_reader_alone(
    other_views: Warehouse, close_folder: Callable[[], None]
) -> None:
    before = other_views.path.read_bytes()
    close_folder()
    assert other_views.query(COUNT).item() == 1
    assert other_views.path.read_bytes() == before


def test_a_folder_in_which_the_lock_alone_can_be_written_is_read(
    other_views: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(replacement, "_copy", refuse)
    assert other_views.query(COUNT).item() == 1


def test_an_older_schema_is_refused_in_a_sentence(warehouse: Warehouse, close_folder: Callable[[], None]) -> None:
    with duckdb.connect(str(warehouse.path)) as old:
        old.execute((HERE / "schema_v3.sql").read_text())
    close_folder()
    with pytest.raises(WarehouseReadOnly, match=r"schema 3, this code reads \d+ and cannot migrate it here: .*copy"):
        warehouse.query("SELECT 1")


def test_a_file_without_an_added_column_is_refused_in_a_sentence(
    other_views: Warehouse, close_folder: Callable[[], None]
) -> None:
    with duckdb.connect(str(other_views.path)) as older:
        older.execute("ALTER TABLE batches DROP COLUMN runtime_id")
    close_folder()
    with pytest.raises(WarehouseReadOnly, match=r"without batches\.runtime_id, this code reads \d+ and cannot migrate"):
        other_views.query("SELECT 1")


def test_a_missing_warehouse_is_refused_in_a_sentence(
    warehouse: Warehouse, tmp_path: Path, close_folder: Callable[[], None]
) -> None:
    close_folder()
    with pytest.raises(WarehouseReadOnly, match=r"there is no warehouse, and none can be made: .*cannot be written"):
        warehouse.query("SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_a_writer_is_refused_in_a_sentence_and_its_part_waits(
    stored: Warehouse, close_folder: Callable[[], None]
) -> None:
    close_folder()
    part = stored.write_part("splits", [{"task_id": "new", "split": "train"}], "part")
    with pytest.raises(WarehouseReadOnly, match="cannot be written"):
        stored.ingest()
    assert part.exists() and stored.pending("splits").height == 1


def test_a_reader_without_the_right_to_write_still_waits_for_the_writer(
    stored: Warehouse, close_folder: Callable[[], None]
) -> None:
    close_folder()
    reader = Warehouse(stored.path, stored.parts_dir, timeout_s=0.2)
    with Path(f"{stored.path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WarehouseBusy):
            reader.query("SELECT 1")
    assert reader.query(COUNT).item() == 1
