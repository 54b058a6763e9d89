"""Work folders: the one of a killed process is cleared, the one of a living process stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envs.work_folder import open_work_folder, work_folder

HOLDS_ONE = """
import sys, time
from pathlib import Path
from envs.work_folder import open_work_folder
folder = open_work_folder(".out-unfinished-", Path(sys.argv[1]))
(folder.path / "half").write_text("x")
print(folder.path, flush=True)
time.sleep(60)
"""


def start(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS_ONE, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_killed_process_leaves_nothing_to_the_next_one_and_a_living_one_keeps_its_folder(tmp_path: Path) -> None:
    killed, its_folder = start(tmp_path)
    living, kept = start(tmp_path)
    try:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert its_folder.exists()
        with work_folder(".out-unfinished-", tmp_path) as mine:
            assert not its_folder.exists() and (kept / "half").exists() and mine.exists()
        assert not mine.exists()
    finally:
        living.kill()
        living.wait()


def test_a_folder_that_was_published_stays(tmp_path: Path) -> None:
    folder = open_work_folder(".out-unfinished-", tmp_path)
    (folder.path / "row").write_text("x")
    folder.path.rename(tmp_path / "out")
    folder.close()
    assert (tmp_path / "out" / "row").read_text() == "x"


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out-unfinished-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".out-unfinished-file").write_text("x")
    with work_folder(".out-unfinished-", tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
        assert names >= {".out-unfinished-link", ".out-unfinished-file", "elsewhere"}


@pytest.mark.parametrize("missing", ["no-such-folder", "file/below"])
def test_a_parent_that_cannot_hold_one_is_an_error(tmp_path: Path, missing: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        open_work_folder("x-", tmp_path / missing)
