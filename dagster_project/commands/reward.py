"""`envloom reward`: what a rollout was rewarded for."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dagster_project.commands.console import AsJson, as_stored, echo_json, fail, stderr, terminal
from dagster_project.home import Home

if TYPE_CHECKING:
    from trainer.rollout import Rollout
    from warehouse.warehouse import Warehouse

_TOGETHER = """
SELECT other.id FROM rollouts r JOIN rollouts other USING (campaign, iteration, purpose, policy_id)
WHERE r.id = ? ORDER BY other.id
"""
_STORED = "SELECT reward, advantage, status FROM rewards WHERE rollout_id = ? ORDER BY update_id"
reward_app = typer.Typer(no_args_is_help=True, help="What a rollout was rewarded for.")


@reward_app.callback()
def _group() -> None:
    """Keeps `explain` a word of its own while it is the only one."""


@reward_app.command("explain")
def explain_reward(
    rollout: Annotated[str, typer.Argument(help="Its id, or the start of it.")], as_json: AsJson = False
) -> None:
    """The arithmetic of one rollout's reward; exits with 1 if what is stored is not what it gives."""
    from dagster_project import stored
    from dagster_project.campaign import CampaignError, load_campaign
    from trainer.explanation import explanation
    from warehouse.queries.lookup import NotFound
    from warehouse.warehouse import Warehouse

    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    try:
        found = _find_rollout(warehouse, rollout)
        campaign = load_campaign(found.campaign)
    except (NotFound, CampaignError) as error:
        raise fail(error, 2) from error
    together = stored.rollouts_by_id(warehouse, warehouse.query(_TOGETHER, [found.id])["id"].to_list())
    told = explanation(found, together, warehouse.query(_STORED, [found.id]).to_dicts(), campaign)
    if as_json:
        echo_json(told)
    else:
        _show(told, terminal())
    if told["differs"]:
        stderr.print(
            f"[red]wrong[/red] the stored reward {told['stored']['reward']} or advantage {told['stored']['advantage']} "
            f"is another: the reward settings of campaign {as_stored(found.campaign)}, or the code, have changed "
            "since.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(1)


def _find_rollout(warehouse: "Warehouse", name: str) -> "Rollout":
    """The rollout whose id starts with `name`. Raises NotFound."""
    from dagster_project import stored
    from warehouse.queries.lookup import NotFound

    ids = warehouse.query("SELECT id FROM rollouts WHERE starts_with(id, ?)", [name])["id"].to_list()
    if len(ids) != 1:
        known = warehouse.query("SELECT id FROM rollouts ORDER BY id LIMIT 3")["id"].to_list()
        there = f"There are {', '.join(known)}, …" if known else "There is none yet: run `make demo`."
        what = f'"{name}" is the start of {len(ids)} ids' if ids else f'there is no rollout "{name}"'
        raise NotFound(f"{what} in {warehouse.path}. {there}")
    return stored.rollouts_by_id(warehouse, ids)[0]


def _show(told: dict[str, Any], console: Console) -> None:
    """The arithmetic for people."""
    from trainer.explanation import advantage_line, element_line, reward_line

    simulated = ", experts simulated" if told["simulated_experts"] else ""
    console.print(as_stored(f"{told['rollout']} {told['purpose']} of {told['campaign']}{simulated}"))
    if told["preference"]:
        console.print(f"preference  {as_stored(told['preference'])}")
    for row in told["terms"]:
        console.print(as_stored(element_line(row)), soft_wrap=True)
    console.print(f"outcome    {told['outcome']}", highlight=False)
    console.print(f"reward     {reward_line(told)}", highlight=False, soft_wrap=True)
    console.print(f"advantage  {advantage_line(told)}", highlight=False, soft_wrap=True)
    row = told["stored"]
    kept = f"{row['reward']} and {row['advantage']}, {row['status']}" if row else "nothing: no update has used it"
    console.print(f"stored     {kept}", highlight=False)
