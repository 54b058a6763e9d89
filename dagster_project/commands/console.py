"""What all commands share: consoles, the two forms of a result (text and JSON), and how an error ends a command.

Stored text is shown as it is stored: nothing in it is markup, an emoji's name or a command to the terminal.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, color, delete or turn around what a terminal shows; line feed and tab stay."""


def terminal(*, to_stderr: bool = False, width: int | None = None) -> Console:
    """A console that replaces no `:name:` by an emoji and colors no number."""
    return Console(stderr=to_stderr, width=width, emoji=False, highlight=False)


stderr = terminal(to_stderr=True)


def visible(text: str) -> str:
    """The text with characters that command a terminal written as escapes, such as `\\x1b`."""
    return _COMMANDS.sub(lambda command: command[0].encode("unicode_escape").decode(), text)


def as_stored(text: object) -> str:
    """The text for a console that reads markup: brackets stay brackets, commands to the terminal are seen."""
    return escape(visible(str(text)))


def echo(text: str) -> None:
    """Print text to stdout, commands to the terminal as escapes."""
    typer.echo(visible(text))


def echo_json(value: Any) -> None:
    """Print a value to stdout as JSON."""
    typer.echo(json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON by RFC 8259: every digit of a decimal, null for what is no number, ISO 8601 for moments.

    Bytes are hexadecimal digits; keys and everything else that JSON has no form for are text.
    """
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "null"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else "null"
    if isinstance(value, Mapping):
        members = (f"{json.dumps(str(key))}: {json_text(member)}" for key, member in value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(map(json_text, value))}]"
    if value is None or isinstance(value, bool | int | str):
        return json.dumps(value)
    return json.dumps(_text(value))


def _text(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def fail(error: Exception, code: int = 1) -> typer.Exit:
    """Say what went wrong in one message, and end with `code`: 1 found wrong, 2 wrong use."""
    stderr.print(f"[red]{type(error).__name__}[/red]: {as_stored(error)}", soft_wrap=True)
    return typer.Exit(code)
