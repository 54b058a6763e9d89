"""`envloom toolscale`: every domain from its recording to proven tasks, and whether that is more than the paper had.

The bounds are those of ToolScale (ToolOrchestra, arXiv 2511.21689: ten domains, 4,063 tasks), and what we ask beyond it
of length, refusals and coverage.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from dagster_project.commands.console import AsJson, as_stored, echo_json, fail, stderr, terminal
from dagster_project.commands.summary import table
from dagster_project.home import Home
from warehouse.queries.toolscale import USES, measure
from warehouse.warehouse import Warehouse


def toolscale(
    again: Annotated[bool, typer.Option(help="Do again what is already there.")] = False, as_json: AsJson = False
) -> None:
    """Materialise every recorded domain up to its proven tasks, without an engine; exits with 1 below the bounds."""
    from dagster_project.runner import StepFailed, run_steps

    home = Home.here().prepare()
    domains = list(recorded_domains())
    steps = list(_steps(domains))
    try:
        run_steps(steps, home, again=again, on_step=lambda step: stderr.print(as_stored(step), highlight=False))
    except StepFailed as error:
        raise fail(error) from error
    found = measure(Warehouse(home.warehouse, home.parts), domains)
    if as_json:
        echo_json(found)
    else:
        console = terminal()
        console.print(table("Domains", found["domains"]))
        console.print(table("In all", found["figures"]))
        console.print(f"write tools in fewer than {USES} tasks: {', '.join(found['rare']) or 'none'}", soft_wrap=True)
    if not all(figure["met"] for figure in found["figures"]):
        raise typer.Exit(1)


def recorded_domains() -> Iterator[str]:
    """The domains that a recording can answer for, sorted."""
    from generators.discovery import RECORDING, domain_folders

    return (name for name, folder in sorted(domain_folders().items()) if (folder / RECORDING).is_file())


def _steps(domains: Sequence[str]) -> Iterator[Any]:
    from dagster_project.runner import Step

    for domain in domains:
        for asset in ("brief", "environment", "candidate_tasks", "proven_tasks"):
            yield Step(asset, domain)
