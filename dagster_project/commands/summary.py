"""What `envloom demo` and `train` end with: funnel, success and cost, tokens and seconds, where all of it lies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from dagster_project.campaign import Campaign
from dagster_project.commands.console import as_stored
from dagster_project.home import Home
from warehouse.queries import campaign_summary, history
from warehouse.warehouse import Warehouse

if TYPE_CHECKING:  # the assets' partitions are read when they are imported: a campaign written after is none of them
    from dagster_project.runner import Ran


def gather(home: Home, name: str, campaign: Campaign, ran: "Sequence[Ran]") -> dict[str, Any]:
    """The figures of the summary, as plain data: what `--json` prints."""
    warehouse = Warehouse(home.warehouse, home.parts)
    domains = list(campaign.domains)
    return {
        "campaign": name,
        "funnel": history.funnel(warehouse, domains),
        "rejections": campaign_summary.rejections(warehouse, domains),
        "held_out": [_standing(one) for one in history.whole(history.evaluations(warehouse, name))],
        "training": campaign_summary.training(warehouse, name),
        "tokens": campaign_summary.tokens(warehouse, domains, name),
        "seconds": [{"stage": str(done.step), "seconds": done.seconds} for done in ran],
        "where": {
            "warehouse": str(home.warehouse),
            "checkpoints": str(home.artefacts),
            "history": str(home.dagster),
            "logs": str(home.logs),
        },
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The summary for people."""
    console.print(table("Tasks, from candidate to proven", figures["funnel"]))
    console.print(table("Rejected, and why", figures["rejections"]))
    console.print(table("Held-out tasks", [_held_out(row) for row in figures["held_out"]]))
    console.print(table("Training", [_short(row) for row in figures["training"]]))
    tokens = [{name: "unknown" if n is None else n for name, n in row.items()} for row in figures["tokens"]]
    console.print(table("Tokens", tokens))
    seconds = [
        row | {"seconds": "already there" if row["seconds"] is None else row["seconds"]} for row in figures["seconds"]
    ]
    console.print(table("Seconds", seconds))
    for what, path in figures["where"].items():
        console.print(f"{what:12} {path}", highlight=False, soft_wrap=True)
    last = [row["checkpoint"] for row in figures["training"]][-1:]
    console.print("\nNext: [bold]make dev[/bold] opens the asset graph on this history;")
    console.print(
        f"      [bold].venv/bin/envloom report {figures['campaign']}[/bold] writes all of it as one page, with plots;"
    )
    console.print(
        f"      [bold].venv/bin/envloom train {figures['campaign']} --steps 1[/bold] goes one iteration further;"
    )
    for checkpoint in last:
        console.print(
            f"      [bold].venv/bin/envloom lineage {checkpoint}[/bold] tells where the last checkpoint comes from."
        )


def _standing(one: history.Evaluation) -> dict[str, Any]:
    """A policy on a split, as plain data."""
    told = one.summary.model_dump(mode="json", exclude={"scope", "stop_reasons"})
    return {"policy": one.policy, "policy_id": one.policy_id, "iteration": one.iteration, **told}


def _held_out(row: dict[str, Any]) -> dict[str, Any]:
    empty = row["n"] + row["environment_errors"] == 0
    return {
        "policy": f"{row['policy']} (simulated experts)" if row["simulated_experts"] else row["policy"],
        "split": row["split"],
        "solved": "empty" if empty else f"{row['solved']}/{row['n']}",
        "success": row["success"] if row["n"] else "-",
        "95 % interval": f"{row['success_low']:.2f} to {row['success_high']:.2f}" if row["n"] else "-",
        "cost, USD": row["cost_usd_mean"] if row["n"] else "-",
        "turns": row["turns_mean"] if row["n"] else "-",
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A training row that fits a terminal; `--json` has all of it."""
    counts = {name: n for name, n in _counts(row["counts"]).items() if n}
    return {
        "step": "warm start" if row["iteration"] is None else f"iteration {row['iteration']}",
        "checkpoint": row["checkpoint"][:12],
        "rows": row["rows"],
        "tokens": row["trained_tokens"],
        "loss": row["loss"],
        "rollouts": ", ".join(f"{name} {n}" for name, n in counts.items()) or "-",
    }


def _counts(column: Any) -> dict[str, int]:
    import json

    return json.loads(column) if isinstance(column, str) else dict(column or {})


def table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Rows as a terminal table, numbers to the right."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for name in rows[0] if rows else ["nothing"]:
        numeric = bool(rows) and isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        shown.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4g}"
    return as_stored(value)
