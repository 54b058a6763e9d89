"""`envloom quarantine`: mark a record found bad, after a look at what it touched. Nothing is deleted."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from dagster_project.commands.console import AsJson, echo, echo_json, fail, stderr
from dagster_project.home import Home
from warehouse.errors import NotForQuarantine, UnknownRecord
from warehouse.lineage import resolve
from warehouse.quarantine import Touched, lift, marks, touched
from warehouse.quarantine import quarantine as mark
from warehouse.warehouse import Warehouse


def quarantine(
    name: Annotated[
        str, typer.Argument(help="An id or its first letters, a prompt's name, or such as environment[retail].")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; shown wherever the mark keeps something out.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what it touched.")] = False,
    lifted: Annotated[bool, typer.Option("--lift", help="Lift the marks on it.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the marks in force.")] = False,
    kind: Annotated[str | None, typer.Option(help="The kind that is meant, where an id is that of several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mark an LLM call, prompt, environment, task, rollout or checkpoint as bad; list all it touched.

    What is materialised later leaves it out and says so: its tasks are rejected from datasets, their rollouts are not
    collected and not trained on, and a checkpoint is no parent. Batches of before stay as they are.
    """
    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    if listed:
        _list(warehouse, as_json)
        return
    if not name or not (reason or dry_run):
        stderr.print("Say what, and why with --reason; or look first with --dry-run; or --list what is marked.")
        raise typer.Exit(2)
    try:
        with warehouse.reading() as connection:
            key = resolve(connection, name, kind)
        if lifted and not lift(warehouse, key, reason):
            stderr.print(f"{key[0]} {key[1]} is not quarantined itself. See `envloom quarantine --list`.")
            raise typer.Exit(1)
        if not lifted and not dry_run:
            mark(warehouse, key, reason)
    except (UnknownRecord, NotForQuarantine) as error:
        raise fail(error) from error
    state = "lifted" if lifted else "not marked" if dry_run else "quarantined"
    found = touched(warehouse, key)
    if as_json:
        what = {"kind": key[0], "id": key[1], "state": state, "touched": asdict(found)}
        echo_json(what)
    else:
        echo(f"{key[0]} {key[1]}: {state}")
        _print(found)


def _list(warehouse: Warehouse, as_json: bool) -> None:
    found = marks(warehouse)
    if as_json:
        echo_json([asdict(mark) for mark in found])
    for each in () if as_json else found:
        echo(f"{each.kind} {each.record_id} since {each.created_at:%Y-%m-%d %H:%M} UTC: {each.reason}")


def _print(found: Touched) -> None:
    for what, lines in (
        ("tasks", [f"task {row['id']} {row['domain']}: {row['instruction'][:60]}" for row in found.tasks]),
        ("batches", [f"batch {row['batch_id']} {_place(row)}, {row['records']} records" for row in found.batches]),
        ("checkpoints", [_checkpoint(row) for row in found.checkpoints]),
    ):
        echo("\n".join(lines[:20]))
        if len(lines) > 20:
            echo(f"… and {len(lines) - 20} more {what} (--json lists all)")
    echo(
        f"{len(found.tasks)} tasks, {len(found.batches)} batches, {len(found.checkpoints)} checkpoints, "
        f"{found.rollouts} rollouts and {len(found.evaluations)} evaluations came of it."
    )


def _place(batch: dict[str, Any]) -> str:
    return f"{batch['asset']}[{batch['partition']}]" if batch["partition"] else batch["asset"]


def _checkpoint(row: dict[str, Any]) -> str:
    step = "" if row["iteration"] is None else f" {row['iteration']}"
    return f"checkpoint {row['id']} {row['campaign']} {row['kind']}{step}, trained on {row['rollouts']} of its rollouts"
