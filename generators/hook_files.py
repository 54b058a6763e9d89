"""From a domain's folder, or its entry point, to its class of hooks: found, executed, hashed."""

import inspect
import sys
import traceback
from difflib import get_close_matches
from importlib.abc import ExecutionLoader
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from pydantic import JsonValue

from envs.record import content_id
from generators.brief import DomainError
from generators.discovery import domain_folder, domain_names, entry_point, origin
from generators.hooks import FILE, Hooks

METHODS = ("rows", "tools", "tasks")


class HookError(DomainError):
    """Python of a domain failed or made something wrong: where (file and function), what, and what to do about it."""

    def __init__(self, place: str, function: str, what: str, remedy: str) -> None:
        super().__init__(f"{place}: {function}: {what}. {remedy.rstrip('.')}.")


def find_hooks(domain: str) -> tuple[Hooks, Path, dict[str, str]] | None:
    """The hooks of a domain, their file, and every Python file of the folder by its path; None if there are none.

    Raises DomainError, and HookError for Python that cannot be used.
    """
    point, folder = entry_point(domain), domain_folder(domain)
    if point is not None and point.attr:
        found = _registered(point)
        file = Path(inspect.getfile(found))
    elif (folder / FILE).is_file():
        file = folder / FILE
        found = _executed(domain, file)
    else:
        return None
    _check_names(found, file)
    try:
        hooks = found()
    except Exception as error:
        raise failed(error, file, found.__name__, "Give `__init__` no arguments") from error
    return hooks, file, _sources(folder)


def python_of_domains() -> str:
    """The hash of the Python of all domains. Nothing of it is run, so a broken domain does not keep others from it."""
    sources: dict[str, JsonValue] = {}
    for domain in domain_names():
        try:
            sources[domain] = dict(_sources(domain_folder(domain)))
        except DomainError as error:  # raised again for whoever asks for this domain
            sources[domain] = str(error)
    return content_id(sources)[:16]


def failed(error: BaseException, file: Path, function: str, remedy: str) -> HookError:
    """The error of a hook that raised, at its line in that file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    place = f"{file}:{lines[-1]}" if lines else str(file)
    return HookError(place, function, f"raised {type(error).__name__}: {error}", remedy)


class _Source(ExecutionLoader):
    """Runs the text that was hashed: a cached compilation could be that of an earlier text."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  the loader's interface
        return str(self.file)

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return self.file.read_text(encoding="utf-8")


def _sources(folder: Path) -> dict[str, str]:
    """Every Python file by its path in the folder, so that the hash is the same wherever the folder lies.

    Raises DomainError.
    """
    sources = {}
    for path in sorted(path for path in folder.rglob("*.py") if path.is_file()):
        try:
            sources[path.relative_to(folder).as_posix()] = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DomainError(f"{path}: cannot be read: {error}. Save it as UTF-8, or take it out.") from error
    return sources


def _executed(domain: str, file: Path) -> type[Hooks]:
    """The one class of hooks that a file defines."""
    name = f"envloom_domain_{domain}"
    spec = spec_from_loader(name, _Source(file), origin=str(file))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        remedy = "Correct it; a module of several files is registered as an entry point"
        raise failed(error, file, "when imported", remedy) from error
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Hooks) and each.__module__ == name
    ]
    if len(found) != 1:
        what = f"defines {', '.join(each.__name__ for each in found) or 'no class of hooks'}"
        raise HookError(str(file), "the module", what, "Define one class derived from generators.hooks.Hooks")
    return found[0]


def _registered(point: EntryPoint) -> type[Hooks]:
    """The class that an entry point names."""
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        what = f"raised {type(error).__name__} when imported: {error}"
        raise HookError(origin(point), point.value, what, "Correct or reinstall the distribution") from error
    if not (isinstance(found, type) and issubclass(found, Hooks)):
        remedy = "Name a class derived from generators.hooks.Hooks, or the package alone"
        raise HookError(origin(point), point.attr, f"is a {type(found).__name__}", remedy)
    return found


def _check_names(found: type[Hooks], file: Path) -> None:
    """A method called almost as a hook would never be called."""
    for name in vars(found):
        meant = get_close_matches(name, METHODS, n=1, cutoff=0.8)
        if meant and name not in METHODS:
            what = f"is no hook, and would never be called; there are {', '.join(METHODS)}"
            raise HookError(str(file), f"{found.__name__}.{name}", what, f"Call it {meant[0]}, or something else")
