"""Environments and tasks by the names people use: a domain, an id, or the start of one."""

import random
from collections.abc import Sequence
from typing import Any

from envs.spec import EnvironmentSpec
from envs.task import Task
from warehouse.warehouse import Warehouse

_NEWEST = """
SELECT e.domain, e.id, e.title, e.n_tables, e.n_rows, e.n_tools,
  (SELECT count(DISTINCT t.id) FROM batch_tasks t JOIN batches p ON p.batch_id = t.batch_id
   WHERE p.asset = 'proven_tasks' AND t.environment_id = e.id) AS n_proven_tasks
FROM current_environments e WHERE e.asset = 'environment' ORDER BY e.domain
"""
_PROVEN = """
SELECT DISTINCT t.id FROM batch_tasks t JOIN batches p ON p.batch_id = t.batch_id
WHERE p.asset = 'proven_tasks' AND t.environment_id = ? ORDER BY t.id
"""
_CANDIDATES = """
SELECT DISTINCT t.id, t.record FROM batch_tasks t JOIN batches b USING (batch_id)
WHERE b.asset = 'candidate_tasks' AND t.environment_id = ? ORDER BY t.id
"""
RANDOM = "random"


class NotFound(LookupError):
    """No single environment or task of that name; the message lists what there is."""


def newest_environments(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The newest environment of each domain, with the number of its proven tasks."""
    return warehouse.query(_NEWEST).to_dicts()


def find_environment(warehouse: Warehouse, name: str) -> EnvironmentSpec:
    """The newest environment of the domain `name`, or the one whose id starts with `name`. Raises NotFound."""
    newest = newest_environments(warehouse)
    ids = [row["id"] for row in newest if row["domain"] == name]
    ids = ids or warehouse.query("SELECT id FROM environments WHERE starts_with(id, ?)", [name])["id"].to_list()
    if len(ids) != 1:
        there = ", ".join(f"{row['domain']} ({row['id']})" for row in newest)
        known = f"There are {there}." if there else "There is none yet: run `make demo`."
        raise NotFound(f"{_how_many('environment', name, ids)} in {warehouse.path}. {known}")
    record = warehouse.query("SELECT record FROM environments WHERE id = ?", [ids[0]])["record"].item()
    return EnvironmentSpec.model_validate_json(record)


def find_task(warehouse: Warehouse, environment_id: str, name: str) -> Task:
    """The environment's task whose id starts with `name`, or any proven one if that is `random`. Raises NotFound."""
    proven = warehouse.query(_PROVEN, [environment_id])["id"].to_list()
    if name == RANDOM:
        ids = [random.choice(proven)] if proven else []
    else:
        stored = "SELECT id FROM tasks WHERE environment_id = ? AND starts_with(id, ?)"
        ids = warehouse.query(stored, [environment_id, name])["id"].to_list()
    if len(ids) != 1:
        known = (
            f"Proven ones: {', '.join(proven[:5])}{', …' if len(proven) > 5 else ''}." if proven else "None is proven."
        )
        raise NotFound(f"{_how_many('task', name, ids)} of environment {environment_id}. {known}")
    return Task.model_validate_json(warehouse.query("SELECT record FROM tasks WHERE id = ?", [ids[0]])["record"].item())


def candidate_tasks(warehouse: Warehouse, environment_id: str) -> list[Task]:
    """Every candidate task that was stored of the environment, sorted by id."""
    return [Task.model_validate_json(record) for record in warehouse.query(_CANDIDATES, [environment_id])["record"]]


def _how_many(kind: str, name: str, ids: Sequence[str]) -> str:
    return f'"{name}" is the start of {len(ids)} ids' if ids else f'there is no {kind} "{name}"'
