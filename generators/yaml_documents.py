"""YAML that people write: domain pages and campaigns, read in one way, with errors that name line and column.

Scalars follow YAML 1.2: `no`, `on`, `1:30` and `2026-02-29` are text, and the field that takes one decides what it
means. Keys are text as written. Size, depth and expanded aliases are bounded before anything is built from them.
What a field may hold is checked in `generators.fields`.
"""

import codecs
import re
from collections.abc import Hashable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

MAX_BYTES = 256 * 1024
MAX_DEPTH = 40
MAX_NODES = 20_000
"""Values of a file, with every alias counted as all that it stands for."""
_REMEDY = "Quote texts that contain a colon, and indent with spaces."
_TAG = "tag:yaml.org,2002:"


class YamlUnreadable(ValueError):
    """A file cannot be read as YAML: what, at which line and column, remedy. The message quotes no value of it."""


def read_yaml(file: Path) -> Any:
    """The one document of a file; None for an empty one. Raises YamlUnreadable, without the name of the file."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise YamlUnreadable(f"cannot be read: {error.strerror}. Check the file and its permissions.") from error
    if len(content) > MAX_BYTES:
        raise YamlUnreadable(f"is larger than {MAX_BYTES // 1024} KiB. Shorten it.")
    text = _decoded(content)
    if control := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise YamlUnreadable(f"is not YAML: line {line}: a control character. Remove it.")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _unreadable(mark, _problem(error)) from None  # whose message quotes lines of the file
    except (ValueError, OverflowError) as error:  # of an escape such as "\UFFFFFFFF"
        raise _unreadable(loader.get_mark(), "an escape that is no character") from error
    finally:
        loader.dispose()


def misnamed(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder that are called almost as the pattern, such as `.yml` for `.yaml`: they would not be read."""
    if not folder.is_dir():
        return []
    variants = (pattern, str(Path(pattern).with_suffix(".yml")))
    return sorted(
        file
        for file in folder.iterdir()
        if not file.name.startswith(".")
        and not fnmatchcase(file.name, pattern)
        and any(fnmatchcase(file.name.lower(), variant) for variant in variants)
        and not file.is_dir()
    )


def yaml_text(content: Any) -> str:
    """The content as YAML that `read_yaml`, and any reader of YAML 1.1, gives back as it was."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _decoded(content: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its byte order mark. Raises YamlUnreadable."""
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        shown = encoding.removesuffix("-sig").upper()
        raise YamlUnreadable(f"is not YAML: byte {error.start} is not {shown}. Save the file as UTF-8.") from error


def _unreadable(mark: Any, problem: str) -> YamlUnreadable:
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    remedy = problem if problem.endswith(".") else f"{problem}. {_REMEDY}"
    return YamlUnreadable(f"is not YAML: {position}{remedy}")


def _problem(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's description, without the names and tags that it quotes from the file."""
    problem = error.problem or error.context or "unreadable"
    if problem.startswith("but "):
        problem = f"{error.context}, {problem}"
    return problem if isinstance(error, _Refused) else re.sub(r"'(?!<)[^']{2,}'", "…", problem)[:120]


class _Refused(yaml.MarkedYAMLError):
    """YAML that other readers may take, refused with a remedy of its own."""

    def __init__(self, node: Any, problem: str) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars, and merge keys. A key that is there twice would make the first one vanish in silence."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  filled below

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._sizes: dict[yaml.Node, int] = {}
        """Nodes of each finished node, itself and expanded aliases included."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, super().compose_node(parent, index))
        self._refuse_tag(event)
        self._count(event, 1)
        before, self._depth = self._nodes, self._depth + 1
        if self._depth > MAX_DEPTH:
            raise _Refused(event, f"nested deeper than {MAX_DEPTH} levels. Write it flatter.")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None:
            self._sizes[node] = self._nodes - before + 1
        return node

    def _aliased(self, event: Any, node: yaml.Node | None) -> yaml.Node | None:
        if node is None or node not in self._sizes:
            raise _Refused(event, "an alias inside of what it stands for. Write the value out.")
        self._count(event, self._sizes[node])
        return node

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Refused(event, f"more than {MAX_NODES} values, aliases expanded. Shorten it.")

    def _refuse_tag(self, event: Any) -> None:
        plain = {yaml.ScalarEvent: "str", yaml.SequenceStartEvent: "seq", yaml.MappingStartEvent: "map"}
        if event.tag not in (None, "!", _TAG + plain[type(event)]):
            raise _Refused(event, "a type tag (after `!`) is not read here. Leave it out, and quote a text.")

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused(key, "a key must be a name, not a list or a mapping. Quote it if it is text.")
            if key.value in keys:
                remedy = "Merge a list, `<<: [*a, *b]`." if key.value == "<<" else "Remove one."
                raise _Refused(key, f"'{key.value[:40]}' is there twice. {remedy}")
            keys.add(key.value)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        return {self.construct_text(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_text(self, node: Any) -> str:
        # JSON writes a character beyond 16 bits as two escapes.
        text = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if Reader.NON_PRINTABLE.search(text) or ("\ufffd" in text and "\ufffd" not in node.value):
            raise _Refused(node, "a text with a control character or half of a character. Remove it.")
        return str(text)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either version of YAML would take for something else."""


def _constructed(_loader: _Loader, node: Any) -> Any:
    """The value of a plain scalar that its resolver took for no text."""
    word = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return word.lower() == "true"
    return int(word) if kind == "int" else float(word.lower().replace(".inf", "inf").replace(".nan", "nan"))


_INTEGER = "[-+]?(0|[1-9][0-9]{0,99})"
_DIGITS, _EXPONENT = "(0|[1-9][0-9]*)", "[eE][-+]?[0-9]+"
_REAL = rf"[-+]?(({_DIGITS}\.[0-9]*|\.[0-9]+)({_EXPONENT})?|{_DIGITS}{_EXPONENT}|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
for _kind, _words, _first in (
    ("null", "null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", _REAL, list("-+.0123456789")),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(f"({_words})\\Z"), _first)
    _Loader.add_constructor(_TAG + _kind, _constructed)
_Loader.add_implicit_resolver(_TAG + "merge", re.compile("<<\\Z"), ["<"])
_Loader.add_constructor(_TAG + "merge", _Loader.construct_text)
_Loader.add_constructor(_TAG + "str", _Loader.construct_text)
