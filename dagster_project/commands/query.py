"""`envloom query`: DuckDB's SQL on the warehouse, read-only. `docs/warehouse.md` has its tables and a cookbook."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
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
_WHOLE = re.compile(r"-?[0-9]{1,300}")
_INEXACT = re.compile(r"(?<![\"'\w])(INTERVAL|TIMESTAMP_NS|TIME_NS)(?![\"'\w])")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE")


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
    if (sql and file) or (as_csv and as_json):
        both = "the SQL as an argument or with --file" if sql and file else "--csv or --json"
        stderr.print(f"Give {both}, not both.")
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
        sql = "" if sys.stdin.isatty() else _decoded("stdin", sys.stdin.buffer.read())
    question = _decoded(str(file), file.read_bytes()) if file else _decoded("the SQL", os.fsencode(sql))
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
    return {name: int(value) if _WHOLE.fullmatch(value) else value for name, _, value in pairs}


def _decoded(source: str, sql: bytes) -> str:
    try:
        return sql.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        stderr.print(as_stored(f"{source}: byte {error.start} is not UTF-8. Write the SQL as UTF-8."), soft_wrap=True)
        raise typer.Exit(2) from error


def _ask(warehouse: Warehouse, sql: str, parameters: Mapping[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names, each of them once, and rows. Ends the command with DuckDB's message if it refuses."""
    try:
        with warehouse.confined() as connection:
            require_one_question(connection, sql)
            answer = connection.execute(sql, parameters or None)
            columns = answer.description or []
            rows = answer.fetchall()
            if exact := _exactly(sql, [str(kind) for _, kind, *_ in columns], rows):
                rows = connection.execute(exact, parameters or None).fetchall()
            return list(_unique([name for name, *_ in columns])), rows
    except NotOneQuestion as error:
        raise fail(error, 2) from error
    except (duckdb.Error, WarehouseError) as error:
        stderr.print(as_stored(error), soft_wrap=True)
        raise typer.Exit(1) from error


def _exactly(sql: str, kinds: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The question with DuckDB's text for values that Python's types would change; empty if there are none.

    Python has no months in intervals (it makes 30 days of each), no nanoseconds and no infinite dates.
    """
    names = [f"column{number}" for number in range(len(kinds))]
    changed = dict(zip(names, (_INEXACT.sub("VARCHAR", kind) for kind in kinds), strict=True))
    columns = [
        f"CAST({name} AS {changed[name]})" if changed[name] != kind else name
        for name, kind in zip(names, kinds, strict=True)
    ]
    for number, kind in enumerate(kinds):
        if kind in _MOMENTS and any(row[number] is not None and _is_extreme(row[number]) for row in rows):
            union = f"UNION(text VARCHAR, moment {kind})"  # fetched as its member
            text = f"union_value(text := CAST({names[number]} AS VARCHAR))::{union}"
            columns[number] = f"if(isinf({names[number]}), {text}, union_value(moment := {names[number]})::{union})"
    if columns == names:
        return ""
    return f"SELECT {', '.join(columns)} FROM (\n{_without_end(sql)}\n) AS answer({', '.join(names)})"


def _without_end(sql: str) -> str:
    """One statement without semicolons and comments after it."""
    text = sql.encode()
    end = len(text)
    for start, kind in reversed(duckdb.tokenize(sql)):
        if kind != duckdb.token_type.comment and text[start : start + 1] != b";":
            break
        end = start
    return text[:end].decode()


def _is_extreme(moment: date | str) -> bool:
    """Whether it is a moment that DuckDB's Python client also makes of an infinite one."""
    return isinstance(moment, date) and (moment.year, moment.month, moment.day) in ((1, 1, 1), (9999, 12, 31))


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
    command = shell_command(shell, path)
    os.execv(command[0], command)


def shell_command(shell: Path, path: Path) -> list[str]:
    """DuckDB's shell on a file, confined to it: no other file, no setting, no program.

    By `.safe_mode`, since `-safe` locks the settings before the shell itself sets one, and then never starts (1.5.6).
    """
    return [str(shell), "-readonly", "-cmd", "SET temp_directory = ''", "-cmd", ".safe_mode", str(path)]


def _print_csv(names: Sequence[str], answer: Sequence[Sequence[Any]]) -> None:
    """All rows with every digit, lines that end in a line feed; NULL is an empty cell, an empty text `""`."""
    for row in (names, *answer):
        cells = ["" if value is None else _quoted(_cell(value)) for value in row]
        sys.stdout.write((",".join(cells) or '""') + "\n")  # a line of nothing is none to most readers


def _quoted(cell: str) -> str:
    """The cell of a text, in quotes where it must be. `csv` leaves a carriage return bare, which ends lines."""
    return '"' + cell.replace('"', '""') + '"' if cell == "" or re.search(r'[",\r\n]', cell) else cell


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
