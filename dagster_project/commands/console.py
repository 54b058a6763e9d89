"""What all commands share: the `--json` option, the console for progress, and how an error ends a command."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
stderr = Console(stderr=True)


def fail(error: Exception, code: int = 1) -> typer.Exit:
    """Say what went wrong in one message, and end with `code`: 1 found wrong, 2 wrong use."""
    stderr.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}", soft_wrap=True, highlight=False)
    return typer.Exit(code)
