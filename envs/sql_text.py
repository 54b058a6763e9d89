"""What is read off the text of SQL, where preparing a statement does not tell: its order, and what it assigns."""

import re

from envs.spec import EnvironmentSpec

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
"""Literals, quoted names and comments."""
_PARENTHESISED = re.compile(r"\([^()]*\)")
_INSERT = re.compile(
    r'\s*INSERT\s+(?:OR\s+\w+\s+)?INTO\s+"?(?P<table>\w+)"?\s*(?:\((?P<columns>[^)]*)\))?\s*'
    r"VALUES\s*\((?P<values>.*)\)[^)]*$",
    re.IGNORECASE | re.DOTALL,
)
_UPDATE = re.compile(
    r'\s*UPDATE\s+(?:OR\s+\w+\s+)?"?(?P<table>\w+)"?\s+SET\s+(?P<sets>.*?)(?:\bWHERE\b.*)?$', re.IGNORECASE | re.DOTALL
)
_NAME_ONLY = re.compile(r":(\w+)")


def is_ordered(sql: str) -> bool:
    """Whether the outermost SELECT has ORDER BY."""
    return re.search(r"\border\s+by\b", outermost(sql), re.IGNORECASE) is not None


def assigned_parameters(effect: str, spec: EnvironmentSpec) -> list[tuple[str, str, str]]:
    """(table, column, parameter) for every column that an INSERT or UPDATE sets to a bound name and nothing else."""
    tables = {table.name: ["id", *(column.name for column in table.columns)] for table in spec.tables}
    pairs: list[tuple[str, str]] = []
    if insert := _INSERT.match(effect):
        table = insert["table"]
        names = [_bare(name) for name in insert["columns"].split(",")] if insert["columns"] else tables.get(table, [])
        pairs = list(zip(names, _split(insert["values"]), strict=False))
    elif update := _UPDATE.match(effect):
        table = update["table"]
        parts = (part.partition("=") for part in _split(update["sets"]))
        pairs = [(_bare(name), value) for name, _, value in parts]
    found = [(name, _NAME_ONLY.fullmatch(value.strip())) for name, value in pairs]
    return [(table, name, match[1]) for name, match in found if match and name in tables.get(table, [])]


def outermost(sql: str) -> str:
    """The SQL with spaces in place of literals, quoted names, comments and everything in parentheses."""
    text = _QUOTED.sub(_spaces, sql)
    while _PARENTHESISED.search(text):
        text = _PARENTHESISED.sub(_spaces, text)
    return text


def _spaces(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _split(text: str) -> list[str]:
    """At the commas that stand in no parentheses and no string."""
    ends = [*(at for at, char in enumerate(outermost(text)) if char == ","), len(text)]
    return [text[start + 1 : end] for start, end in zip([-1, *ends], ends, strict=False)]


def _bare(name: str) -> str:
    return name.strip().strip('"')
