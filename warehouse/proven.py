"""Which tasks are proven: they were put to the proof, and no check failed whose policy is to reject."""

from collections.abc import Iterable, Mapping
from typing import Any

from envs.proof import POLICY
from warehouse.warehouse import Warehouse

_LABELS = sorted(name for name, severity in POLICY.items() if severity != "reject")
"""Checks that a proven task may fail. A check that this code does not know rejects."""
_UNPROVEN = """
SELECT t.id FROM (SELECT DISTINCT unnest($ids) AS id) t LEFT JOIN checks c ON c.task_id = t.id
GROUP BY t.id HAVING count(c.id) = 0 OR count(*) FILTER (c.outcome = 'failed'
  AND c.name NOT IN (SELECT unnest($labels::VARCHAR[]))) > 0 ORDER BY t.id
"""


def unproven(warehouse: Warehouse, task_ids: Iterable[str]) -> list[str]:
    """Those of the tasks that are not proven, sorted."""
    return warehouse.query(_UNPROVEN, {"ids": list(task_ids), "labels": _LABELS})["id"].to_list()


def proven(checks: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a task with these rows of `checks` is proven."""
    failed = [check["outcome"] == "failed" and check["name"] not in _LABELS for check in checks]
    return bool(failed) and not any(failed)
