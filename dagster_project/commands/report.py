"""`envloom report`: a campaign as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from dagster_project.commands.console import AsJson, echo, fail, json_text
from dagster_project.home import Home
from warehouse.queries.lookup import NotFound


def campaign_report(
    campaign: str,
    to: Annotated[Path | None, typer.Option(help="The file to write; left out: reports/<campaign>.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a campaign's figures, plots and transcripts as one page that opens without a network; say where it is."""
    from dagster_project.transcripts import write_report

    try:
        file = write_report(Home.here(), campaign, to)
    except NotFound as error:
        raise fail(error, 2) from error
    echo(json_text({"campaign": campaign, "path": str(file)}) if as_json else str(file))
