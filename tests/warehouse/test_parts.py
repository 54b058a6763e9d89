"""Parts: written without the lock, taken in once, and set aside with a reason when they cannot be read."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import RowsRejected, UnusablePath
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

ROOT = Path(__file__).parents[2]
INGEST = """
import sys
from pathlib import Path
from warehouse.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), Path(sys.argv[2]))
warehouse.ingest()
for table in ("turns", "rewards"):
    warehouse.query(f"FROM {table}")
print(warehouse.query("SELECT count(*) FROM splits").item())
"""


def splits(*tasks: str) -> list[dict[str, str]]:
    return [{"task_id": task, "split": "train"} for task in tasks]


def test_pending_rows_are_seen_before_the_ingest_and_stored_after_it(warehouse: Warehouse) -> None:
    warehouse.write_part("splits", splits("a", "b"), "one")
    warehouse.write_part("splits", splits("b", "c"), "two")
    assert sorted(warehouse.pending("splits")["task_id"]) == ["a", "b", "c"]
    report = warehouse.ingest()
    assert (report.inserted["splits"], report.already_present["splits"], report.differing["splits"]) == (3, 1, 0)
    assert warehouse.pending("splits").is_empty()
    assert warehouse.query("SELECT count(*) FROM splits").item() == 3


def test_ingesting_the_same_rows_again_stores_nothing(warehouse: Warehouse) -> None:
    for expected in (2, 0):
        warehouse.write_part("splits", splits("a", "b"), "key")
        assert warehouse.ingest().inserted["splits"] == expected
    assert warehouse.ingest().inserted.total() == 0


def test_a_row_stored_with_other_content_is_kept_and_the_difference_counted(warehouse: Warehouse, row) -> None:
    for instruction in ("first", "second"):
        warehouse.write_part("tasks", [row("tasks", id="t", instruction=instruction)], instruction)
        report = warehouse.ingest()
    assert report.differing["tasks"] == 1
    assert warehouse.query("SELECT instruction FROM tasks").item() == "first"


def test_a_bundle_is_pending_too(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(_: Warehouse) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "ingest", die)
        with pytest.raises(Killed):
            warehouse.record_batch("a", None, {"splits": splits("t")}, run_id="1", code_version="x")
    assert warehouse.pending("splits")["task_id"].to_list() == ["t"]
    warehouse.ingest()
    assert warehouse.latest_batch("a") is not None


def test_unreadable_parts_are_set_aside_with_a_reason_and_the_rest_is_ingested(warehouse: Warehouse) -> None:
    truncated = warehouse.write_part("splits", splits("lost"), "truncated")
    truncated.write_bytes(truncated.read_bytes()[:-20])
    damaged = warehouse.write_part("splits", splits("changed"), "damaged")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    warehouse.write_part("splits", splits("a"), "sound")
    pq.write_table(pa.table({"other": [1]}), warehouse.parts_dir / "splits" / "foreign.parquet")
    (warehouse.parts_dir / "splits" / "noise.parquet").write_bytes(b"PAR1 and no more")
    (warehouse.parts_dir / "notes.txt").write_text("hello")
    (warehouse.parts_dir / "splits" / "folder").mkdir()
    report = warehouse.ingest()
    assert report.inserted["splits"] == 1
    reasons = {}
    for moved, _ in report.quarantined:
        assert moved.exists()
        told = json.loads(moved.with_name(moved.name + ".reason").read_text())
        reasons[told["part"]] = told["reason"]
    assert len(reasons) == 6
    for part in (truncated, damaged):
        assert "damaged or cut short" in reasons[f"splits/{part.name}"]
    assert "unknown ['other']" in reasons["splits/foreign.parquet"]
    assert "Parquet" in reasons["splits/noise.parquet"]
    assert "not a part of a table" in reasons["notes.txt"] and "not a part of a table" in reasons["splits/folder"]
    assert warehouse.ingest().quarantined == []


def test_a_part_of_an_earlier_version_is_ingested(warehouse: Warehouse) -> None:
    (warehouse.parts_dir / "splits").mkdir(parents=True)
    pq.write_table(pa.table({"task_id": ["a"], "split": ["train"]}), warehouse.parts_dir / "splits" / "a-0.parquet")
    assert warehouse.ingest().inserted["splits"] == 1


@pytest.mark.parametrize("how", ["damaged", "a second file of batch_members"])
def test_a_broken_bundle_gives_no_part_of_its_batch(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "ingest", lambda _: None)
        patched.setattr(Warehouse, "batch", lambda *_: None)
        warehouse.record_batch("a", None, {"splits": splits("t")}, run_id="1", code_version="x")
    [broken] = warehouse.parts_dir.glob("bundles/*/batch_members-*.arrow")
    if how == "damaged":
        broken.write_bytes(b"ARROW1")
    else:
        broken.with_name(broken.name.replace("-", "-again-")).write_bytes(broken.read_bytes())
    [(_, reason)] = warehouse.ingest().quarantined
    assert how in reason
    assert warehouse.latest_batch("a") is None
    assert warehouse.query("SELECT count(*) FROM splits").item() == 0


def test_a_part_key_that_would_leave_the_folder_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(RowsRejected, match="part key"):
        warehouse.write_part("splits", splits("a"), "../../outside")


def test_a_bundle_is_there_whole_or_not_at_all_and_the_first_of_a_name_counts(warehouse: Warehouse, row) -> None:
    rollout, turn = row("rollouts", id="r", n_turns=1), row("turns", rollout_id="r", turn=0, text="first")
    with pytest.raises(RowsRejected, match="turns"):
        warehouse.write_bundle("r", {"rollouts": [rollout], "turns": [{"rollout_id": "r"}]})
    with pytest.raises(RowsRejected, match="part key"):
        warehouse.write_bundle("../r", {"rollouts": [rollout]})
    assert warehouse.pending("rollouts").is_empty()
    for words in ("first", "second"):
        warehouse.write_bundle("r", {"rollouts": [rollout], "turns": [turn | {"text": words}]})
    assert warehouse.ingest().inserted == {"rollouts": 1, "turns": 1}
    assert warehouse.query("SELECT text FROM turns").item() == "first"


def test_new_rows_among_stored_and_repeated_ones_are_found(warehouse: Warehouse) -> None:
    warehouse.write_part("splits", splits("a", "b", "a"), "one")
    assert warehouse.ingest().inserted["splits"] == 2
    warehouse.write_part("splits", splits("c", "b", "d", "c", "a"), "two")
    report = warehouse.ingest()
    assert (report.inserted["splits"], report.already_present["splits"]) == (2, 3)
    assert warehouse.query("SELECT task_id FROM splits ORDER BY ALL")["task_id"].to_list() == ["a", "b", "c", "d"]


def encoded(rows: pa.Table, compression: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def rows_of(table: str, values: dict[str, list[Any]]) -> pa.Table:
    columns = [pa.array(values.get(field.name, [None] * 3), type=field.type) for field in TABLES[table].schema]
    return pa.table(columns, schema=TABLES[table].schema)


def put_hashed(folder: Path, name: str, content: bytes) -> None:
    """A part whose name has the hash of its bytes, so that they alone are wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.arrow").write_bytes(content)


