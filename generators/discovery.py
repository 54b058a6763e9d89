"""Where domains are found: the built-in folders, the project's own, and those that other distributions register.

A domain is a folder with a `domain.yaml`. Names are listed without running anybody's code. A folder or a distribution
that cannot be used breaks its own domain and no other: it is reported where it is asked for, and by `unusable`.
"""

import logging
import os
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from generators.brief import NAME, DomainError
from generators.fields import did_you_mean
from generators.yaml_documents import misnamed

BUILT_IN = Path(__file__).parent / "domains"
PROJECT = BUILT_IN.parents[1] / "domains"
"""Folders of a person's own: beside the packages, where no upgrade and no build touches them."""
VARIABLE = "ENVLOOM_DOMAINS"
"""Folders of domains in place of the project's, separated as in PATH."""
ALONE = "ENVLOOM_DOMAINS_ALONE"
"""Set to anything: these folders are all there is, as where a history is made again from what it recorded."""
GROUP = "envloom.domains"
PAGE = "domain.yaml"
RECORDING = "calls.jsonl"
"""The recorded synthesis in a domain's folder."""
_log = logging.getLogger(__name__)


class UnknownDomain(DomainError):
    """No domain has this name; the message lists what there is."""


def project_folders() -> list[Path]:
    """Where a person's own domains lie, the first of which takes new ones. Raises DomainError for one that is not."""
    named = [Path(part).expanduser().resolve() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    if missing := [folder for folder in named if not folder.is_dir()]:
        raise DomainError(f"{VARIABLE}: {missing[0]} is no folder. Make it, or leave it out of the variable.")
    return named or [PROJECT]


def domain_names() -> list[str]:
    """Every domain with a name that can be one, sorted. Raises DomainError for a setting that names no folder."""
    return sorted(name for name in _sources() if re.fullmatch(NAME, name))


def domain_folder(name: str) -> Path:
    """The folder of one domain. Raises UnknownDomain, and DomainError for one that cannot be used."""
    sources = _sources()
    if name in sources:
        if problem := _problem(name, sources[name]):
            raise DomainError(problem)
        source = sources[name][0]
        return _folder_of(source) if isinstance(source, EntryPoint) else source
    for folder in project_folders():
        if name and (pages := misnamed(folder / name, PAGE)):
            raise DomainError(_misnamed(pages[0]))
        if name and (folder / name).is_dir():
            raise DomainError(f"{folder / name}: has no domain.yaml. Write one: it is what makes a folder a domain.")
    raise UnknownDomain(f"domain '{name}' is unknown. {did_you_mean(name, domain_names())}")


def unusable() -> dict[str, str]:
    """What looks like a domain and cannot be one, by name, with the reason and the remedy. Pages are not read."""
    problems = {name: _problem(name, places) for name, places in _sources().items()}
    problems |= {f"{file.parent.name}/{file.name}": _misnamed(file) for file in _misnamed_pages()}
    return {name: problem for name, problem in sorted(problems.items()) if problem}


def domain_folders() -> dict[str, Path]:
    """The folder of every domain that can be used, by name. The others are logged."""
    folders = {}
    for name in domain_names():
        try:
            folders[name] = domain_folder(name)
        except DomainError as error:
            _log.warning("%s", error)
    return folders


def entry_point(name: str) -> EntryPoint | None:
    """The entry point that registers a domain; None for one that is a folder."""
    source = next(iter(_sources().get(name, [])), None)
    return source if isinstance(source, EntryPoint) else None


def origin(point: EntryPoint) -> str:
    """Who registers it, for people: `ferries 1.0 (ferries = ferries.domain:Ferries)`."""
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"
    return f"{distribution} ({point.name} = {point.value})"


def _sources() -> dict[str, list[Path | EntryPoint]]:
    """Everything that looks like a domain, by name: folders first, then entry points. Hidden folders are none."""
    sources: dict[str, list[Path | EntryPoint]] = {}
    alone = ALONE in os.environ
    for parent in dict.fromkeys(project_folders() if alone else (BUILT_IN, *project_folders())):
        for file in sorted(parent.glob(f"*/{PAGE}")):
            if not file.parent.name.startswith("."):
                sources.setdefault(file.parent.name, []).append(file.parent)
    for point in () if alone else entry_points(group=GROUP):
        sources.setdefault(point.name, []).append(point)
    return sources


def _misnamed_pages() -> Iterator[Path]:
    folders = project_folders() if ALONE in os.environ else (BUILT_IN, *project_folders())
    for parent in dict.fromkeys(folders):
        for folder in sorted(parent.glob("[!.]*/")):
            yield from misnamed(folder, PAGE)


def _misnamed(file: Path) -> str:
    return f"{file}: the page of a domain is called {PAGE}. Rename it."


def _problem(name: str, places: list[Path | EntryPoint]) -> str:
    """Why a name cannot be used, and the remedy; empty if it can."""
    shown = [origin(place) if isinstance(place, EntryPoint) else str(place) for place in places]
    registered = isinstance(places[-1], EntryPoint)
    if not re.fullmatch(NAME, name):
        remedy = "Rename the entry point" if registered else "Rename the folder"
        return f"{shown[-1]}: '{name}' must be 2 to 31 lower case letters, digits and underscores. {remedy}."
    if len(places) > 1:
        remedy = "Uninstall one" if registered else "Rename one folder"
        return f"{shown[-1]}: domain '{name}' exists already in {shown[0]}. {remedy}."
    return ""


def _folder_of(point: EntryPoint) -> Path:
    """The folder of the module that an entry point names."""
    try:
        module = point.module
        spec = find_spec(module)
    except (Exception, SystemExit) as error:  # finding a submodule runs the packages above it
        raise DomainError(
            f"{origin(point)}: cannot be imported: {type(error).__name__}: {error}. "
            "Reinstall or correct the distribution."
        ) from error
    if spec is None or spec.origin is None:
        raise DomainError(f"{origin(point)}: there is no module {module}. Correct the entry point, or reinstall.")
    folder = Path(spec.origin).parent
    if not (folder / "domain.yaml").is_file():
        raise DomainError(
            f"{origin(point)}: there is no domain.yaml in {folder}. Add it to the package's data files, beside the "
            "module that the entry point names."
        )
    return folder
