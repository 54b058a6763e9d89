"""`envloom reward`: what a rollout was rewarded for."""

from typing import Annotated

import typer

from dagster_project.commands.console import AsJson, as_stored, echo_json, fail, stderr, terminal
from dagster_project.home import Home

reward_app = typer.Typer(no_args_is_help=True, help="What a rollout was rewarded for.")


@reward_app.callback()
def _group() -> None:
    """Keeps `explain` a word of its own while it is the only one."""


@reward_app.command("explain")
def explain_reward(
    rollout: Annotated[str, typer.Argument(help="Its id, or the start of it.")], as_json: AsJson = False
) -> None:
    """The arithmetic of one rollout's reward; exits with 1 if what is stored is not what it gives."""
    from dagster_project.campaign import CampaignError, load_campaign
    from dagster_project.explaining import explanation, find_rollout, show
    from dagster_project.finding import NotFound
    from warehouse.warehouse import Warehouse

    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    try:
        found = find_rollout(warehouse, rollout)
        campaign = load_campaign(found.campaign)
    except (NotFound, CampaignError) as error:
        raise fail(error, 2) from error
    told = explanation(warehouse, found, campaign)
    if as_json:
        echo_json(told)
    else:
        show(told, terminal())
    if told["differs"]:
        stderr.print(
            f"[red]wrong[/red] the stored reward {told['stored']['reward']} or advantage {told['stored']['advantage']} "
            f"is another: the reward settings of campaign {as_stored(found.campaign)}, or the code, have changed "
            "since.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(1)
