"""Small files that several processes read: written whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Put `text` into `path`, in place of what was there. A kill or a full disk leaves the old file as it was."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.touch(mode=mode)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
