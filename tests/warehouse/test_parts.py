"""Parts: written without the lock, taken in once, and set aside with a reason when they cannot be read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import RowsRejected
from warehouse.warehouse import Warehouse


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