@pytest.mark.parametrize("compression", ["lz4", None])
@pytest.mark.parametrize("table", ["turns", "rewards"])
def test_no_damage_to_a_part_stops_an_ingest_or_ends_its_process(
    warehouse: Warehouse, table: str, compression: str | None
) -> None:
    rows = {
        "turns": {
            "rollout_id": ["first", "second", "dritte Ümläut"],
            "turn": [0, 1, 2],
            "context_ids": [[1, 2, 3], [], [4]],
            "text": ["some words", None, "más"],
        },
        "rewards": {
            "update_id": ["u"] * 3,
            "rollout_id": ["first", "second", "third"],
            "components": [[("cost", 1.0), ("outcome", 2.0)], [], [("cost", 0.5)]],
        },
    }
    sound, random = encoded(rows_of(table, rows[table]), compression), Random(7)
    for number in range(100):
        content = bytearray(sound)
        for _ in range(random.choice((1, 2, 4, 16))):
            content[random.randrange(len(content))] = random.choice((0, 127, 128, 255, random.randrange(256)))
        put_hashed(warehouse.parts_dir / table, f"damaged-{number}", bytes(content))
    warehouse.write_part("splits", splits("a", "b"), "sound")
    command = [sys.executable, "-c", INGEST, str(warehouse.path), str(warehouse.parts_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "2"
    assert not list((warehouse.parts_dir / table).glob("*.arrow"))


def twice_the_same_key(folder: Path) -> str:
    values = {"update_id": ["u"] * 3, "rollout_id": ["x", "y", "z"], "components": [[("a", 1.0), ("a", 2.0)], [], []]}
    put_hashed(folder / "rewards", "map", encoded(rows_of("rewards", values), "lz4"))
    return "duplicate key"


def twice_the_same_column(folder: Path) -> str:
    table = pa.table([pa.array(["a"]), pa.array(["a"]), pa.array(["b"])], names=["task_id", "split", "split"])
    put_hashed(folder / "splits", "columns", encoded(table, "lz4"))
    return "more than once"


def link_to_nowhere(folder: Path) -> str:
    (folder / "splits").mkdir()
    (folder / "splits" / "link.arrow").symlink_to(folder / "nowhere")
    return "not a part"


def pipe(folder: Path) -> str:
    (folder / "splits").mkdir()
    os.mkfifo(folder / "splits" / "pipe.arrow")
    return "not a part"


def longest_name(folder: Path) -> str:
    (folder / "splits").mkdir()
    (folder / "splits" / ("x" * 249 + ".arrow")).write_bytes(b"noise")
    return "damaged or cut short"


@pytest.mark.parametrize("damage", [twice_the_same_key, twice_the_same_column, link_to_nowhere, pipe, longest_name])
def test_a_part_that_cannot_be_taken_in_is_set_aside_by_name(
    warehouse: Warehouse, damage: Callable[[Path], str]
) -> None:
    warehouse.parts_dir.mkdir()
    words = damage(warehouse.parts_dir)
    warehouse.write_part("tasks", [dict.fromkeys(TABLES["tasks"].columns) | {"id": "t"}], "sound")
    report = warehouse.ingest()
    [(moved, reason)] = report.quarantined
    assert os.path.lexists(moved) and words in reason and str(warehouse.parts_dir) in reason
    assert report.inserted["tasks"] == 1 and warehouse.ingest().quarantined == []


def test_two_writers_of_one_bundle_both_succeed(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", lambda _: False)  # each looks before the other has written
        for _ in range(2):
            warehouse.write_bundle("bundle", {"splits": splits("a")})
    assert warehouse.ingest().inserted["splits"] == 1
    assert [path.name for path in (warehouse.parts_dir / "bundles").iterdir()] == []


@pytest.mark.parametrize(
    "name", ["quest?x", "a?b/c", "pct%20x", "ha#sh", "quo'te\"s", "Bäume", "glob*[x]{y}", "new\nline"]
)
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(tmp_path / name / "warehouse.duckdb", tmp_path / name / "parts")
    for task in ("a", "b"):
        warehouse.write_part("splits", splits(task), task)
        assert warehouse.ingest().inserted["splits"] == 1
    assert warehouse.query("SELECT count(*) FROM splits").item() == 2
    assert [path.name for path in tmp_path.iterdir()] == [name.partition("/")[0]]
    copy = tmp_path / "moved"
    (tmp_path / name).rename(copy)
    assert Warehouse(copy / "warehouse.duckdb", copy / "parts").query("SELECT count(*) FROM splits").item() == 2


def test_a_name_that_is_not_unicode_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(UnusablePath, match="Rename the folder"):
        Warehouse(home / "warehouse.duckdb", home / "parts")
    assert list(tmp_path.iterdir()) == []
