"""`envloom query`: DuckDB's SQL on the warehouse, read-only. `docs/warehouse.md` has its tables and a cookbook."""

import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dagster_project.commands.console import AsJson, stderr
from dagster_project.home import Home
from warehouse.errors import WarehouseError
from warehouse.warehouse import Warehouse

_NAMES = """
SELECT table_name AS name, if(table_type = 'VIEW', 'view', 'table') AS kind,
  string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.tables JOIN information_schema.columns USING (table_catalog, table_schema, table_name)
WHERE table_catalog = current_database() AND table_name <> 'meta'
  AND NOT (table_type = 'VIEW' AND regexp_matches(table_name, '^(batch|current)_'))
GROUP BY ALL ORDER BY kind, name
"""
_HOW = """\
Ask with: envloom query "SELECT …"; --file takes the SQL from a file, --json and --csv give the answer to programs.
For every table t of records, batch_t has its rows by batch and current_t those of the newest batches.
docs/warehouse.md describes the tables and answers common questions.\
"""


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT. Without: DuckDB's shell, or what is piped in.")] = "",
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Take the SQL from this file.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="A value for `$name`, as name=value.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Show at most so many; --csv and --json print all.")] = 100,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables and views to ask.")] = False,
    at: Annotated[
        int | None, typer.Option(help="A lake as it was at this snapshot; `envloom lake snapshots` lists them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the warehouse in SQL, read-only: tasks, rollouts, rewards, updates, lineage and views over them."""
    if sql and file:
        stderr.print("Give the SQL as an argument or with --file, not both.")
        raise typer.Exit(2)
    home = Home.here()
    if at is not None and home.lake is None:
        stderr.print("--at: the warehouse is a file, which has no snapshots; a lake has (docs/lake.md).")
        raise typer.Exit(2)
    place = home.warehouse if at is None or home.lake is None else home.lake.at(at)
    warehouse = Warehouse(place, home.parts)
    if not (sql or file or tables):
        if sys.stdin.isatty() and isinstance(home.warehouse, Path):
            _open_shell(warehouse, home.warehouse)
        sql = "" if sys.stdin.isatty() else sys.stdin.read()
    asked = (file.read_text() if file else sql).strip()
    names, found = _ask(warehouse, asked or _NAMES, _values(given or ()))
    if as_json:
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in found], default=_plain))
    elif as_csv:
        written = csv.writer(sys.stdout)
        written.writerow(names)
        written.writerows([_shown(value) for value in row] for row in found)
    else:
        _print(names, found, rows if asked else len(found))
        if not asked:
            typer.echo(_HOW)


def _values(given: Sequence[str]) -> dict[str, Any]:
    """Values by name; a whole number is one."""
    pairs = [each.partition("=") for each in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        stderr.print(f"--set {wrong[0]}: write it as name=value.")
        raise typer.Exit(2)
    return {name: int(value) if value.lstrip("-").isdigit() else value for name, _, value in pairs}


def _ask(warehouse: Warehouse, sql: str, values: Mapping[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows. Ends the command with DuckDB's message if it refuses."""
    try:
        with warehouse.reading() as connection:
            answer = connection.execute(sql, values or None)
            return [name for name, *_ in answer.description or ()], answer.fetchall()
    except (duckdb.Error, WarehouseError) as error:
        stderr.print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def _open_shell(warehouse: Warehouse, path: Path) -> None:
    """Become DuckDB's own shell, on the file as it is now; does not return where the shell is installed."""
    _ask(warehouse, "SELECT 1", {})  # makes or migrates the file
    shell = Path(sys.executable).with_name("duckdb")
    if not shell.exists():
        stderr.print("DuckDB's shell is not installed: pip install duckdb-cli.")
        return
    stderr.print(f"{path}, read-only. `.tables` lists what there is; writers wait until you leave with Ctrl-D.")
    os.execv(shell, [str(shell), "-readonly", str(path)])


def _print(names: Sequence[str], found: Sequence[Sequence[Any]], most: int) -> None:
    table = Table()
    for place, name in enumerate(names):
        numeric = any(isinstance(row[place], int | float | Decimal) for row in found[:1])
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in found[:most]:
        table.add_row(*(escape(_shown(value)) for value in row))
    Console().print(table)
    if len(found) > most:
        stderr.print(f"{len(found) - most} more rows: --rows, --csv or --json shows them.")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, default=_plain) if isinstance(value, list | dict) else str(value)


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else str(value)
