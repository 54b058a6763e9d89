"""What came from what: the branches of the view `lineage`. Who walks them is `lineage`.

A branch is one way in which a table tells parentage. The view joins them all; a walk asks only those that can answer,
each with its own filter, since a filter on the whole view would read every table.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MEMBER_KINDS = {
    "llm_calls": "llm_call",
    "environments": "environment",
    "tools": "tool",
    "tasks": "task",
    "checks": "check",
    "audits": "audit",
    "rejections": "rejection",
    "difficulties": "difficulty",
    "rollouts": "rollout",
    "updates": "update",
    "checkpoints": "checkpoint",
    "evaluations": "evaluation",
}
"""The kind of the records of a table. Turns, rewards and splits are parts of rollouts, updates and datasets."""


@dataclass(frozen=True)
class Branch:
    """Rows of one table, read as edges. Ids are columns of the table; the rest are SQL expressions over them."""

    parent_kinds: tuple[str, ...]
    """The kinds its parents may have; none: any, told by the column `parent_kind`."""
    parent_kind: str
    parent_id: str
    child_kinds: tuple[str, ...]
    child_kind: str
    child_id: str
    relation: str
    table: str
    rows: str = "true"
    """Which rows of the table tell it, by their own columns."""
    where: str = "true"
    """Which of these, by what other tables hold."""
    detail: str = "NULL"
    """A few words about the edge, such as the advantage of a rollout in an update."""

    def sql(self, table: str = "") -> str:
        """Its edges, with the columns of the view `lineage`, out of the table or of some of its rows."""
        return (
            f"SELECT {self.parent_kind} AS parent_kind, {self.parent_id} AS parent_id, "
            f"{self.child_kind} AS child_kind, {self.child_id} AS child_id, "
            f"{self.relation} AS relation, {self.detail} AS detail FROM {table or self.table} "
            f"WHERE {self.parent_id} IS NOT NULL AND {self.child_id} IS NOT NULL AND {self.rows} AND {self.where}"
        )


def _implied(parent: str, parent_id: str, relation: str, child: str, child_id: str, table: str) -> Branch:
    return Branch((parent,), f"'{parent}'", parent_id, (child,), f"'{child}'", child_id, f"'{relation}'", table)


def _policy(relation: str, child: str, table: str) -> Branch:
    """A policy is a checkpoint, or a fixed rule."""
    kind = "CASE WHEN starts_with(policy_id, 'rule:') THEN 'rule' ELSE 'checkpoint' END"
    return Branch(("checkpoint", "rule"), kind, "policy_id", (child,), f"'{child}'", "id", f"'{relation}'", table)


BRANCHES = (
    Branch((), "parent_kind", "parent_id", (), "child_kind", "child_id", "relation", "lineage_edges"),
    _implied("prompt", "template_sha256", "rendered_in", "llm_call", "id", "llm_calls"),
    _implied("model", "model", "answered", "llm_call", "id", "llm_calls"),
    _implied("environment", "environment_id", "has", "tool", "id", "tools"),
    _implied("environment", "environment_id", "poses", "task", "id", "tasks"),
    _implied("environment", "environment_id", "measured_in", "audit", "id", "audits"),
    _implied("environment", "environment_id", "executed_in", "check", "id", "checks"),
    _implied("task", "task_id", "put_to", "check", "id", "checks"),
    # A proof is named by its task: it is all checks of it, and no row of its own.
    _implied("task", "task_id", "proven_in", "proof", "task_id", "checks"),
    _implied("check", "id", "part_of", "proof", "task_id", "checks"),
    Branch(
        ("proof",), "'proof'", "task_id", ("rollout",), "'rollout'", "id", "'admitted'", "rollouts",
        where="task_id IN (SELECT task_id FROM checks)",
    ),
    _implied("task", "task_id", "attempted_in", "rollout", "id", "rollouts"),
    _policy("acted_in", "rollout", "rollouts"),
    Branch(
        ("rollout",), "'rollout'", "rollout_id", ("update",), "'update'", "update_id", "status", "rewards",
        detail="format('advantage {:+.3f}', advantage)",
    ),
    _implied("checkpoint", "parent_checkpoint", "updated_in", "update", "id", "updates"),
    _implied("update", "id", "produced", "checkpoint", "checkpoint_id", "updates"),
    _implied("checkpoint", "parent_id", "parent", "checkpoint", "id", "checkpoints"),
    _implied("batch", "rollouts_batch_id", "rollouts_of", "checkpoint", "id", "checkpoints"),
    _policy("evaluated_in", "evaluation", "evaluations"),
    _policy("measured_in", "difficulty", "difficulties"),
    _implied("task", "task_id", "measured_in", "difficulty", "id", "difficulties"),
    _implied("run", "run_id", "recorded", "batch", "batch_id", "batches"),
    _implied("code", "code_version", "made", "batch", "batch_id", "batches"),
    _implied("runtime", "runtime_id", "made", "batch", "batch_id", "batches"),
    _implied("code", "code_version", "ran_in", "runtime", "id", "runtimes"),
    _implied("lock", "lock_sha256", "pinned", "runtime", "id", "runtimes"),
    *(
        Branch(
            ("batch",), "'batch'", "batch_id", (kind,), f"'{kind}'", "record_id", "'holds'", "batch_members",
            rows=f"table_name = '{table}'",
        )
        for table, kind in MEMBER_KINDS.items()
    ),
)  # fmt: skip

LINEAGE_VIEW = f"CREATE OR REPLACE VIEW lineage AS {' UNION ALL '.join(branch.sql() for branch in BRANCHES)}"


def step_sql(up: bool, kinds: Iterable[str], without: Iterable[str] = ()) -> str | None:
    """One generation: the edges from the records of the relation `frontier` (kind, id) on; None if no branch has any.

    `kinds` are those of the frontier. Edges to a kind in `without` are not asked for where the branch tells it.
    Branches of one table share one reading of it.
    """
    kinds, without = set(kinds), set(without)
    read: dict[str, str] = {}
    asked = []
    for branch in BRANCHES:
        near, far = (branch.child_kinds, branch.parent_kinds) if up else (branch.parent_kinds, branch.child_kinds)
        kind, id = (branch.child_kind, branch.child_id) if up else (branch.parent_kind, branch.parent_id)
        if (near and not kinds & set(near)) or (far and without.issuperset(far)):
            continue
        same_kind = f"f.kind IN ({', '.join(map(repr, near))})" if near else f"t.{kind} = f.kind"
        met = f"SELECT t.* FROM {branch.table} t SEMI JOIN frontier f ON t.{id} = f.id AND {same_kind}"
        name = read.setdefault(f"{met} WHERE {branch.rows}", f"met_{len(read)}")
        asked.append(branch.sql(name))
    readings = ", ".join(f"{name} AS MATERIALIZED ({met})" for met, name in read.items())
    return f"WITH {readings} {' UNION '.join(asked)}" if asked else None
