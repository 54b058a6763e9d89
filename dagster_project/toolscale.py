"""`envloom toolscale`: every domain from its recording to proven tasks, and whether that is more than the paper had.

The bounds are those of ToolScale (ToolOrchestra, arXiv 2511.21689: ten domains, 4,063 tasks), and what we ask beyond it
of length, refusals and coverage.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from dagster_project.commands.console import AsJson, as_stored, echo_json, fail, stderr, terminal
from dagster_project.home import Home
from dagster_project.summary import table
from warehouse.warehouse import Warehouse

LONG, USES = 5, 3
"""Golden calls of a long task; tasks that have to use each write tool."""
_DOMAINS = """
SELECT e.domain, e.n_tables AS tables, e.n_rows AS rows, e.n_tools AS tools,
  (SELECT count(*) FROM current_tasks c WHERE c.asset = 'candidate_tasks' AND c.partition = e.domain) AS candidates,
  (SELECT count(*) FROM current_tasks c WHERE c.asset = 'proven_tasks' AND c.partition = e.domain) AS proven
FROM current_environments e WHERE e.asset = 'environment' AND e.domain IN (SELECT unnest(?)) ORDER BY e.domain
"""
_TASKS = """
SELECT count(*) AS proven, min(difficulty) AS shortest, max(difficulty) AS longest,
  avg((difficulty >= ?)::INT) AS long_share, avg((n_writes = 0)::INT) AS no_change_share
FROM current_tasks WHERE asset = 'proven_tasks' AND partition IN (SELECT unnest(?))
"""
_RARE = """
SELECT t.domain || '.' || t.name AS tool
FROM current_tools t LEFT JOIN (
  SELECT DISTINCT id, domain, unnest(string_split(shape, ' > ')) AS name FROM current_tasks WHERE asset = 'proven_tasks'
) u ON u.domain = t.domain AND u.name = t.name
WHERE t.asset = 'environment' AND t.writes AND t.domain IN (SELECT unnest(?))
GROUP BY ALL HAVING count(u.id) < ? ORDER BY tool
"""


def measure(warehouse: Warehouse, domains: Sequence[str]) -> dict[str, Any]:
    """`domains` (a row each), `figures` (name, value, bound, met) and `rare` (write tools with too few tasks)."""
    rows = warehouse.query(_DOMAINS, [list(domains)]).to_dicts()
    tasks = warehouse.query(_TASKS, [LONG, list(domains)]).to_dicts()[0]
    rare = warehouse.query(_RARE, [list(domains), USES])["tool"].to_list()
    found = [
        ("domains", len(rows), 10),
        ("tools", sum(row["tools"] for row in rows), 200),
        ("rows", sum(row["rows"] for row in rows), 7_500),
        ("proven tasks", tasks["proven"], 4_100),
        ("golden calls of the longest task", tasks["longest"] or 0, 12),
        (f"share of tasks of {LONG} calls or more", round(tasks["long_share"] or 0, 3), 0.25),
        ("share that changes nothing (refusals, questions)", round(tasks["no_change_share"] or 0, 3), 0.10),
    ]
    figures = [
        {"figure": name, "value": value, "at least": bound, "met": value >= bound} for name, value, bound in found
    ]
    figures.append(
        {"figure": f"write tools in fewer than {USES} tasks", "value": len(rare), "at least": "none", "met": not rare}
    )
    return {"domains": rows, "figures": figures, "rare": rare}


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
