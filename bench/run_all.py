"""Runs every benchmark of this folder, or those that are named, and writes their figures into `docs/benchmarks.md`.

What is not run keeps its section. Run: `python bench/run_all.py [NAME …] [--quick]`.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
LIBRARY = ("run_all.py", "desk.py", "documents.py", "figures.py", "retail.py", "scripted.py")  # no benchmarks
ALL = {script.stem: script for script in sorted(HERE.glob("*.py")) if script.name not in LIBRARY}
HEAD = "# Benchmarks\n\nEach as it was last run; `make bench` runs them all.\n\n"


def figures(script: Path, arguments: list[str]) -> list[dict[str, object]]:
    """Run one benchmark, show what it prints, return its figures."""
    run = subprocess.run([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    print(run.stdout)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def about(script: Path) -> str:
    """What a benchmark says of itself, without how to run it."""
    said = ast.get_docstring(ast.parse(script.read_text())) or ""
    return said.partition("Run: ")[0].strip()


def section(script: Path, arguments: list[str]) -> str:
    """A benchmark, run now, as it stands in the page."""
    machine = f"{os.cpu_count()} processor cores, load average {os.getloadavg()[0]:.1f} at its start."
    measured = figures(script, arguments)
    told = "".join(
        f"| {one['figure']} | {one['value']} {one['unit']} | {one['target']} | {one['met']} |\n" for one in measured
    )
    missing = "| left out: it needs what this machine lacks | | | |\n"
    table = f"| figure | value | target | met |\n|---|---|---|---|\n{told or missing}"
    return f"## {script.stem}\n\n{about(script)}\n\n{machine}\n\n{table}\n"


def sections(page: str) -> dict[str, str]:
    """The sections of a page by name."""
    parts = re.split(r"^## (\w+)\n", page, flags=re.MULTILINE)[1:]
    return {name: f"## {name}\n{text}" for name, text in zip(parts[::2], parts[1::2], strict=True)}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all if none is named.")] = None,
    quick: Annotated[bool, typer.Option(help="Passed on: small sizes, to see that they run.")] = False,
) -> None:
    """Run benchmarks and write their figures."""
    if unknown := set(names or ()) - set(ALL):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: no benchmark; there are {', '.join(ALL)}")
    for name in names or ALL:
        made = section(ALL[name], ["--quick"] if quick else [])
        written = sections(PAGE.read_text()) | {name: made}
        PAGE.write_text(HEAD + "".join(written[each].rstrip() + "\n\n" for each in sorted(written) if each in ALL))
    print(f"written to {PAGE}")


if __name__ == "__main__":
    typer.run(main)
