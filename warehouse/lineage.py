"""Lineage: what came from what, followed up and down. Which tables tell it is in `edges`.

A walk asks once per generation with all records it has reached, so that each table is read only for those.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from warehouse.edges import MEMBER_KINDS, step_sql
from warehouse.errors import UnknownRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from warehouse.warehouse import Warehouse

_OF_BATCHES = {"batch", "run", "code", "runtime", "lock", "campaign", "sources", "held_out"}

Key: TypeAlias = tuple[str, str]
"""Kind and id of a record."""


@dataclass(frozen=True)
class Edge:
    """One parent of one child. Kinds are singular nouns: `llm_call`, `environment`, `task`, `rollout`, `update`, …"""

    parent_kind: str
    parent_id: str
    child_kind: str
    child_id: str
    relation: str
    """What the parent was to the child, such as `worded` or `input`; of a rollout in an update, what became of it."""


@dataclass(frozen=True)
class Link(Edge):
    """An edge as a walk found it."""

    detail: str | None = None
    """Such as the advantage of a rollout in an update."""

    @property
    def parent(self) -> Key:
        return self.parent_kind, self.parent_id

    @property
    def child(self) -> Key:
        return self.child_kind, self.child_id


@dataclass(frozen=True)
class Node:
    """A record in a lineage."""

    kind: str
    id: str
    about: str = ""
    """A few words of its row."""
    generation: int = 0
    """The least number of edges between it and the root."""


@dataclass(frozen=True)
class Lineage:
    """A record and all that it came from, or that came of it, each record and edge once."""

    root: Key
    up: bool
    nodes: Mapping[Key, Node]
    """By kind and id, the root first, then generation by generation."""
    links: tuple[Link, ...]
    complete: bool = True
    """Whether the walk ended by itself or at its depth, and not at its bound of edges."""

    def ends(self, link: Link) -> tuple[Key, Key]:
        """The nearer and the farther record of a link, seen from the root."""
        return (link.child, link.parent) if self.up else (link.parent, link.child)

    def of_kind(self, kind: str) -> list[str]:
        """The ids of the records of one kind, in order."""
        return [node.id for node in self.nodes.values() if node.kind == kind]


def upstream(warehouse: Warehouse, name: str, depth: int = 3, **more: object) -> Lineage:
    """What the record came from, `depth` generations back. Otherwise as `trace`."""
    return trace(warehouse, name, up=True, depth=depth, **more)  # type: ignore[arg-type]


def downstream(warehouse: Warehouse, name: str, depth: int = 3, **more: object) -> Lineage:
    """What was made from the record, `depth` generations on. Otherwise as `trace`."""
    return trace(warehouse, name, up=False, depth=depth, **more)  # type: ignore[arg-type]


def trace(
    warehouse: Warehouse,
    name: str,
    *,
    up: bool,
    depth: int,
    kind: str | None = None,
    until: Collection[str] = (),
    without: Collection[str] = (),
    batches: bool = False,
    most: int = 50_000,
) -> Lineage:
    """Walk from the record that `name` and `kind` find (see `resolve`).

    Records of a kind in `until` are reached and not left; those of a kind in `without` are not reached, and neither
    are the batches that hold the records, unless `batches` or the root is one or a part of one's story. After `most`
    edges the walk ends incomplete. Raises `UnknownRecord`.
    """
    with warehouse.reading() as connection:
        root = resolve(connection, name, kind)
        without = {*without, *(() if batches or root[0] in _OF_BATCHES else ("batch",))}
        generations, links = walk(connection, root, up=up, depth=depth, until=until, without=without, most=most)
        abouts = _abouts(connection, list(generations))
    nodes = {key: Node(*key, abouts.get(key, ""), generation) for key, generation in generations.items()}
    return Lineage(root, up, nodes, tuple(links), complete=len(links) <= most)


def walk(
    connection: DuckDBPyConnection,
    root: Key,
    *,
    up: bool,
    depth: float = inf,
    until: Collection[str] = (),
    without: Collection[str] = (),
    most: float = inf,
) -> tuple[dict[Key, int], list[Link]]:
    """The records reached from a root with their generations, and the edges, as `trace` describes it."""
    generations, links, frontier = {root: 0}, dict[Link, None](), [root]
    while frontier and len(links) <= most and generations[frontier[0]] < depth:
        sql = step_sql(up, {kind for kind, _ in frontier}, without)
        found = [link for link in _asked(connection, sql, frontier) if _far(link, up)[0] not in without] if sql else []
        links |= dict.fromkeys(found)
        new = [key for key in dict.fromkeys(_far(link, up) for link in found) if key not in generations]
        generations |= dict.fromkeys(new, generations[frontier[0]] + 1)
        frontier = [key for key in new if key[0] not in until]
    return generations, list(links)


def _far(link: Link, up: bool) -> Key:
    return link.parent if up else link.child


def _asked(connection: DuckDBPyConnection, sql: str, frontier: Collection[Key]) -> list[Link]:
    connection.register("frontier", _as_arrow(frontier))
    rows = connection.execute(f"{sql} ORDER BY ALL").fetchall()
    return [Link(*row) for row in rows]


def _as_arrow(keys: Collection[Key]) -> pa.Table:
    kinds, ids = zip(*keys, strict=True)
    return pa.table({"kind": pa.array(kinds, pa.string()), "id": pa.array(ids, pa.string())})


_MANY = ("checks", "rollouts")
_FEW = " UNION ".join(
    [
        *(f"SELECT '{kind}' AS kind, id FROM {table}" for table, kind in MEMBER_KINDS.items() if table not in _MANY),
        "SELECT 'batch', batch_id FROM batches",
        "SELECT 'run', run_id FROM batches",
        "SELECT 'code', code_version FROM batches",
        "SELECT 'runtime', id FROM runtimes",
        "SELECT 'lock', lock_sha256 FROM runtimes",
        "SELECT 'prompt', template_sha256 FROM llm_calls",
        "SELECT 'model', model FROM llm_calls",
        "SELECT 'rule', policy_id FROM evaluations WHERE starts_with(policy_id, 'rule:')",
        "SELECT parent_kind, parent_id FROM lineage_edges",
        "SELECT child_kind, child_id FROM lineage_edges",
    ]
)
# A proof has its task's id, and the task is meant unless the kind is said.
_ALL = " UNION ".join(
    [
        _FEW,
        *(f"SELECT '{MEMBER_KINDS[table]}', id FROM {table}" for table in _MANY),
        "SELECT 'proof', task_id FROM checks WHERE $kind = 'proof'",
    ]
)
_EXACT = f"SELECT kind, id FROM ({_FEW}) WHERE id = $name AND kind = coalesce($kind, kind) ORDER BY ALL"
_BEGINNING = f"SELECT kind, id FROM ({_ALL}) WHERE starts_with(id, $name) AND kind = coalesce($kind, kind) ORDER BY ALL"
_STANDS_FOR = """
SELECT if(table_name = 'checkpoints', 'checkpoint', 'environment'), record_id FROM batch_members
WHERE batch_id = ? AND table_name IN ('checkpoints', 'environments')
"""


def resolve(connection: DuckDBPyConnection, name: str, kind: str | None = None) -> Key:
    """The record that is meant by its id, the start of it, a prompt's name, or an asset as in `checkpoint[demo-0001]`.

    An asset stands for the checkpoint or environment of its newest batch, or else for that batch. Raises
    `UnknownRecord` if none or several are meant.
    """
    if key := _of_asset(connection, name):
        return key
    found = connection.execute(_EXACT, {"name": name, "kind": kind}).fetchall()
    found = found or connection.execute(_BEGINNING, {"name": name, "kind": kind}).fetchall()
    exact = [key for key in found if key[1] == name]
    if not found and kind in (None, "prompt"):
        template = "SELECT DISTINCT 'prompt', template_sha256 FROM llm_calls WHERE template = ? ORDER BY ALL"
        found = connection.execute(template, [name]).fetchall()
    whole = [key for key in found if "." in name or "." not in key[1]]  # a check's id begins with its task's
    meant = exact or whole or found
    if not meant:
        raise UnknownRecord(
            f'nothing is called "{name}"{f" among the {kind}s" if kind else ""}. Use an id, its first letters, or '
            "an asset such as checkpoint[demo-0001]; `envloom query` finds ids."
        )
    if len(meant) > 1:
        listed = ", ".join(f"{kind} {id}" for kind, id in meant[:10]) + (", …" if len(meant) > 10 else "")
        raise UnknownRecord(f'"{name}" may be any of {len(meant)}: {listed}. Use more letters of it, or say the kind.')
    return meant[0]


def _of_asset(connection: DuckDBPyConnection, name: str) -> Key | None:
    spelt = re.fullmatch(r"(\w+)(?:\[(.+)\])?", name)
    if spelt is None:
        return None
    newest = "SELECT batch_id FROM current_batches WHERE asset = ? AND partition IS NOT DISTINCT FROM ?"
    batch = connection.execute(newest, list(spelt.groups())).fetchone()
    if batch is None:
        return None
    stands_for = connection.execute(_STANDS_FOR, batch).fetchall()
    return stands_for[0] if len(stands_for) == 1 else ("batch", batch[0])


_MADE_IN = """
SELECT b.asset, b.partition, b.batch_id, b.created_at, b.run_id, b.code_version, b.runtime_id, r.dirty, r.lock_sha256,
  r.python, r.machine::JSON ->> '$.cpu' AS cpu, r.machine, r.libraries
