"""The funnel of a domain's synthesis, and what a proven task cost, as figures.

The numbers are the warehouse's own views (`funnel`, `rejection_reasons`, `cost_per_task`).
"""

from typing import Any

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
