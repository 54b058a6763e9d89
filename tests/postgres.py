"""A Postgres of one's own for lakes, where the extra `lake` and Debian's `postgresql` are: both are optional.

Tests that want one are skipped elsewhere.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from warehouse.lake import Lake

MISSING = [
    package
    for package in ("duckdb_extension_ducklake", "duckdb_extension_postgres_scanner")
    if importlib.util.find_spec(package) is None
]
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


class Postgres:
    """A server of its own in a temporary folder, which no root may run, with a password."""

    def __init__(self, folder: Path) -> None:
        assert BINARIES is not None
        self.folder, self.bin = folder, BINARIES.parent
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.password = secrets.token_hex(8)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def start(self) -> None:
        (self.folder / "password").write_text(self.password)
        (self.folder / "password").chmod(0o644)
        given = ["-U", "envloom", "-A", "scram-sha-256", f"--pwfile={self.folder / 'password'}", "--no-sync"]
        self._run("initdb", "-D", f"{self.folder}/data", *given)
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", "immediate", "stop")

    def database(self, name: str) -> str:
        """A new database, in libpq's words."""
        at = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "envloom"]
        self._run("createdb", *at, name, PGPASSWORD=self.password)
        return f"host=127.0.0.1 port={self.port} user=envloom dbname={name}"

    def _run(self, program: str, *arguments: str, **environment: str) -> None:
        owner = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        command = [str(self.bin / program), *arguments]
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.folder, env=os.environ | environment, **quiet, **owner)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Skips where something is missing."""
    if MISSING:
        pytest.skip(f"the extra `lake` is not installed: {MISSING}")
    if BINARIES is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="envloom-postgres-"))  # pytest's own folders are closed to other users
    server = Postgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def lake(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake that nobody has opened yet; the tests of this file use different rows in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKE_PASSWORD", postgres.password)
        yield lake_of(postgres, tmp_path_factory.mktemp("lake"))


def lake_of(postgres: Postgres, folder: Path) -> Lake:
    catalogue = postgres.database(f"lake_{secrets.token_hex(4)}")
    return Lake.parse(f"ducklake:postgres:{catalogue};data_path={folder};password_variable=LAKE_PASSWORD")