FROM batches b LEFT JOIN runtimes r ON r.id = b.runtime_id
WHERE b.batch_id IN (SELECT batch_id FROM batch_members WHERE table_name = $table AND record_id = $id) OR (
  $table IS NULL AND b.batch_id = $id)
ORDER BY b.created_at, b.batch_id
"""


def made_in(warehouse: Warehouse, kind: str, id: str) -> list[dict[str, Any]]:
    """The batches that hold a record, oldest first: asset, run, code, lock, machine and library versions of each."""
    table = next((table for table, other in MEMBER_KINDS.items() if other == kind), None)
    return warehouse.query(_MADE_IN, {"table": table, "id": id}).to_dicts()


_ABOUTS: dict[str, tuple[str, str, str]] = {
    "prompt": ("llm_calls", "template_sha256", "any_value(template)"),
    "llm_call": ("llm_calls", "id", "any_value(concat_ws(', ', template, 'seed ' || seed))"),
    "environment": ("environments", "id", "any_value(domain)"),
    "tool": ("tools", "id", "any_value(name)"),
    "task": ("tasks", "id", "any_value(concat_ws(': ', domain, left(instruction, 60)))"),
    "check": ("checks", "id", "any_value(concat_ws(' ', name, outcome))"),
    "proof": ("checks", "task_id", "count(*) FILTER (outcome <> 'failed') || ' of ' || count(*) || ' checks hold'"),
    "audit": ("audits", "id", "any_value(concat_ws(' ', fault, operator))"),
    "rejection": ("rejections", "id", "any_value(concat_ws(': ', stage, reason))"),
    "difficulty": ("difficulties", "id", "any_value(solved || ' of ' || attempts || ' solved')"),
    "rollout": ("rollouts", "id", "any_value(concat_ws(', ', outcome, 'seed ' || seed))"),
    "update": ("updates", "id", "any_value(concat_ws(' ', campaign, kind, iteration))"),
    "checkpoint": ("checkpoints", "id", "any_value(concat_ws(' ', campaign, kind, iteration))"),
    "evaluation": ("evaluations", "id", "any_value(concat_ws(' ', campaign, iteration, split, solved || '/' || n))"),
    "batch": ("batches", "batch_id", "any_value(asset || coalesce('[' || partition || ']', ''))"),
    "runtime": ("runtimes", "id", "any_value(concat_ws(', ', python, if(dirty, 'changed files', NULL)))"),
    **dict.fromkeys(("campaign", "sources", "held_out"), ("givens", "id", "any_value(name)")),
}  # fmt: skip
"""Per kind the table, the column of the id and an expression over the rows of one id."""


def _abouts(connection: DuckDBPyConnection, keys: Collection[Key]) -> dict[Key, str]:
    connection.register("wanted", _as_arrow(keys))
    asked = " UNION ALL ".join(
        f"SELECT '{kind}', t.{id}, {about} FROM {table} t SEMI JOIN wanted w ON t.{id} = w.id AND w.kind = '{kind}' "
        "GROUP BY ALL"
        for kind, (table, id, about) in _ABOUTS.items()
        if any(kind == found for found, _ in keys)
    )
    return {(kind, id): about for kind, id, about in connection.execute(asked).fetchall()} if asked else {}


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
