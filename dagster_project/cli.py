"""The `envloom` command. Results go to stdout, progress to stderr; exit 0 well, 1 found wrong, 2 wrong use."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import dagster
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dagster_project.commands.boundary import Commands
from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, json_text, stderr, terminal
from dagster_project.commands.env import env_app
from dagster_project.commands.export import export
from dagster_project.commands.funnel import funnel
from dagster_project.commands.lake import lake_app
from dagster_project.commands.lineage import lineage
from dagster_project.commands.prove import prove
from dagster_project.commands.quarantine import quarantine
from dagster_project.commands.query import query
from dagster_project.commands.recording import answers_app, record
from dagster_project.commands.report import campaign_report
from dagster_project.commands.reproduce import bundle, reproduce
from dagster_project.commands.reward import reward_app
from dagster_project.commands.toolscale import toolscale
from dagster_project.home import Home

if TYPE_CHECKING:
    from serving.ledger import Ledger

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
domain_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Add a domain, or see what is wrong with one.")
app.add_typer(domain_app, name="domain")
app.add_typer(env_app, name="env")
app.add_typer(answers_app, name="answers")
app.add_typer(reward_app, name="reward")
app.add_typer(lake_app, name="lake")


@app.command()
def demo(
    live: Annotated[bool, typer.Option(help="Ask a model instead of replaying the recorded synthesis.")] = False,
    again: Annotated[bool, typer.Option(help="Do again what is already there.")] = False,
    as_json: AsJson = False,
) -> None:
    """The whole way once: two domains, a warm start, two iterations, held-out success before and after."""
    if live:
        os.environ["ENVLOOM_LIVE"] = "1"
    _run_campaign("demo", steps=2, again=again, as_json=as_json)


@app.command()
def train(
    campaign: str,
    steps: Annotated[int, typer.Option(min=1, help="Iterations to add.")] = 1,
    total: Annotated[int | None, typer.Option(min=1, help="Instead: iterations there shall be in all.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same under another seed: campaign <name>-seed-<seed>.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a campaign: so many iterations after the last checkpoint, and all that has to come before."""
    from dagster_project.campaign import load_campaign, reseeded

    campaign = campaign if seed is None else reseeded(campaign, seed)
    load_campaign(campaign)
    from dagster_project.jobs import finished_iterations
    from warehouse.warehouse import Warehouse

    home = Home.here().prepare()
    done = finished_iterations(Warehouse(home.warehouse, home.parts), campaign)
    _run_campaign(campaign, steps=done + steps if total is None else total, again=False, as_json=as_json)


def _run_campaign(name: str, *, steps: int, again: bool, as_json: bool) -> None:
    home = Home.here().prepare()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    warnings.simplefilter("ignore", dagster.PreviewWarning)  # about Dagster's own use of its own parts
    from dagster_project.campaign import load_campaign, require_domains
    from dagster_project.commands.summary import gather, show
    from dagster_project.runner import Step, StepFailed, iteration_steps, preparation_steps, run_steps

    campaign = load_campaign(name)
    require_domains(name, campaign)
    plan = preparation_steps(name, campaign)
    for iteration in range(steps):
        plan += iteration_steps(name, iteration)
    columns = (
        TextColumn("{task.completed:2.0f}/{task.total:.0f}"),
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        bar = progress.add_task(name, total=len(plan))

        def on_step(step: Step) -> None:
            place = plan.index(step)
            stderr.print(f"[dim]{place + 1:2}/{len(plan)}[/dim] {as_stored(step)}", highlight=False)
            progress.update(bar, completed=place, description=as_stored(step))

        try:
            ran = run_steps(plan, home, again=again, on_step=on_step)
        except StepFailed as error:
            raise fail(error) from error
    figures = gather(home, name, campaign, ran)
    if as_json:
        echo_json(figures)
    else:
        show(figures, terminal())


@app.command()
def dev(port: int = 3000, host: str = "127.0.0.1") -> None:
    """Dagster's UI and daemon on the history of this project."""
    from dagster_project.pools import set_limits

    Home.here().prepare()
    with dagster.DagsterInstance.get() as instance:
        set_limits(instance)
    executable = Path(sys.executable).with_name("dagster")
    command = [str(executable), "dev", "-m", "dagster_project.definitions", "-h", host, "-p", str(port)]
    os.execv(command[0], command)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="A packaged model, a folder, or a hub id.")] = "smollm2-135m-instruct",
    port: int = 0,
    max_model_len: int = 2048,
    as_json: AsJson = False,
) -> None:
    """Serve a model on vLLM until Ctrl-C; the OpenAI-compatible address goes to stdout."""
    import signal

    from serving.errors import ServingError
    from serving.models import resolve_model
    from serving.vllm import VllmConfig, VllmServer

    home = Home.here().prepare()
    try:
        found = resolve_model(model, home.models)
        config = VllmConfig(
            model=str(found.path), served_name=found.name, port=port, max_model_len=max_model_len, enable_lora=True
        )
        server = VllmServer(config, home.logs, home.state, adapter_folders=(home.artefacts,))
        endpoint = server.start()
    except ServingError as error:
        raise fail(error) from error
    told = {
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "api_key": endpoint.api_key,
        "log": str(server.log_path),
    }
    echo(json_text(told) if as_json else "\n".join(f"{name:9} {value}" for name, value in told.items()))
    try:
        signal.pause()
    finally:  # Ctrl-C or SIGTERM
        server.stop()


