"""What a function makes use of, found in the sources of our packages without importing them: definitions and prompts.

Names are followed as far as functions, classes and constants of a module go. What libraries do is told by the lock's
hash and not here.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, meta

FOLLOWED = ("envs", "serving", "generators", "trainer", "dagster_project")
"""How rows are kept (`warehouse`) makes nothing of them."""
SETTINGS = "dagster_project.campaign"
"""Not followed: whoever is given a campaign's settings has a type of his own for those that he uses."""
PROMPTS = Path("generators", "prompts")
DISPLAY = "envs.display"
"""Not followed either: how records look in a console makes no data."""
Symbol: TypeAlias = tuple[str, str]
"""A module and a name in it."""
STAGE: Symbol = ("generators.stage", "Stage")
EFFECTS = "<effects>"
"""The name under which a module's statements stand that define nothing: whoever uses the module has run them."""


class UnknownCode(ValueError):
    """An entry point that is not in the sources: which."""


@dataclass(frozen=True)
class Reached:
    """What is made use of from an entry point."""

    symbols: frozenset[Symbol]
    templates: frozenset[str]
    """Names of prompts, without their ending."""


class Sources:
    """The packages below a folder, read as they are needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, _Module | None] = {}
        self._uses: dict[Symbol, frozenset[Symbol]] = {}

    def version(self, *entries: str) -> str:
        """The hash of what the entry points (`generators.domain.synthesise`) make use of. Raises UnknownCode."""
        reached = self.reached(*entries)
        total = hashlib.sha256()
        for symbol in sorted(reached.symbols):
            total.update(".".join(symbol).encode() + self._definition(symbol).sha256)
        for name in sorted(reached.templates):
            total.update(self.template(name).encode())
        return total.hexdigest()[:16]

    def reached(self, *entries: str) -> Reached:
        """Everything that the entry points make use of, directly or through others. Raises UnknownCode."""
        waiting = [self._entry(entry) for entry in entries]
        symbols: set[Symbol] = set()
        templates: set[str] = set()
        while waiting:
            symbol = waiting.pop()
            if symbol not in symbols:
                symbols.add(symbol)
                waiting += self._used(symbol) - symbols
                templates |= self._asked(symbol)
        return Reached(frozenset(symbols), frozenset(templates | self._included(templates)))

    @cached_property
    def templates(self) -> frozenset[str]:
        return frozenset(file.stem for file in (self.root / PROMPTS).glob("*.j2"))

    def template(self, name: str) -> str:
        return (self.root / PROMPTS / f"{name}.j2").read_text("utf-8")

    def _entry(self, entry: str) -> Symbol:
        module, _, name = entry.rpartition(".")
        found = self._module(module)
        if found is None or name not in found.names:
            raise UnknownCode(f"{entry} is not in {self.root}. Correct MADE_BY of dagster_project.code_versions.")
        return module, name

    def _module(self, name: str) -> "_Module | None":
        """One of our modules; None for anything else."""
        if name not in self._modules:
            place = self.root.joinpath(*name.split("."))
            files = (place.with_suffix(".py"), place / "__init__.py")
            follow = name not in (SETTINGS, DISPLAY) and name.split(".")[0] in FOLLOWED
            file = next((each for each in files if follow and each.is_file()), None)
            self._modules[name] = _parsed(name, file.stem == "__init__", file.read_bytes()) if file else None
        return self._modules[name]

    def _definition(self, symbol: Symbol) -> "_Definition":
        module = self._module(symbol[0])
        assert module is not None
        return module.definition(symbol[1])

    def _used(self, symbol: Symbol) -> frozenset[Symbol]:
        """What a definition mentions, and what its module does when it is imported."""
        if symbol not in self._uses:
            module, definition = self._module(symbol[0]), self._definition(symbol)
            assert module is not None
            found = {used for name in definition.mentions for used in self._resolve(module, name, definition.imports)}
            effects = {(module.name, EFFECTS)} if EFFECTS in module.names else set()
            self._uses[symbol] = frozenset((found | effects) - {symbol})
        return self._uses[symbol]

    def _asked(self, symbol: Symbol) -> set[str]:
        """The prompts a definition asks: named where it makes a stage, or where it calls what makes one."""
        module, definition = self._module(symbol[0]), self._definition(symbol)
        assert module is not None
        asked: set[str] = set()
        for name, handed in definition.calls:
            if named := handed & self.templates:
                called = set(self._resolve(module, name, definition.imports))
                if STAGE in called or any(STAGE in self._used(each) for each in called):
                    asked |= named
        return asked

    def _included(self, names: set[str]) -> set[str]:
        """Templates that these include or extend."""
        told = (meta.find_referenced_templates(Environment().parse(self.template(name))) for name in names)
        new = {Path(each).stem for found in told for each in found if each} - names
        return new | self._included(names | new) if new else set()

    def _resolve(self, module: "_Module", name: str, imports: dict[str, str]) -> Iterator[Symbol]:
        """What a name, dotted or not, stands for in a module: a definition of ours, a whole module, or nothing."""
        first, _, rest = name.partition(".")
        if path := imports.get(first) or module.imports.get(first):
            yield from self._target(f"{path}.{rest}".rstrip("."))
        elif first in module.names:
            yield module.name, first

    def _target(self, path: str) -> Iterator[Symbol]:
        """The symbols that an absolute path means: as much of it as is a module, then a name in that module."""
        words = path.split(".")
        for length in range(len(words), 0, -1):
            module = self._module(".".join(words[:length]))
            if module is None:
                continue
            if length == len(words):  # a module handed on as a whole
                yield from ((module.name, name) for name in module.names)
            else:
                yield from self._resolve(module, words[length], {})
            return


class _Module:
    """The names that a module gives a meaning to, and what its imports call what."""

    def __init__(self, name: str, is_package: bool, text: bytes) -> None:
        self.name = name
        self._package = (name if is_package else name.rpartition(".")[0]).split(".")
        self._statements: dict[str, list[ast.stmt]] = {}
        self._definitions: dict[str, _Definition] = {}
        self.imports: dict[str, str] = {}
        for statement in ast.parse(text).body:
            if _is_for_types(statement) or isinstance(statement, ast.Import | ast.ImportFrom):
                for node in ast.walk(statement):
                    self.imports |= _imports(node, self._package)
            for defined in _defined(statement):
                self._statements.setdefault(defined, []).append(statement)

    @property
    def names(self) -> Iterable[str]:
        return self._statements.keys()

    def definition(self, name: str) -> "_Definition":
        if name not in self._definitions:
            self._definitions[name] = _read(self._statements[name], self._package)
        return self._definitions[name]


_parsed = cache(_Module)
"""A text that has been read once means the same in every folder."""


@dataclass(frozen=True)
class _Definition:
    """What one name of a module means."""

    mentions: frozenset[str]
    """Names in it, as far as their dots go."""
    imports: dict[str, str]
    """Of its own: local name → absolute path."""
    calls: tuple[tuple[str, frozenset[str]], ...]
    """Names that are called, with the strings they are handed as they are."""
    sha256: bytes
    """Of its text without comments and docstrings of functions."""


def _read(statements: Sequence[ast.stmt], package: Sequence[str]) -> _Definition:
    mentions: set[str] = set()
    imports: dict[str, str] = {}
    calls: list[tuple[str, frozenset[str]]] = []
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # The docstring of a class stays: pydantic puts it into the schema that a model answers to.
            node.body = node.body[_has_docstring(node) :] or [ast.Pass()]
        elif isinstance(node, ast.Call) and (name := _dotted(node.func)):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            handed = (each.value for each in values if isinstance(each, ast.Constant))
            calls.append((name, frozenset(each for each in handed if isinstance(each, str))))
        if name := _dotted(node):
            mentions.add(name)
        else:
            imports |= _imports(node, package)
            waiting += ast.iter_child_nodes(node)
    text = "\n".join(ast.unparse(statement) for statement in statements)
    return _Definition(frozenset(mentions), imports, tuple(calls), hashlib.sha256(text.encode()).digest())


def _has_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = function.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _dotted(node: ast.AST) -> str | None:
    """`a.b.c` of a name with attributes; None for anything else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(words)]) if isinstance(node, ast.Name) else None


def _imports(node: ast.AST, package: Sequence[str]) -> dict[str, str]:
    """Local names that an import gives, and the absolute paths they stand for."""
    if isinstance(node, ast.Import):
        heads = [each.name.partition(".")[0] for each in node.names if not each.asname]
        return {each.asname: each.name for each in node.names if each.asname} | dict(zip(heads, heads, strict=True))
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        source = ".".join([*above, *([node.module] if node.module else [])])
        return {each.asname or each.name: f"{source}.{each.name}" for each in node.names}
    return {}


def _defined(statement: ast.stmt) -> list[str]:
    """The names a top-level statement gives a meaning to; EFFECTS for one that does something else."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            return names or [EFFECTS]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):  # also the sentence under a constant
            return []
        case _:
            return [] if _is_for_types(statement) else [EFFECTS]


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and _dotted(statement.test) == "TYPE_CHECKING"
