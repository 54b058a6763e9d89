"""The warehouse on DuckLake with a real Postgres: two writers, readers meanwhile, the past, the same ids as in a file.

Skipped where `tests.postgres` says that something is missing.
"""

import json
import logging
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.home import Home
from tests.postgres import Postgres, lake_of
from warehouse.confined import require_one_question
from warehouse.errors import LakeMisconfigured, LakeUnavailable, NotOneQuestion, UnknownSnapshot, WarehouseBusy
from warehouse.lake import Lake
from warehouse.lake_connection import LakeDatabase
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "setting",
    [
        "host=h sslpassword=geheim;data_path=/x", "host=h password = geheim;data_path=/x",
        "host=h;data_path=s3://key:geheim@bucket/x", "host=h;data_path=s3://bucket/x?s3_secret_access_key=geheim",
        "host=h;data_path=s3://bucket/x;storage_endpoint=http://key:geheim@host:9000",
    ],
)  # fmt: skip
def test_a_setting_of_a_lake_holds_no_secret(setting: str) -> None:
    with pytest.raises(LakeMisconfigured) as refused:
        Lake.parse(f"ducklake:postgres:{setting}")
    assert "geheim" not in "".join(traceback.format_exception(refused.value))


WRITER = """
import sys, time
from pathlib import Path
from warehouse.lake import Lake
from warehouse.warehouse import Warehouse
lake, parts, worker, rounds = Lake.parse(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
warehouse = Warehouse(lake, parts / worker)
print("ready", flush=True)
sys.stdin.readline()
for k in range(rounds):
    # half of the rows are the other writer's too
    ids = [f"{k}-shared-{n}" for n in range(30)] + [f"{k}-{worker}-{n}" for n in range(30)]
    rows = [{"task_id": id, "split": "train"} for id in ids]
    warehouse.record_batch("asset", worker, {"splits": rows}, run_id=f"{worker}-{k}", code_version="x")
"""
DIES_IN_ITS_TURN = """
import os, signal
from warehouse.intake import Intake
finish = Intake.finish
def finish_and_die(self):
    finish(self)
    os.kill(os.getpid(), signal.SIGKILL)
Intake.finish = finish_and_die
"""
EVERY_ROW = "SELECT '{0}' AS name, count(*) AS rows, sum(hash(t)) AS content FROM (FROM {0}) t"


