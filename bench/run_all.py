"""Runs every benchmark of this folder and writes `docs/benchmarks.md` from the figures they print."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
LIBRARY = ("run_all.py", "desk.py", "documents.py", "figures.py", "retail.py", "scripted.py")  # no benchmarks


def figures(script: Path, arguments: list[str]) -> list[dict[str, object]]:
    """Run one benchmark, show what it prints, return its figures."""
    run = subprocess.run([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    print(run.stdout)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def about(script: Path) -> str:
    """What a benchmark says of itself, without how to run it."""
    said = ast.get_docstring(ast.parse(script.read_text())) or ""
    return said.partition("Run: ")[0].strip()


def main() -> None:
    """`python bench/run_all.py [--quick]`."""
    lines = [
        "# Benchmarks",
        "",
        f"{os.cpu_count()} processor cores; load average {os.getloadavg()[0]:.1f} at the start.",
        "",
    ]
    for script in sorted(HERE.glob("*.py")):
        if script.name in LIBRARY:
            continue
        lines += [f"## {script.stem}", "", about(script), "", "| figure | value | target | met |", "|---|---|---|---|"]
        measured = figures(script, sys.argv[1:])
        if not measured:
            lines.append("| left out: it needs what this machine lacks | | | |")
        for found in measured:
            lines.append(
                f"| {found['figure']} | {found['value']} {found['unit']} | {found['target']} | {found['met']} |"
            )
        lines.append("")
    PAGE.write_text("\n".join(lines))
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
