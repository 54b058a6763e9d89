"""Which texts are JSON that any two programs read alike."""

import pytest

from envs.strict_json import NotJson, parse_json


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "9007199254740992",
        "-9007199254740992",
        "[1] 2",
        "",
        '{"a": 1, "a": 1}',
        '"\\ud800"',
        '{"\\ud800": 1}',
        "[" * 40 + "]" * 40,
        "[" * 30_000 + "]" * 30_000,
        "1" * 5_000,
        '"' + "x" * 70_000 + '"',
        None,
        b"1",
        ["1"],
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(text: object) -> None:
    with pytest.raises(NotJson):
        parse_json(text)


@pytest.mark.parametrize("text", ["null", "true", "9007199254740991", "-1.5", '"é\\u00e9"', "[" * 30 + "]" * 30])
def test_strict_json_is_read(text: str) -> None:
    parse_json(text)
