"""A folder for work in progress, held by a lock that dies with its process, so that the next one clears what was left.

What is finished is moved out of it or renamed; what a killed process leaves behind is removed when a folder of the same
prefix is opened again. What lies in it is not known here.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp


@dataclass(frozen=True)
class WorkFolder:
    """An open work folder. `close` removes it, unless it was renamed."""

    path: Path
    _lock: int
    """An open descriptor of the folder, which carries the lock: a file of its own would end up in what is published."""

    def close(self) -> None:
        """Remove the folder and let go of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def open_work_folder(prefix: str, parent: Path | None = None) -> WorkFolder:
    """A new folder `<prefix>…` in `parent` (the system's temporary folder if None). Clears those of dead processes.

    Raises OSError where no folder can be made.
    """
    parent = parent or Path(gettempdir())
    _clear_dead(parent, prefix)
    while True:
        path = Path(mkdtemp(prefix=prefix, dir=parent))
        with suppress(FileNotFoundError):  # another process took it for a dead one's before it was locked
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return WorkFolder(path, lock)
            os.close(lock)


@contextmanager
def work_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """`open_work_folder` for one block."""
    opened = open_work_folder(prefix, parent)
    try:
        yield opened.path
    finally:
        opened.close()


def _clear_dead(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*"):
        # Somebody else's, gone meanwhile, a link or no folder at all: none of them is ours to clear.
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
