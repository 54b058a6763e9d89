"""`envloom report`: a campaign as one HTML file that needs nothing else, no network and no script.

What stands in it comes out of the warehouse and is escaped by the template. The same warehouse gives the same bytes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from warehouse.queries import history
from warehouse.queries.funnel import measure
from warehouse.queries.history import Evaluation
from warehouse.queries.lookup import NotFound
from warehouse.reports import plots
from warehouse.warehouse import Warehouse

TEMPLATES = Path(__file__).parent / "templates"
CAMPAIGNS = "SELECT DISTINCT campaign FROM current_evaluations ORDER BY campaign"
SPLITS = {
    "test": "held-out tasks",
    "unseen_domain": "held-out domains",
    "unseen_tool": "unseen tools",
    "unseen_prices": "unseen prices",
    "unseen_preference": "held-out preferences",
}
"""What people call the splits that are evaluated."""


Transcripts = Callable[[Warehouse, str, str, int], list[dict[str, Any]]]
"""Warehouse, campaign, policy and iteration → rollouts of that evaluation, as the page shows them."""


def write_report(warehouse: Warehouse, campaign: str, file: Path, transcripts: Transcripts) -> Path:
    """Write the report of a campaign into `file`, and give it back. Raises NotFound."""
    page = render(contents(warehouse, campaign, transcripts))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8")
    return file


def contents(warehouse: Warehouse, campaign: str, transcripts: Transcripts) -> dict[str, Any]:
    """Everything the page shows, figures drawn. Raises NotFound for a campaign that was never evaluated."""
    found = history.evaluations(warehouse, campaign)
    if not found:
        known = ", ".join(warehouse.query(CAMPAIGNS)["campaign"].to_list()) or "none"
        raise NotFound(f"campaign '{campaign}' has no evaluation in {warehouse.path}. Evaluated: {known}.")
    trained = history.training(warehouse, campaign)
    test = history.whole(found, "test")
    models = [one for one in test if one.kind != "rule"]
    splits = history.splits(warehouse, campaign)
    domains = sorted({row["domain"] for row in splits})
    curves = plots.learning_curves(test, trained)
    points = plots.points(test)
    return {
        "campaign": campaign,
        "last": models[-1],
        "before": models[:-1][:2],
        "models": models,
        "learning": [Markup(plots.as_svg(figure)) for figure in curves.values()],
        "components": Markup(plots.as_svg(plots.reward_components(history.components(warehouse, campaign), trained))),
        "cost_accuracy": Markup(plots.as_svg(plots.cost_accuracy(points))),
        "front": [point.name for point in plots.pareto_front(points)],
        "trained": trained,
        "any_simulated": any(one.summary.simulated_experts for one in found)
        or any(t.simulated_experts for t in trained),
        "splits": _by_split(found),
        "not_evaluated": _not_evaluated(splits, found),
        "domains": _by_domain(found, models[-1]),
        "adherence": [one for one in history.whole(found) if one.summary.adherence],
        "funnel": history.funnel(warehouse, domains),
        "dataset": _dataset(splits),
        "stages": measure(warehouse, domains),
        "transcripts": transcripts(warehouse, campaign, models[-1].policy_id, models[-1].iteration),
        "checkpoints": history.checkpoints(warehouse, campaign),
        "batches": history.batches(warehouse, campaign),
    }


def _by_split(found: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Per split that was evaluated: its name and its policies."""
    whole = history.whole(found)
    there = [split for split in SPLITS if any(one.summary.split == split for one in whole)]
    return [{"name": SPLITS[split], "split": split, "policies": history.whole(found, split)} for split in there]


def _not_evaluated(splits: Sequence[dict[str, Any]], found: Sequence[Evaluation]) -> list[tuple[str, int]]:
    """Splits kept from training that have tasks and no evaluation, with their size."""
    evaluated = {one.summary.split for one in found}
    names = [split for split in SPLITS if split not in evaluated]
    sizes = [(split, sum(row["tasks"] for row in splits if row["split"] == split)) for split in names]
    return [(SPLITS[split], size) for split, size in sizes if size]


def _by_domain(found: Sequence[Evaluation], last: Evaluation) -> dict[str, Any]:
    """A row per domain of the test split, a column per policy; of the loop's policies only the last one."""
    shown = [one for one in history.whole(found, "test") if one.kind != "update" or one == last]
    cells = {
        (one.policy_id, one.iteration, one.summary.scope): one.summary for one in found if one.summary.split == "test"
    }
    names = sorted({scope for _, _, scope in cells} - {history.ALL})
    return {
        "policies": shown,
        "rows": [(name, [cells.get((one.policy_id, one.iteration, name)) for one in shown]) for name in names],
    }


def _dataset(splits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tasks of the dataset by domain and split."""
    names = ["train", "validation", *SPLITS]
    columns = [name for name in names if any(row["split"] == name for row in splits)]
    counts = {(row["domain"], row["split"]): row["tasks"] for row in splits}
    domains = sorted({domain for domain, _ in counts})
    return {"splits": columns, "rows": [(one, [counts.get((one, split), 0) for split in columns]) for one in domains]}


def render(told: dict[str, Any]) -> str:
    """The page. Everything but our own drawings is escaped. Raises jinja2.UndefinedError for a value not given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "cents": _cents, "short": lambda identity: str(identity)[:12]}
    return environment.get_template("report.html.j2").render(told)


def _percent(share: float) -> str:
    return f"{share * 100:.0f}\N{NO-BREAK SPACE}%"


def _cents(usd: float) -> str:
    """US cents, to what can be read: three digits."""
    return f"{usd * 100:.3g}\N{NO-BREAK SPACE}¢"
