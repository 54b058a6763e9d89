"""The text of a program, read before it ever runs: what it names, what it imports, where it refuses, how it answers.

This is for those who write programs: a mistake is found at load, with its line and a remedy. It is not what contains
a program; a text that slips through here meets the limits of `envs.python_tools` and `envs.confinement`.
"""

import ast
import io
import keyword
import re
import symtable
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from envs.spec import Parameter, Program

MAX_CODE = 20_000
READING = ("db_query",)
WRITING = ("db_query", "db_exec", "new_id")
MODULES = ("bisect", "collections", "datetime", "decimal", "functools", "itertools", "json", "math", "re", "typing")
_BUILTIN_NAMES = """
abs all any bool chr dict divmod enumerate filter float frozenset int isinstance iter len list map max min next ord pow
range repr reversed round set slice sorted str sum tuple type zip
ArithmeticError AssertionError AttributeError Exception IndexError KeyError LookupError NotImplementedError
OverflowError RuntimeError StopIteration TypeError ValueError ZeroDivisionError
"""
BUILTINS = frozenset(_BUILTIN_NAMES.split())
ENTRY = "__program__"
GIVEN = ("today", "now")
"""Variables every program has besides its parameters."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


class ProgramRefused(Exception):
    """A program that cannot become a tool: what is wrong, with its line, and the remedy."""

    def __init__(self, what: str, remedy: str, line: int | None = None) -> None:
        super().__init__(what)
        self.what = f"line {line}: {what}" if line is not None else what
        self.remedy = remedy


@dataclass(frozen=True)
class Literal:
    """SQL that stands in the program as a plain string."""

    sql: str
    line: int
    may_write: bool
    bound: frozenset[str] | None
    """The names it binds, where those are plain too."""


@dataclass(frozen=True)
class ProgramText:
    """A program as one function, its lines kept: line n of the program is line n + 1 here."""

    function: str
    lines: int
    """How many `function` has."""
    refusals: frozenset[tuple[int, int]]
    """Line and column in `function`, from 1, of what each `raise` statement raises."""
    names: frozenset[str]
    """Every name the program reads."""
    literals: tuple[Literal, ...]


def read_program(program: Program, parameters: tuple[Parameter, ...]) -> ProgramText:
    """Check a program's text and wrap it into a function of its parameters. Raises ProgramRefused."""
    for parameter in parameters:
        if keyword.iskeyword(parameter.name):
            raise ProgramRefused(f"the parameter {parameter.name} is a word of Python", "Choose another name for it")
    code = program.code.replace("\r\n", "\n")
    tree = _parse(code)
    nodes = list(ast.walk(tree))
    function = _as_function(code, tree, parameters)
    _check_words(nodes)
    _check_names(function, WRITING if program.writes else READING, program)
    return ProgramText(
        function=function,
        lines=function.count("\n"),
        refusals=frozenset(_refusals(function)),
        names=frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)),
        literals=tuple(_literals(nodes)),
    )


def _parse(code: str) -> ast.Module:
    if len(code) > MAX_CODE:
        raise ProgramRefused(f"{len(code)} characters of code", f"Keep it under {MAX_CODE}")
    if control := _CONTROL.search(code):
        raise ProgramRefused(f"the control character {control.group()!r}", "Use line feeds, spaces and visible text")
    try:
        return ast.parse(code)
    except SyntaxError as error:
        raise ProgramRefused(f"syntax: {error.msg}", "Correct the Python", error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProgramRefused("Python cannot read it", "Write it with less nesting, in plain UTF-8") from error


def _as_function(code: str, tree: ast.Module, parameters: tuple[Parameter, ...]) -> str:
    """The program indented into a function; lines inside strings stay as they are, a last value is returned."""
    lines = code.split("\n")
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        line = lines[last.lineno - 1].encode()
        lines[last.lineno - 1] = (line[: last.col_offset] + b"return " + line[last.col_offset :]).decode()
    inside: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            inside.update(range(token.start[0] + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError) as error:
        raise ProgramRefused("Python cannot read it", "Correct the Python") from error
    body = "\n".join(line if number in inside else f"    {line}" for number, line in enumerate(lines, start=1))
    declared = [f"{parameter.name}: {_TYPES[parameter.type]}" for parameter in parameters]
    return f"def {ENTRY}({', '.join([*declared, *(f'{name}: str' for name in GIVEN)])}):\n{body}\n    pass\n"


def _check_words(nodes: list[ast.AST]) -> None:
    for node in nodes:
        line = getattr(node, "lineno", None)
        if isinstance(node, ast.Import | ast.ImportFrom):
            _check_import(node)
        elif isinstance(node, ast.Global):
            raise ProgramRefused("the statement global", "A program is one function: use its variables", line)
        elif isinstance(node, ast.Yield | ast.YieldFrom | ast.Await | ast.AsyncFor | ast.AsyncWith):
            raise ProgramRefused("yield or await, which the sandbox does not have", "Build a list instead", line)
        name = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", None)
        if isinstance(name, str) and name.startswith("__"):
            raise ProgramRefused(f"the name {name}, which is Python's own", "Use the values, not their insides", line)


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
    for name in names:
        if name not in MODULES or (isinstance(node, ast.ImportFrom) and node.level):
            raise ProgramRefused(
                f"imports {name}, which is not allowed", f"There are {', '.join(MODULES)}", node.lineno
            )


def _check_names(function: str, host: tuple[str, ...], program: Program) -> None:
    try:
        table = symtable.symtable(function, "program", "exec")
    except (SyntaxError, RecursionError, MemoryError) as error:
        what = getattr(error, "msg", None) or "nested too deeply"
        line = getattr(error, "lineno", None)
        raise ProgramRefused(f"syntax: {what}", "Correct the Python", line - 1 if line else None) from error
    read: set[str] = set()
    waiting = list(table.get_children())
    while waiting:
        scope = waiting.pop()
        waiting += scope.get_children()
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            if name in WRITING and not symbol.is_global():
                raise ProgramRefused(f"gives {name} another meaning", "Choose another name for it")
            if symbol.is_global() and symbol.is_referenced():
                read.add(name)
    if not program.writes and read & {"db_exec", "new_id"}:
        what = f"calls {min(read & {'db_exec', 'new_id'})} in a program that only reads"
        raise ProgramRefused(what, "Set `writes`, or use db_query")
    if program.writes and "db_exec" not in read:
        raise ProgramRefused("`writes` is set and db_exec is never called", "Remove `writes`, or write something")
    unknown = read - BUILTINS - set(host)
    if unknown:
        known = f"the parameters, {', '.join((*GIVEN, *host))} and Python's basic functions"
        raise ProgramRefused(f"uses {min(unknown)}, which is not declared", f"There are {known}")


def _refusals(function: str) -> Iterator[tuple[int, int]]:
    lines = function.split("\n")
    for node in ast.walk(ast.parse(function)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            before = lines[node.exc.lineno - 1].encode()[: node.exc.col_offset].decode()
            yield node.exc.lineno, len(before) + 1


def _literals(nodes: list[ast.AST]) -> Iterator[Literal]:
    for node in nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id not in ("db_query", "db_exec") or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        if isinstance(sql := node.args[0].value, str):
            yield Literal(sql, node.lineno, node.func.id == "db_exec", _bound(node))


def _bound(call: ast.Call) -> frozenset[str] | None:
    given = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "params"), None)
    if given is None:
        return frozenset() if not call.keywords else None
    keys = given.keys if isinstance(given, ast.Dict) else [None]
    if not all(isinstance(key, ast.Constant) for key in keys):
        return None
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))
