"""Any number of processes may be the first in a home; a history that was made wrong is mended."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from dagster_project import sqlite_history
from dagster_project.cli import app
from dagster_project.home import REPOSITORY, Home, HomeError

AT_ONCE = 5
ROUNDS = 3
# Everything is imported first; then all wait for the line that lets them go, and are the first at once.
FIRST = """
import os, sys
import dagster as dg
from dagster_project import sqlite_history
from dagster_project.home import Home
print("ready", flush=True)
for line in sys.stdin:
    os.environ["ENVLOOM_HOME"] = line.strip()
    Home.here().prepare()
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("named", [str(os.getpid())])
        instance.event_log_storage.set_concurrency_slots("pool", 1)
    print("done", flush=True)
"""


def test_processes_that_are_the_first_at_once_all_work_and_the_history_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST], cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(AT_ONCE)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for number in range(ROUNDS):
        home = tmp_path / str(number)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{home}\n")
            process.stdin.flush()
        assert [process.stdout.readline() for process in processes if process.stdout] == ["done\n"] * AT_ONCE
        monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
        with dg.DagsterInstance.get() as instance:
            assert len(instance.get_dynamic_partitions("named")) == AT_ONCE
    for process in processes:
        process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("database", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
def test_a_history_that_two_processes_made_at_once_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    home = Home.here().prepare()
    dg.DagsterInstance.get().dispose()
    file = home.dagster / database
    with closing(sqlite3.connect(file)) as connection, connection:
        [(newest,)] = connection.execute("SELECT version_num FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
        instance.add_dynamic_partitions("named", ["a"])
        assert instance.all_instigator_state() == []
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest,)]
    assert str(file) in caplog.text


@pytest.mark.parametrize("damage", [lambda _: b"damage", lambda content: content[:20_000]])
@pytest.mark.parametrize("database", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
def test_a_damaged_history_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    home = Home.here().prepare()
    dg.DagsterInstance.get().dispose()
    file = home.dagster / database
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(HomeError, match=f"{file.name}: is damaged .* Move the home's folder dagster/ away"):
        dg.DagsterInstance.get()


@pytest.mark.parametrize("text", ["{[ ", "- a", "text", "a: b: c", "\0"])
def test_settings_of_dagster_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(text)
    with pytest.raises(HomeError, match=r"(?s)dagster\.yaml: cannot be read .* delete it"):
        Home.here().prepare()


def test_a_process_that_never_ends_making_the_history_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    home = Home.here().prepare()
    monkeypatch.setattr(sqlite_history, "_MAKING_S", 0.1)
    lock = home.dagster / ".making.lock"
    with FileLock(lock), pytest.raises(HomeError, match=r"\.making\.lock was held .* End the process"):
        sqlite_history.History(str(home.dagster))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [("database is locked", "Close it"), ("file is not a database", "Move the damaged one away")],
)
def test_a_fault_of_sqlite_ends_any_command_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, remedy: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.DatabaseError(words)

    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setattr("dagster_project.home.Home.prepare", fail)
    ended = CliRunner().invoke(app, ["domain", "check", "library"])
    assert ended.exit_code == 1 and words in ended.output and remedy in ended.output