def start(code: str, lake: Lake, parts: Path, worker: str, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, lake.setting(), str(parts), worker, str(rounds)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def splits(prefix: str, count: int) -> dict[str, list[dict[str, str]]]:
    return {"splits": [{"task_id": f"{prefix}-{n}", "split": "train"} for n in range(count)]}


def test_two_writers_at_once_lose_no_row_and_double_none_and_readers_see_whole_batches(
    lake: Lake, tmp_path: Path
) -> None:
    rounds = 3
    writers = [start(WRITER, lake, tmp_path, worker, rounds) for worker in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:  # both find a catalogue without a lake
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    warehouse, counts = Warehouse(lake, tmp_path / "parts"), [0]
    while any(writer.poll() is None for writer in writers):
        seen = warehouse.query(
            "SELECT (SELECT count(*) FROM splits) AS rows, (SELECT count(DISTINCT task_id) FROM splits) AS keys, "
            "(SELECT count(*) FROM batches b WHERE n_rows <> (SELECT count(*) FROM batch_splits m "
            "WHERE m.batch_id = b.batch_id)) AS torn"
        ).row(0, named=True)
        assert seen["torn"] == 0 and seen["rows"] == seen["keys"] >= counts[-1]
        counts.append(seen["rows"])
    assert [writer.wait() for writer in writers] == [0, 0]
    stored = warehouse.query("SELECT count(*), count(DISTINCT task_id) FROM splits").row(0)
    assert stored == (rounds * 90, rounds * 90)
    assert warehouse.query("SELECT count(*), sum(n_rows) FROM batches").row(0) == (2 * rounds, 2 * rounds * 60)


def test_a_writer_killed_in_its_turn_gives_it_up_and_its_rows_come_with_the_next_ingest(
    lake: Lake, tmp_path: Path
) -> None:
    stored = "SELECT count(*) FROM splits WHERE task_id LIKE '%killed%'"
    writer = start(f"{DIES_IN_ITS_TURN}\n{WRITER}", lake, tmp_path, "killed", 1)
    writer.communicate("\n")
    assert writer.returncode == -signal.SIGKILL
    warehouse = Warehouse(lake, tmp_path / "killed", timeout_s=20)
    assert warehouse.query(stored).item() == 0
    warehouse.ingest()
    assert warehouse.query(stored).item() == 30

    warehouse.write_part("splits", splits("killed", 1)["splits"], "late")
    impatient = Warehouse(lake, tmp_path / "killed", timeout_s=0.2)
    with LakeDatabase(lake, 20).locked(), pytest.raises(WarehouseBusy, match="another writer's turn"):
        impatient.ingest()
    assert impatient.query(stored).item() == 30
    assert warehouse.ingest().inserted["splits"] == 1


def test_a_snapshot_shows_the_tables_and_the_current_batch_as_they_were(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, database = Warehouse(lake, tmp_path / "parts"), LakeDatabase(lake, 20)
    stored, states = "SELECT count(*) FROM splits WHERE task_id LIKE 'past-%'", []
    for count in (5, 40):
        batch = warehouse.record_batch("past", None, splits("past", count), run_id="run", code_version="x")
        states.append((database.snapshots()[-1].id, count, batch))
    monkeypatch.setenv("ENVLOOM_WAREHOUSE", lake.setting())
    assert CliRunner().invoke(app, ["lake", "compact"]).exit_code == 0
    for snapshot, count, batch in states:
        then = Warehouse(lake.at(snapshot), tmp_path / "parts")
        assert then.query(stored).item() == count
        assert then.latest_batch("past") == batch
        assert then.read_batch(batch.batch_id, "splits")["task_id"].to_list() == [f"past-{n}" for n in range(count)]
    assert warehouse.query(stored).item() == 40
    asked = CliRunner().invoke(app, ["query", stored, "--at", str(states[0][0]), "--csv"])
    assert asked.stdout.splitlines()[1:] == ["5"], asked.stderr
    listed = CliRunner().invoke(app, ["query", "--tables", "--json"])
    names = [row["name"] for row in json.loads(listed.stdout)]
    assert set(TABLES) < set(names) and len(set(names)) == len(names)
    assert CliRunner().invoke(app, ["query", stored, "--at", "999"]).exit_code == 1
    with pytest.raises(UnknownSnapshot, match="is the past and cannot be written"):
        Warehouse(lake.at(states[0][0]), tmp_path / "parts").ingest()
    with pytest.raises(UnknownSnapshot, match="no such snapshot"):
        Warehouse(lake.at(999), tmp_path / "parts").query("SELECT 1")
    with pytest.raises(UnknownSnapshot, match="the tables were made later"):
        Warehouse(lake.at(0), tmp_path / "parts").query("SELECT 1")


def test_an_older_lake_becomes_one_of_this_schema_and_the_same_rows_are_the_same_as_in_a_file(
    postgres: Postgres, lake: Lake, campaign: Warehouse, row: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    lake = lake_of(postgres, tmp_path / "old")
    database, there = LakeDatabase(lake, 20), Warehouse(lake, tmp_path / "lake-parts")
    with database._connection("lake_writer") as connection:
        connection.execute("BEGIN")
        for statement in Path(__file__).with_name("schema_v3.sql").read_text().split(";\n"):
            if "CREATE TABLE" in statement or "INTO meta" in statement:
                connection.execute(statement)
        connection.execute("COMMIT")

    odd = {"logprobs": [-0.1, float("nan"), None], "context_ids": [], "calls": [{"a": "ü\n'\\"}], "cost_usd": 1e-7}
    turns = [row("turns", rollout_id=f"long-{n}", turn=n, completion_ids=[n, 2**31 - 1], **odd) for n in range(50)]
    made = [
        warehouse.record_batch("rollouts", "long", {"turns": turns}, run_id="r", code_version="x")
        for warehouse in (campaign, there)
    ]
    assert made[0].batch_id == made[1].batch_id and made[0].data_version == made[1].data_version
    same = there.read_batch(made[1].batch_id, "turns")
    assert same.equals(campaign.read_batch(made[0].batch_id, "turns")) and len(same) == 50

    with duckdb.connect(str(campaign.path), read_only=True) as file:
        for name in TABLES:
            there.write_part(name, file.execute(f"FROM {name}").to_arrow_table(), "copy")
    report = there.ingest()
    assert report.already_present["turns"] == 50 and not report.differing
    views = ["lineage", "funnel", "current_rewards", "current_turns", "batch_checks"]
    sql = " UNION ALL ".join(EVERY_ROW.format(name) for name in [*TABLES, *views] if name != "batches")
    assert_frame_equal(there.query(sql), campaign.query(sql))
    times = "SELECT * EXCLUDE created_at FROM batches ORDER BY batch_id"
    assert_frame_equal(there.query(times), campaign.query(times))
    assert Warehouse(lake.at(1), tmp_path).query("FROM meta").rows() == [("schema_version", "3")]


def test_no_secret_is_said(lake: Lake, postgres: Postgres, tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    Warehouse(lake, tmp_path / "parts").query("SELECT 1")
    said = [caplog.text, repr(lake), str(lake), lake.setting()]
    monkeypatch.setenv("WRONG", "geheim")
    wrong = lake.model_copy(update={"password_variable": "WRONG"})
    with pytest.raises(LakeUnavailable, match="password authentication failed") as refused:
        Warehouse(wrong, tmp_path / "parts").query("SELECT 1")
    with pytest.raises(LakeUnavailable, match="NOT_SET"):
        Warehouse(lake.model_copy(update={"password_variable": "NOT_SET"}), tmp_path / "parts").query("SELECT 1")
    with pytest.raises(LakeUnavailable, match="data path"):
        Warehouse(lake.model_copy(update={"data_path": "/elsewhere/"}), tmp_path / "parts").query("SELECT 1")
    with pytest.raises(LakeMisconfigured, match="password_variable") as spelled:
        Lake.parse(f"ducklake:postgres:host=h password={postgres.password};data_path=/x")
    with pytest.raises(LakeMisconfigured, match="password") as added:
        Lake.parse(f"ducklake:postgres:host=h;data_path=/x;password={postgres.password}")
    said += ["".join(traceback.format_exception(each.value)) for each in (refused, spelled, added)]
    assert not any(secret in text for secret in (postgres.password, "geheim") for text in said)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        """SELECT * FROM "POSTGRES_SCAN" ('host=elsewhere', 'public', 't')""",
        "SELECT * FROM query('SELECT * FROM postgres' || '_query(1)')",
        "SELECT * FROM ducklake_expire_snapshots('lake')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/copy.csv'",
        "SELECT * FROM catalogue.public.ducklake_snapshot",
    ],
)
def test_a_question_to_a_lake_reaches_nothing_else(lake: Lake, tmp_path: Path, sql: str) -> None:
    warehouse = Warehouse(lake, tmp_path / "parts")
    warehouse.record_batch("asset", None, splits("a", 3), run_id="r", code_version="x")
    with warehouse.confined() as connection:
        require_one_question(connection, "SUMMARIZE splits")
        assert connection.execute("SELECT count(*) > 2 FROM splits").fetchone() == (True,)
        with pytest.raises((NotOneQuestion, duckdb.Error)):
            require_one_question(connection, sql)
            connection.execute(sql)
    warehouse.record_batch("asset", None, splits("b", 2), run_id="r", code_version="x")  # others are not confined


def test_the_environment_chooses_the_lake_and_hands_it_on(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("ENVLOOM_WAREHOUSE", lake.setting())
    home = Home.here().prepare()
    assert home.warehouse == Home.here().warehouse == lake
    Warehouse(home.warehouse, home.parts).record_batch("a", None, splits("t", 2), run_id="r", code_version="x")
    result = CliRunner().invoke(app, ["lake", "snapshots", "--json"])
    assert [each["snapshot"] for each in json.loads(result.stdout)][:3] == [0, 1, 2]

    Home(tmp_path / "scratch").prepare()  # a home without the lake is found without it again
    assert Home.here().warehouse == tmp_path / "scratch" / "warehouse.duckdb"
    result = CliRunner().invoke(app, ["lake", "snapshots"])
    assert result.exit_code == 2 and "ENVLOOM_WAREHOUSE" in result.stderr
    result = CliRunner().invoke(app, ["query", "SELECT 1", "--at", "1"])
    assert result.exit_code == 2 and "has no snapshots" in result.stderr
    monkeypatch.setenv("ENVLOOM_WAREHOUSE", "postgres://me:geheim@host/db")
    with pytest.raises(LakeMisconfigured, match="is not a lake"):
        Home.here()