app.command()(export)
app.command()(prove)
app.command()(funnel)
app.command()(lineage)
app.command()(query)
app.command()(quarantine)
app.command()(record)
app.command("report")(campaign_report)
app.command()(toolscale)
app.command()(reproduce)
app.command()(bundle)


@domain_app.command("new")
def domain_new(
    name: str,
    hooks: Annotated[
        bool, typer.Option("--hooks", help="Also a hooks.py for rows, tools and tasks of your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Scaffold a domain in `domains/<name>`, or in the first folder of ENVLOOM_DOMAINS."""
    from generators.brief import DomainError
    from generators.scaffold import scaffold

    try:
        files = [str(file) for file in scaffold(name, hooks=hooks)]
    except DomainError as error:
        raise fail(error, 2) from error
    if as_json:
        echo_json({"domain": name, "files": files})
    else:
        echo("\n".join([*files, f"Change what stands there, then: envloom domain check {name}"]))


@domain_app.command("check")
def domain_check(
    name: str,
    live: Annotated[bool, typer.Option(help="Ask a model instead of the domain's recording.")] = False,
    model: Annotated[str, typer.Option(help="With --live: the model.")] = "",
    base_url: Annotated[str, typer.Option(help="With --live: an OpenAI-compatible endpoint that serves it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Read the brief, synthesise, prove five tasks; say what is wrong with the brief, and what was not checked."""
    from dagster_project.synthesist import synthesist_here
    from generators.brief import DomainError
    from generators.domain_check import check_domain

    home = Home.here().prepare()
    settings = {key: value for key, value in (("model", model), ("base_url", base_url)) if value}

    def ledger() -> "Ledger":
        return synthesist_here(mode="live" if live else "recorded", **settings).ledger(name, home)

    try:
        report = check_domain(name, ledger, live=live)
    except DomainError as error:
        raise fail(error, 2) from error
    if as_json:
        echo_json(report.as_json())
    else:
        echo("\n".join(report.lines))
        for why, left_out in report.left_out().items():
            echo(f"not checked  {', '.join(left_out)}: {why}")
        for finding in report.advice:
            echo(f"advice       {finding}")
    for finding in report.problems:
        stderr.print(f"[red]wrong[/red] {as_stored(finding)}", soft_wrap=True, highlight=False)
    if report.problems:
        raise typer.Exit(1)


@domain_app.command("make")
def domain_make(name: str, as_json: AsJson = False) -> None:
    """Materialise one domain, anew: brief, environment, candidate tasks, proven tasks."""
    from dagster_project.runner import SYNTHESIS, Step, StepFailed, run_steps
    from generators.brief import DomainError
    from generators.discovery import domain_folder
    from warehouse.queries.lookup import newest_environments
    from warehouse.warehouse import Warehouse

    home = Home.here().prepare()
    try:
        domain_folder(name)
        steps = [Step(asset, name) for asset in SYNTHESIS]
        run_steps(steps, home, again=True, on_step=lambda step: stderr.print(as_stored(step), highlight=False))
    except DomainError as error:
        raise fail(error, 2) from error
    except StepFailed as error:
        raise fail(error) from error
    made = next(row for row in newest_environments(Warehouse(home.warehouse, home.parts)) if row["domain"] == name)
    echo(json_text(made) if as_json else "\n".join(f"{key:14} {value}" for key, value in made.items()))


if __name__ == "__main__":
    app()
