"""Quarantine: records found bad are marked, never deleted. What a mark reaches is a question of lineage, asked anew.

A mark is a row of `quarantines`; it is lifted by a second row. Who leaves out what is under quarantine lives elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from envs.record import content_id
from warehouse.edges import MEMBER_KINDS
from warehouse.errors import NotForQuarantine
from warehouse.lineage import Key, walk

if TYPE_CHECKING:
    from warehouse.warehouse import Warehouse

LEADING_TO_TASKS = ("prompt", "model", "llm_call", "hooks", "environment", "task")
"""The kinds whose mark reaches tasks."""
KINDS = (*LEADING_TO_TASKS, "rollout", "checkpoint")
"""What can be marked: a mark on anything else would keep nothing out."""
_ALL_KINDS = {*MEMBER_KINDS.values(), "proof", "batch"}
_NOT_TOUCHED = ("check", "proof", "tool", "audit", "rejection", "difficulty", "batch")


@dataclass(frozen=True)
class Mark:
    """A quarantine in force."""

    id: str
    kind: str
    record_id: str
    reason: str
    created_at: datetime
    """UTC."""


@dataclass(frozen=True)
class Touched:
    """What came of a record: rows that say how much of each there is of it."""

    tasks: list[dict[str, Any]]
    """`id`, `domain`, `instruction`."""
    batches: list[dict[str, Any]]
    """`batch_id`, `asset`, `partition`, `created_at` and how many touched `records` it holds."""
    checkpoints: list[dict[str, Any]]
    """`id`, `campaign`, `kind`, `iteration`, and how many touched tasks' `rollouts` it was trained on: with 0 it only
    descends from such a one, or was warmed up with the tasks themselves."""
    rollouts: int
    evaluations: list[str]


def marks(warehouse: Warehouse) -> list[Mark]:
    """The quarantines in force, oldest first."""
    rows = warehouse.query("SELECT id, kind, record_id, reason, created_at FROM quarantined ORDER BY created_at, id")
    return [Mark(*row) for row in rows.iter_rows()]


def quarantine(warehouse: Warehouse, key: Key, reason: str) -> None:
    """Mark a record. Raises `NotForQuarantine` for a kind whose mark would keep nothing out."""
    kind, id = key
    if kind not in KINDS:
        raise NotForQuarantine(f"{kind} {id}: a mark on a {kind} keeps nothing out. Mark one of {', '.join(KINDS)}.")
    _store(warehouse, kind, id, reason, datetime.now(UTC).replace(tzinfo=None), None)


def lift(warehouse: Warehouse, key: Key, reason: str) -> int:
    """Lift every mark on a record itself; how many there were."""
    found = [mark for mark in marks(warehouse) if (mark.kind, mark.record_id) == key]
    for mark in found:
        _store(warehouse, *key, reason, mark.created_at, datetime.now(UTC).replace(tzinfo=None))
    return len(found)


def _store(
    warehouse: Warehouse, kind: str, id: str, reason: str, created_at: datetime, lifted_at: datetime | None
) -> None:
    row = {"kind": kind, "record_id": id, "reason": reason, "created_at": created_at, "lifted_at": lifted_at}
    identity = content_id([kind, id, reason, str(created_at), str(lifted_at)])
    warehouse.write_part("quarantines", [{"id": identity, **row}], identity)
    warehouse.ingest()


def tasks_under_quarantine(warehouse: Warehouse) -> dict[str, Mark]:
    """The tasks that are marked, or came of a marked prompt, call or the like; by id, the oldest mark."""
    return _under(warehouse, "task", LEADING_TO_TASKS)


def checkpoints_under_quarantine(warehouse: Warehouse) -> dict[str, Mark]:
    """The checkpoints that are marked or descend from a marked one; by id, the oldest mark."""
    return _under(warehouse, "checkpoint", ("checkpoint", "update"))


def rollouts_under_quarantine(warehouse: Warehouse) -> dict[str, Mark]:
    """The rollouts that are marked themselves; by id, the oldest mark."""
    return _under(warehouse, "rollout", ("rollout",))


def _under(warehouse: Warehouse, wanted: str, through: tuple[str, ...]) -> dict[str, Mark]:
    """Records of a kind that marks reach through records of some kinds."""
    found: dict[str, Mark] = {}
    starting = [mark for mark in marks(warehouse) if mark.kind in through]
    if starting:
        with warehouse.reading() as connection:
            for mark in starting:
                without = _ALL_KINDS - set(through)
                reached, _ = walk(connection, (mark.kind, mark.record_id), up=False, without=without)
                found = {id: mark for kind, id in reached if kind == wanted} | found
    return found


def touched(warehouse: Warehouse, key: Key) -> Touched:
    """Every task, rollout, batch, checkpoint and evaluation that came of a record."""
    with warehouse.reading() as connection:
        reached, _ = walk(connection, key, up=False, without=_NOT_TOUCHED)
        kinds, ids = zip(*reached, strict=True)
        connection.register("touched", pa.table({"kind": pa.array(kinds), "id": pa.array(ids)}))
        rows = {name: connection.execute(sql).pl().to_dicts() for name, sql in _TOUCHED.items()}
    return Touched(
        **rows,
        rollouts=kinds.count("rollout"),
        evaluations=[id for kind, id in reached if kind == "evaluation"],
    )


_TABLE_OF_KIND = " ".join(f"WHEN '{kind}' THEN '{table}'" for table, kind in MEMBER_KINDS.items())
_TOUCHED = {
    "tasks": "SELECT id, domain, instruction FROM tasks SEMI JOIN touched t USING (id) ORDER BY domain, id",
    "batches": f"""
        SELECT b.batch_id, b.asset, b.partition, b.created_at, count(*) AS records
        FROM batches b JOIN batch_members m USING (batch_id)
          JOIN touched t ON t.id = m.record_id AND m.table_name = CASE t.kind {_TABLE_OF_KIND} END
        GROUP BY ALL ORDER BY b.created_at, b.batch_id
    """,
    "checkpoints": """
        WITH trained AS (
          SELECT u.checkpoint_id, count(*) AS rollouts
          FROM updates u JOIN rewards w ON w.update_id = u.id AND w.status = 'trained'
            JOIN rollouts r ON r.id = w.rollout_id JOIN touched t ON t.kind = 'task' AND t.id = r.task_id
          GROUP BY ALL
        )
        SELECT c.id, c.campaign, c.kind, c.iteration, coalesce(r.rollouts, 0) AS rollouts
        FROM checkpoints c SEMI JOIN touched t ON t.kind = 'checkpoint' AND t.id = c.id
          LEFT JOIN trained r ON r.checkpoint_id = c.id
        ORDER BY c.campaign, c.iteration NULLS FIRST, c.id
    """,
}
