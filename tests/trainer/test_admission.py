"""Bad input: one clear error before any work, and nothing written."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.small import VOCABULARY, child_of, small_job, small_rows
from trainer import policy
from trainer.admission import JobRefused, require_accelerators
from trainer.checkpoint import ADAPTER, MANIFEST, CheckpointBroken
from trainer.jobs import UpdateJob
from trainer.rows import RowsUnreadable, write_training_rows
from trainer.update import update


def refused(job: UpdateJob, monkeypatch: pytest.MonkeyPatch, error: type[Exception], said: str) -> None:
    """The update raises, no model is loaded for it, and nothing appears on the disk."""
    before = everything(Path(job.rows_path).parent)
    monkeypatch.setattr(policy, "load_base", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(error, match=said):
        update(job, state_path=Path(job.rows_path).with_name("state.pt"))
    assert everything(Path(job.rows_path).parent) == before


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("token", [VOCABULARY, -1])
def test_a_token_that_the_model_does_not_know(tmp_path: Path, monkeypatch, token: int) -> None:
    first, *others = small_rows()
    strange = first.model_copy(update={"token_ids": (token, *first.token_ids[1:])})
    job = small_job(tmp_path, [*others, strange])
    refused(job, monkeypatch, JobRefused, f"row r00/0 has token {token}, and small knows 0 to 63.*another tokenizer")


def test_no_rows_and_rows_without_a_token_to_train(tmp_path: Path, monkeypatch) -> None:
    refused(small_job(tmp_path, []), monkeypatch, JobRefused, "0 rows and no token to train.*left out")
    silent = [row.model_copy(update={"trained": (False,) * len(row.token_ids)}) for row in small_rows()]
    refused(small_job(tmp_path, silent), monkeypatch, JobRefused, "16 rows and no token to train")


def test_a_row_without_a_token_to_train_beside_others_changes_nothing(tmp_path: Path) -> None:
    alone = update(small_job(tmp_path))
    silent = small_rows()[0].model_copy(update={"trained": (False,) * 16, "part": 1})
    beside = update(small_job(tmp_path, [*small_rows(), silent]))
    assert alone.manifest.adapter_sha256 == beside.manifest.adapter_sha256


def test_a_rollout_that_comes_twice(tmp_path: Path, monkeypatch) -> None:
    rows = small_rows()
    refused(small_job(tmp_path, [*rows, rows[0]]), monkeypatch, JobRefused, "row r00/0 comes 2 times")


def test_logprobs_of_another_length(tmp_path: Path, monkeypatch) -> None:
    job = small_job(tmp_path)
    table = pq.read_table(job.rows_path).to_pylist()
    table[3]["behaviour"] = table[3]["behaviour"][:-1]
    schema = pq.read_schema(job.rows_path)
    pq.write_table(pa.Table.from_pylist(table, schema=schema), job.rows_path)
    refused(job, monkeypatch, RowsUnreadable, r"rows.parquet.*row r03/0: 19 tokens, 19 marks, 18 logprobs")


@pytest.mark.parametrize("changed", [{"advantage": math.nan}, {"behaviour": (0.0,) * 12 + (-math.inf,) * 4}])
def test_numbers_that_are_none(tmp_path: Path, monkeypatch, changed) -> None:
    first, *others = small_rows()
    job = small_job(tmp_path, [first.model_copy(update=changed), *others])
    refused(job, monkeypatch, RowsUnreadable, "row r00/0: an advantage or a logprob is not a finite number")


def test_no_file_of_rows_and_a_file_that_is_none(tmp_path: Path, monkeypatch) -> None:
    job = small_job(tmp_path)
    Path(job.rows_path).write_bytes(b"half a file")
    refused(job, monkeypatch, RowsUnreadable, "no Parquet file")
    Path(job.rows_path).unlink()
    refused(job, monkeypatch, RowsUnreadable, "rows.parquet: not there")


def test_a_parent_that_is_missing_or_not_sealed(tmp_path: Path, monkeypatch) -> None:
    parent = update(small_job(tmp_path))
    job = child_of(parent, small_job(tmp_path))
    gone = job.model_copy(update={"parent_adapter_path": str(tmp_path / "gone")})
    refused(gone, monkeypatch, JobRefused, f"parent checkpoint {parent.checkpoint_id} is not there")
    (Path(parent.checkpoint_path) / ADAPTER).unlink()
    refused(job, monkeypatch, CheckpointBroken, "not there")
    (Path(parent.checkpoint_path) / MANIFEST).unlink()
    refused(job, monkeypatch, CheckpointBroken, f"no {MANIFEST}")


def test_an_adapter_for_another_base(tmp_path: Path, monkeypatch) -> None:
    parent = update(small_job(tmp_path))
    job = child_of(parent, small_job(tmp_path)).model_copy(update={"base_model_fingerprint": "other@1"})
    refused(job, monkeypatch, JobRefused, "made for the base model small@0, but the job's is other@1")


def test_a_folder_that_holds_another_checkpoint_than_the_one_named(tmp_path: Path, monkeypatch) -> None:
    parent = update(small_job(tmp_path))
    job = child_of(parent, small_job(tmp_path)).model_copy(update={"parent_checkpoint_id": "0" * 32})
    refused(job, monkeypatch, JobRefused, f"is checkpoint {parent.checkpoint_id}, the job names 0000")


def test_a_base_model_that_is_not_there(tmp_path: Path, monkeypatch) -> None:
    job = small_job(tmp_path).model_copy(update={"base_model_path": str(tmp_path / "nowhere")})
    refused(job, monkeypatch, JobRefused, "nowhere: no config.json")


def test_the_vocabulary_of_a_model_whose_language_part_is_one_of_several(tmp_path: Path) -> None:
    from trainer.admission import vocabulary_size

    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 7}}))
    assert vocabulary_size(tmp_path) == 7


def test_rows_are_checked_whatever_their_order(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    first = update(job)
    write_training_rows(Path(job.rows_path), list(reversed(small_rows())))
    assert update(job).manifest.adapter_sha256 == first.manifest.adapter_sha256


def test_more_processes_than_accelerators() -> None:
    with pytest.raises(JobRefused, match=r"processes: 16, and 8 accelerators here.*torchrun"):
        require_accelerators(16, here=8)
    require_accelerators(8, here=8)
    require_accelerators(16, here=0)
