"""Rows of the records that generators and trainer own, and rollouts read back; the others are in `warehouse.rows`."""

from collections.abc import Iterable
from typing import Any

from generators.domain import Synthesis
from serving.ledger import Ledger
from trainer.rollout import Rollout, rollouts_from
from warehouse.lineage import Edge
from warehouse.rows.environments import environment_row
from warehouse.rows.tasks import read_tasks, task_rows
from warehouse.warehouse import Batch, Warehouse

__all__ = [
    "design_edges",
    "environment_row",
    "read_rollouts",
    "read_tasks",
    "rollout_rows",
    "rollout_tables",
    "rollouts_by_id",
    "task_rows",
]

Rows = list[dict[str, Any]]


def design_edges(synthesis: Synthesis, ledger: Ledger) -> list[Edge]:
    """From the LLM calls to the environment, named by what they wrote of it, and to the tools they wrote whole."""
    spec = synthesis.spec
    calls = ledger.calls(sorted(spec.made_from))
    return [
        *(Edge("llm_call", call.id, "environment", spec.id, f"wrote_{call.request.template}") for call in calls),
        *(Edge("llm_call", call, "tool", f"{spec.id}.{name}", "wrote") for name, call in synthesis.tool_calls.items()),
    ]


def rollout_rows(rollouts: Iterable[Rollout]) -> tuple[Rows, Rows]:
    """Rows of `rollouts` and of `turns`."""
    pairs = [rollout.rows() for rollout in rollouts]
    return [row for row, _ in pairs], [turn for _, turns in pairs for turn in turns]


def rollout_tables(rollout: Rollout) -> dict[str, Rows]:
    """One rollout as rows by table, to be stored whole: turns of one attempt never stand beside another's verdict."""
    row, turns = rollout.rows()
    return {"rollouts": [row], "turns": turns}


def read_rollouts(warehouse: Warehouse, batch: Batch) -> list[Rollout]:
    """The rollouts of a batch with their turns, sorted by id."""
    rows = warehouse.read_batch(batch.batch_id, "rollouts").to_dicts()
    return rollouts_from(rows, warehouse.read_batch(batch.batch_id, "turns").to_dicts())


def rollouts_by_id(warehouse: Warehouse, ids: list[str]) -> list[Rollout]:
    """The stored rollouts of these ids with their turns, sorted by id."""
    rows = warehouse.query("SELECT * FROM rollouts WHERE id IN (SELECT unnest(?))", [ids])
    turns = warehouse.query("SELECT * FROM turns WHERE rollout_id IN (SELECT unnest(?))", [ids])
    return rollouts_from(rows.to_dicts(), turns.to_dicts())
