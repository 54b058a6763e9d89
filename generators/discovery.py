"""Where domains are found: the built-in folders, the project's own, and those that other distributions register.

A domain is a folder with a `domain.yaml`. Names are listed without running anybody's code, so a broken distribution
breaks its own domain and no other.
"""

import os
import re
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from generators.brief import NAME, DomainError, did_you_mean

BUILT_IN = Path(__file__).parent / "domains"
PROJECT = BUILT_IN.parents[1] / "domains"
"""Folders of a person's own: beside the packages, where no upgrade and no build touches them."""
VARIABLE = "ENVLOOM_DOMAINS"
"""Folders of domains in place of the project's, separated as in PATH."""
ALONE = "ENVLOOM_DOMAINS_ALONE"
"""Set to anything: these folders are all there is, as where a history is made again from what it recorded."""
GROUP = "envloom.domains"


class UnknownDomain(DomainError):
    """No domain has this name; the message lists what there is."""


def project_folders() -> list[Path]:
    """Where a person's own domains lie, the first of which takes new ones. Raises DomainError for one that is not."""
    named = [Path(part).expanduser().resolve() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    if missing := [folder for folder in named if not folder.is_dir()]:
        raise DomainError(f"{VARIABLE}: {missing[0]} is no folder. Make it, or leave it out of the variable.")
    return named or [PROJECT]


def domain_names() -> list[str]:
    """Every domain, sorted. Raises DomainError if two share a name or a name is none."""
    return sorted({**_folders(), **_registered()})


def domain_folder(name: str) -> Path:
    """The folder of one domain. Raises UnknownDomain, and DomainError for one whose distribution has no folder."""
    folders, registered = _folders(), _registered()
    if name in folders:
        return folders[name]
    if name in registered:
        return _folder_of(registered[name])
    for folder in project_folders():
        if (folder / name).is_dir():
            raise DomainError(f"{folder / name}: has no domain.yaml. Write one: it is what makes a folder a domain.")
    raise UnknownDomain(f"domain '{name}' is unknown. {did_you_mean(name, domain_names())}")


def domain_folders() -> dict[str, Path]:
    """The folder of every domain, by name. Raises DomainError."""
    return {name: domain_folder(name) for name in domain_names()}


def entry_point(name: str) -> EntryPoint | None:
    """The entry point that registers a domain; None for one that is a folder."""
    return None if name in _folders() else _registered().get(name)


def origin(point: EntryPoint) -> str:
    """Who registers it, for people: `ferries 1.0 (ferries = ferries.domain:Ferries)`."""
    who = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"
    return f"{who} ({point.name} = {point.value})"


def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for parent in project_folders() if ALONE in os.environ else (BUILT_IN, *project_folders()):
        for file in sorted(parent.glob("*/domain.yaml")):
            name = file.parent.name
            if name in found:
                raise DomainError(f"{file.parent}: domain '{name}' exists already in {found[name]}. Rename one folder.")
            if not re.match(NAME, name):
                raise DomainError(
                    f"{file.parent}: '{name}' must be lower case letters, digits and underscores. Rename the folder."
                )
            found[name] = file.parent
    return found


def _registered() -> dict[str, EntryPoint]:
    folders, found = _folders(), dict[str, EntryPoint]()
    for point in () if ALONE in os.environ else entry_points(group=GROUP):
        other = folders.get(point.name) or (point.name in found and origin(found[point.name]))
        if other:
            raise DomainError(f"{origin(point)}: domain '{point.name}' exists already in {other}. Uninstall one.")
        if not re.match(NAME, point.name):
            raise DomainError(f"{origin(point)}: '{point.name}' must be lower case letters, digits and underscores.")
        found[point.name] = point
    return found


def _folder_of(point: EntryPoint) -> Path:
    """The folder of the module that an entry point names."""
    try:
        spec = find_spec(point.module)
    except Exception as error:  # finding a submodule runs the packages above it
        raise DomainError(
            f"{origin(point)}: {point.module} cannot be imported: {type(error).__name__}: {error}. "
            "Reinstall or correct the distribution."
        ) from error
    if spec is None or spec.origin is None:
        raise DomainError(f"{origin(point)}: there is no module {point.module}. Correct the entry point, or reinstall.")
    folder = Path(spec.origin).parent
    if not (folder / "domain.yaml").is_file():
        raise DomainError(
            f"{origin(point)}: there is no domain.yaml in {folder}. Add it to the package's data files, beside the "
            "module that the entry point names."
        )
    return folder
