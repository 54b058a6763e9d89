"""`envloom funnel`: how much of what was proposed became a proven task, and what one cost."""

from typing import Annotated, Any

import typer

from dagster_project.commands.console import AsJson, as_stored, echo_json, stderr, terminal
from dagster_project.commands.summary import table
from dagster_project.home import Home
from serving.amounts import token_cost
from warehouse.queries.funnel import measure
from warehouse.warehouse import Warehouse


def funnel(
    domain: Annotated[str, typer.Argument(help="One domain; all that were synthesised if left out.")] = "",
    input_usd_per_mtok: Annotated[float | None, typer.Option(help="What the calls would cost at this price.")] = None,
    output_usd_per_mtok: Annotated[float | None, typer.Option(help="The price of a million answered tokens.")] = None,
    as_json: AsJson = False,
) -> None:
    """What was proposed, repaired, rejected and accepted per stage, and calls, tokens and dollars per proven task."""
    if (input_usd_per_mtok is None) != (output_usd_per_mtok is None):
        stderr.print("Give both --input-usd-per-mtok and --output-usd-per-mtok, or none.")
        raise typer.Exit(2)
    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    known = warehouse.query("SELECT DISTINCT domain FROM funnel ORDER BY domain")["domain"].to_list()
    wanted = [each for each in known if domain in ("", each)]
    if not wanted:
        what = f"No synthesis of {domain or 'any domain'} is in {home.warehouse}"
        stderr.print(as_stored(f"{what}. Materialise it first, in the UI or with `make toolscale`."), soft_wrap=True)
        raise typer.Exit(1)
    found = measure(warehouse, wanted)
    if input_usd_per_mtok is not None and output_usd_per_mtok is not None:
        for row in (*found["stages"], *found["costs"]):
            prompt_tokens, completion_tokens = row["prompt_tokens"], row["completion_tokens"]
            if prompt_tokens is None or completion_tokens is None:
                continue
            row["cost_usd"] = token_cost(prompt_tokens, completion_tokens, input_usd_per_mtok, output_usd_per_mtok)
            if row.get("tasks"):
                row["usd_per_task"] = row["cost_usd"] / row["tasks"]
    if as_json:
        echo_json(found)
        return
    console = terminal()
    for title, rows in (
        ("Per stage", found["stages"]),
        ("Rejected, and why", [{k: v for k, v in row.items() if k != "example"} for row in found["reasons"]]),
        ("Per proven task", found["costs"]),
    ):
        console.print(table(title, [{name: _shown(value) for name, value in row.items()} for row in rows]))


def _shown(value: Any) -> Any:
    """Tokens and prices that are not known are not 0."""
    return "unknown" if value is None else value
