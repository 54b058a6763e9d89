"""`envloom lake`: the past states of the lake that `ENVLOOM_WAREHOUSE` names, and its many small files made few."""

import typer

from dagster_project.commands.console import AsJson, echo, echo_json, fail, json_text
from dagster_project.home import Home
from warehouse.errors import LakeMisconfigured, WarehouseError
from warehouse.lake_connection import LakeDatabase

lake_app = typer.Typer(no_args_is_help=True, help="A warehouse on DuckLake: its snapshots, and its upkeep.")


@lake_app.command("snapshots")
def lake_snapshots(as_json: AsJson = False) -> None:
    """Every state that can still be read, the oldest first."""
    try:
        found = _lake().snapshots()
    except WarehouseError as error:
        raise fail(error) from error
    if as_json:
        echo_json([{"snapshot": each.id, "created_at": each.created_at.isoformat()} for each in found])
    else:
        echo("\n".join(f"{each.id:8} {each.created_at:%Y-%m-%d %H:%M:%S} UTC" for each in found))


@lake_app.command("compact")
def lake_compact(as_json: AsJson = False) -> None:
    """Write small files as fewer large ones; no snapshot is lost. Writers wait for it, readers do not."""
    database = _lake()
    try:
        database.compact()
    except WarehouseError as error:
        raise fail(error) from error
    echo(json_text({"compacted": str(database.lake)}) if as_json else f"{database.lake} is compacted.")


def _lake(timeout_s: float = 120.0) -> LakeDatabase:
    try:
        lake = Home.here().lake
    except LakeMisconfigured as error:
        raise fail(error, 2) from error
    if lake is None:
        none = LakeMisconfigured(
            "ENVLOOM_WAREHOUSE is not set: the warehouse is a file. docs/lake.md shows how to set it."
        )
        raise fail(none, 2)
    return LakeDatabase(lake, timeout_s)
