"""`envloom query`: DuckDB's SQL on the warehouse, read-only. `docs/warehouse.md` has its tables and a cookbook."""

import csv
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.table import Table

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, json_text, stderr, terminal
from dagster_project.home import Home
from warehouse.confined import require_one_question
from warehouse.errors import NotOneQuestion, WarehouseError
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
    values: Annotated[list[str] | None, typer.Option("--set", help="A value for `$name`, as name=value.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Show at most so many; --csv and --json print all.")] = 100,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables and views to ask.")] = False,
    at: Annotated[
        int | None, typer.Option(help="A lake as it was at this snapshot; `envloom lake snapshots` lists them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the warehouse in SQL: tasks, rollouts, rewards, updates, lineage and views over them.

    One SELECT, which reads nothing but the warehouse and writes nothing at all.
    """
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
    question = (file.read_text(encoding="utf-8") if file else sql).strip()
    names, answer = _ask(warehouse, question or _NAMES, _parameters(values or ()))
    if as_json:
        echo_json([dict(zip(names, row, strict=True)) for row in answer])
    elif as_csv:
        _print_csv(names, answer)
    else:
        _print(names, answer, rows if question else len(answer))
        if not question:
            echo(_HOW)


def _parameters(settings: Sequence[str]) -> dict[str, Any]:
    """Values by name; a whole number is one."""
    pairs = [setting.partition("=") for setting in settings]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        stderr.print(f"--set {as_stored(wrong[0])}: write it as name=value.")
        raise typer.Exit(2)
    return {name: int(value) if value.lstrip("-").isdecimal() else value for name, _, value in pairs}


def _ask(warehouse: Warehouse, sql: str, parameters: Mapping[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names, each of them once, and rows. Ends the command with DuckDB's message if it refuses."""
    try:
        with warehouse.confined() as connection:
            require_one_question(connection, sql)
            answer = connection.execute(sql, parameters or None)
            return list(_unique([name for name, *_ in answer.description or ()])), answer.fetchall()
    except NotOneQuestion as error:
        raise fail(error, 2) from error
    except (duckdb.Error, WarehouseError) as error:
        stderr.print(as_stored(error), soft_wrap=True)
        raise typer.Exit(1) from error


def _unique(names: Sequence[str]) -> Iterator[str]:
    """The names; a second `n` becomes `n_1`, as in a table that DuckDB makes of it, so that no column is lost."""
    taken = set(names)
    seen: set[str] = set()
    for name in names:
        candidate, number = name, 0
        while candidate in seen or (number and candidate in taken):
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        yield candidate


def _open_shell(warehouse: Warehouse, path: Path) -> None:
    """Become DuckDB's own shell, on the file as it is now; does not return where the shell is installed."""
    _ask(warehouse, "SELECT 1", {})  # makes or migrates the file
    shell = Path(sys.executable).with_name("duckdb")
    if not shell.exists():
        stderr.print("DuckDB's shell is not installed: pip install duckdb-cli.")
        return
    stderr.print(f"{as_stored(path)}, read-only. `.tables` lists the tables; Ctrl-D leaves.")
    os.execv(shell, [str(shell), "-safe", "-readonly", str(path)])


def _print_csv(names: Sequence[str], answer: Sequence[Sequence[Any]]) -> None:
    """All rows with every digit, lines that end in a line feed; NULL is an empty cell."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([_cell(value) for value in row] for row in answer)


def _print(names: Sequence[str], answer: Sequence[Sequence[Any]], most: int) -> None:
    table = Table()
    for column, name in enumerate(names):
        numeric = any(isinstance(row[column], int | float | Decimal) for row in answer[:1])
        table.add_column(as_stored(name), justify="right" if numeric else "left", overflow="fold")
    for row in answer[:most]:
        table.add_row(*(as_stored(_rounded(value)) for value in row))
    terminal().print(table)
    if len(answer) > most:
        stderr.print(f"{len(answer) - most} more rows: --rows, --csv or --json shows them.")


def _rounded(value: Any) -> str:
    """A value for people: floats to six digits."""
    return f"{value:.6g}" if isinstance(value, float) else _cell(value)


def _cell(value: Any) -> str:
    """A value for one cell: text as it is, everything else as in JSON without its quotes."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) else json_text(value).strip('"')
