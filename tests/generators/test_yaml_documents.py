"""YAML is read as it is written; what cannot be read is reported with line and column, never as a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from generators.yaml_documents import MAX_BYTES, YamlUnreadable, read_yaml, yaml_text

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED_LAUGHS = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(folder: Path, content: str | bytes) -> Any:
    file = folder / "page.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(file)


@pytest.mark.parametrize(
    "text",
    [
        "sizes:\n  <<: {rows: 50, tasks: 80}\n  tools: 18\n",
        "base: &base {rows: 50, tools: 18}\nsizes:\n  rows: 60\n  <<: *base\n",
        "a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc: {<<: [*a, *b], z: 4}\nd: {<<: *a}\n",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\nd: *b\n",
        "a: &text word\nb: *text\nc: [*text, {d: *text}]\n",
        "? a\n: 1\n",
        "text: >\n  several\n  lines\nother: |\n  kept\n  lines\n",
        '"quoted": \'single\'\n"a\\tb": "\\u00e9"\n',
        "empty:\nnothing: ~\nyes_or_no: [true, False]\nnumbers: [0, -3, +4, 1.5, -2.5e-3, 1.0e+4, .inf]\n",
        "plain: !!str word\nlist: !!seq [1]\nmap: !!map {a: 1}\n",
        "--- {a: 1}\n...\n",
        "# nothing\n",
    ],
)
def test_what_every_reader_reads_alike_is_read_as_they_do(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "word",
    ["no", "yes", "on", "off", "Y", "2026-01-01", "2026-02-30", "2026-03-02T09:00:00Z", "1:30", "010", "0x1F", "0o17",
     "1_000", "99:99:99", "=", "1.2.3", "1e", "e5", "-", "NaN", "9" * 5000],
)  # fmt: skip
def test_a_word_that_looks_like_something_else_stays_as_it_is_written(tmp_path: Path, word: str) -> None:
    if word != "-":
        assert read(tmp_path, f"country: {word}\n") == {"country": word}
    assert read(tmp_path, f"countries: ['{word}']\n") == {"countries": [word]}


@pytest.mark.parametrize("key", ["no", "on", "null", "~", "1", "1.5", "true", "2026-02-30"])
def test_keys_are_text_as_written(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, f"{key}: x\n") == {key: "x"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_have_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "title: Fähre 🚢\n".encode(encoding)) == {"title": "Fähre 🚢"}


@pytest.mark.parametrize(
    "word", ["1e10", "no", "010", "1_000", "2026-02-30", "null", "", "<<", "+.5", "a: b", "é", "1", "=", "!x"]
)
def test_what_is_written_is_read_back_by_us_and_by_others(tmp_path: Path, word: str) -> None:
    content = {"revision": word, word: 1, "rates": [1e-05, 1e22, -0.5, 2**53 - 1], "empty": None, "on": [True, False]}
    assert read(tmp_path, yaml_text(content)) == content == yaml.safe_load(yaml_text(content))


def test_json_is_yaml(tmp_path: Path) -> None:
    page = {"title": "Fähre 🚢", "sizes": {"rows": 40}, "rules": ["a: b", "no"], "rate": 1e-05}
    assert read(tmp_path, json.dumps(page)) == page


@pytest.mark.parametrize(
    ("content", "where", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1", "'a' is there twice"),
        ("x: {a: 1, a: 2}\n", "line 1, column 11", "'a' is there twice"),
        ("1: a\n'1': b\n", "line 2, column 1", "'1' is there twice"),
        ("a: {<<: {x: 1}, <<: {y: 2}}\n", "line 1", "Merge a list"),
        ("a: {<<: 5}\n", "line 1", "for merging"),
        ("rules: !!map none\n", "line 1, column 8", "type tag"),
        ("rules: !!set {a, b}\n", "line 1", "type tag"),
        ("rules: !!binary aGk=\n", "line 1", "type tag"),
        ("clock: !!timestamp wrong\n", "line 1", "type tag"),
        ("a: !!int five\n", "line 1", "type tag"),
        ("a: !!python/object/apply:os.system ['true']\n", "line 1", "type tag"),
        ("a: !mine x\n", "line 1", "type tag"),
        ("? [a]\n: 1\n", "line 1", "a key must be a name"),
        ("? {a: 1}\n: 1\n", "line 1", "a key must be a name"),
        ("a: &a [*a]\n", "line 1", "an alias inside of what it stands for"),
        ("a: &a {b: *a}\n", "line 1", "an alias inside of what it stands for"),
        ("a: *nothing\n", "line 1", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "line 2", "single document"),
        ("a:\n\tb: 1\n", "line 2", "indent with spaces"),
        ("a: b: c\n", "line 1", "Quote texts that contain a colon"),
        ("a: [\n", "line 2", "is not YAML"),
        ("a: 'b\n", "line 2", "is not YAML"),
        ("a: \x00\n", "line 1", "control character"),
        ('a: "\\0"\n', "line 1", "control character"),
        ('a: "\\ud800"\n', "line 1", "half of a character"),
        ('a: "\\UFFFFFFFF"\n', "line 1", "no character"),
        (b"a: caf\xe9\n", "byte 6", "Save the file as UTF-8"),
        (b"\xff\xfea\x00:\x00 ", "byte", "not UTF-16"),
        ("[" * 50_000, "line 1", "nested deeper"),
        ("{a: " * 50_000, "line 1", "nested deeper"),
        ("- " * 50_000, "line 1", "nested deeper"),
        (LAUGHS, "line", "aliases expanded"),
        (MERGED_LAUGHS, "line", "aliases expanded"),
        ("a: " + "x" * MAX_BYTES, "", "larger than"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_position(
    tmp_path: Path, content: str | bytes, where: str, problem: str
) -> None:
    with pytest.raises(YamlUnreadable) as error:
        read(tmp_path, content)
    assert where in str(error.value)
    assert problem in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(YamlUnreadable, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
