"""The funnel of a domain's synthesis, and what a proven task cost, as figures and as Dagster metadata.

The numbers are the warehouse's own views (`funnel`, `rejection_reasons`, `cost_per_task`).
"""

from typing import Any

from dagster_project import report
from warehouse.warehouse import Warehouse

STAGES = """
SELECT domain, stage, proposed, repaired, rejected, accepted, llm_calls, prompt_tokens, completion_tokens, seconds,
  cost_usd
FROM funnel WHERE domain IN (SELECT unnest(?)) ORDER BY domain, step, stage
"""
REASONS = """
SELECT domain, stage, reason, answer_kept, n, example FROM rejection_reasons
WHERE domain IN (SELECT unnest(?)) ORDER BY domain, stage, n DESC, reason
"""
COSTS = "SELECT * FROM cost_per_task WHERE domain IN (SELECT unnest(?)) ORDER BY domain"


def measure(warehouse: Warehouse, domains: list[str]) -> dict[str, list[dict[str, Any]]]:
    """`stages`, `reasons` and `costs` (a row per domain that has been put to the proof)."""
    queries = {"stages": STAGES, "reasons": REASONS, "costs": COSTS}
    return {name: warehouse.query(sql, [domains]).to_dicts() for name, sql in queries.items()}


def metadata(warehouse: Warehouse, domain: str) -> dict[str, Any]:
    """What `proven_tasks` shows of the way to its tasks, once its own batch is stored."""
    found = measure(warehouse, [domain])
    cost = found["costs"][0] if found["costs"] else {}
    shown = {f"per task/{name}": cost.get(f"{name}_per_task") for name in ("calls", "tokens", "seconds", "usd")}
    return {
        "funnel": report.table(_without_domain(found["stages"])),
        "rejected": report.table(_without_domain(found["reasons"])),
        **{name: "unknown" if value is None else value for name, value in shown.items()},
    }


def _without_domain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "domain"} for row in rows]
