"""Names that a history gives, as paths inside a folder: the only way from a record to a file name.

The author of a bundle chooses every one of them: domains, campaigns, held-out sets, Python files, checkpoints, runs.
"""

from pathlib import Path

DEEPEST = 16
"""Folders below one another in one name."""
LONGEST = 200
"""Bytes between two slashes; file systems take 255, and suffixes are added."""


class BundleBroken(ValueError):
    """A file is no bundle, is not whole or was altered, or a history names a place outside itself."""


def path_inside(folder: Path, name: str) -> Path:
    """`folder / name`, for a relative name with forward slashes.

    Raises BundleBroken for a name that leads out of the folder on any system, also by a link that lies in the way.
    """
    parts = name.split("/")
    if len(parts) > DEEPEST or not all(map(is_plain, parts)):
        raise BundleBroken(
            f"{shortened(name)} is no name of a file inside of {folder.name}/: names are relative, without '..', "
            f"backslashes and colons, at most {LONGEST} bytes a part. Nothing was written there."
        )
    path = folder.joinpath(*parts)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise BundleBroken(f"{shortened(name)}: a link in {folder.name}/ leads out of it. Nothing was written there.")
    return path


def write_inside(folder: Path, name: str, content: bytes) -> None:
    """Write the file `folder / name`, which is new. Raises BundleBroken as `path_inside`, and for a name in use."""
    path = path_inside(folder, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise BundleBroken(f"{shortened(name)} is the name of two files, or of a file and a folder.") from error


def is_plain(part: str) -> bool:
    """Whether a name is that of one file: printable, no separator of any system, not too long."""
    return (
        part.isprintable()
        and part not in ("", ".", "..")
        and part == part.strip()
        and not any(sign in part for sign in "/\\:")
        and len(part.encode()) <= LONGEST
    )


def shortened(name: str) -> str:
    """A name for a message: quoted, control characters escaped, at most 80 characters."""
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
