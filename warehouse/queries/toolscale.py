"""How much a warehouse holds of some domains, against the bounds of ToolScale and what is asked beyond it.

ToolOrchestra, arXiv 2511.21689: ten domains, 4,063 tasks.
"""

from collections.abc import Sequence
from typing import Any

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
