"""Lineage: what came from what, followed up and down. The edges themselves are rows; writing them is a batch's affair.

The view `lineage` joins the told edges (`lineage_edges`) with those that typed columns imply, such as a rollout's task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Edge:
    """One parent of one child. Kinds are singular nouns: `llm_call`, `environment`, `task`, `rollout`, `update`, …"""

    parent_kind: str
    parent_id: str
    child_kind: str
    child_id: str
    relation: str
    """What the parent was to the child, such as `worded_by` or `input`."""


@dataclass(frozen=True)
class Node:
    """A record in a lineage tree. A record reached by two ways stands in both places."""

    kind: str
    id: str
    relation: str
    """How it stands to the node above; empty at the root."""
    nodes: tuple[Node, ...] = ()


def upstream(warehouse: Warehouse, id: str, depth: int = 3) -> Node:
    """What the record came from, `depth` generations back."""
    return _walk(warehouse, id, depth, near="child", far="parent")


def downstream(warehouse: Warehouse, id: str, depth: int = 3) -> Node:
    """What was made from the record, `depth` generations on."""
    return _walk(warehouse, id, depth, near="parent", far="child")


def _walk(warehouse: Warehouse, id: str, depth: int, near: str, far: str) -> Node:
    edges = warehouse.query(
        f"""
        WITH RECURSIVE walk AS (
            SELECT {near}_kind AS near_kind, {near}_id AS near_id, {far}_kind AS far_kind, {far}_id AS far_id,
                   relation, 1 AS generation
            FROM lineage WHERE {near}_id = $id
            UNION
            SELECT l.{near}_kind, l.{near}_id, l.{far}_kind, l.{far}_id, l.relation, generation + 1
            FROM walk JOIN lineage l ON l.{near}_kind = far_kind AND l.{near}_id = far_id
            WHERE generation < $depth
        )
        SELECT DISTINCT near_kind, near_id, far_kind, far_id, relation FROM walk
        ORDER BY relation, far_kind, far_id
        """,
        {"id": id, "depth": depth},
    )
    beyond: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for near_kind, near_id, far_kind, far_id, relation in edges.iter_rows():
        beyond.setdefault((near_kind, near_id), []).append((far_kind, far_id, relation))

    def tree(kind: str, id: str, relation: str, left: int) -> Node:
        further = beyond.get((kind, id), []) if left else []
        return Node(kind, id, relation, tuple(tree(*node, left - 1) for node in further))

    root_kind = next((kind for kind, known in beyond if known == id), "unknown")
    return tree(root_kind, id, "", depth)


TRAINED_STEP_SQL = """
SELECT u.id AS update_id, t.id AS task_id, t.instruction, r.id AS rollout_id, r.outcome,
       w.reward, w.advantage, w.status, c.id AS llm_call_id, c.template, c.template_sha256, c.model, c.seed
FROM updates u
JOIN rewards w ON w.update_id = u.id
JOIN rollouts r ON r.id = w.rollout_id
JOIN tasks t ON t.id = r.task_id
LEFT JOIN lineage_edges e ON e.child_kind = 'task' AND e.child_id = t.id AND e.parent_kind = 'llm_call'
LEFT JOIN llm_calls c ON c.id = e.parent_id
WHERE u.campaign = $campaign AND u.iteration = $iteration AND u.kind = 'grpo' AND w.status = 'trained'
ORDER BY t.id, r.sample, r.id, c.id
"""
"""Which tasks, from which prompt version and LLM call, trained iteration `$iteration` of `$campaign`, with what
advantage: one row per trained rollout and LLM call that worded its task."""
