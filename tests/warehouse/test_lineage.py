"""The questions the warehouse exists for, asked of a small campaign told by hand; the document's queries among them."""

import re
from pathlib import Path

import polars as pl
import pytest

from warehouse.lineage import TRAINED_STEP_SQL, Node, downstream, upstream
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

DOCUMENT = (Path(__file__).parents[2] / "docs" / "warehouse.md").read_text()
COOKBOOK = re.findall(r"^([^\n]+)\n```sql\n(.+?)```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
STEP = {"campaign": "demo", "iteration": 1}


def found(node: Node) -> set[tuple[str, str]]:
    return {(node.kind, node.id)}.union(*(found(below) for below in node.nodes))


def test_a_trained_step_is_traced_to_tasks_prompt_versions_and_advantages(campaign: Warehouse) -> None:
    rows = campaign.query(TRAINED_STEP_SQL, STEP)
    told = rows.select("task_id", "rollout_id", "advantage", "template_sha256", "llm_call_id").rows()
    assert told == [("task-1", "rollout-0", 0.5, "v1", "call-1"), ("task-1", "rollout-1", -0.5, "v1", "call-1")]


def test_a_checkpoint_leads_upstream_to_the_calls_that_worded_its_tasks(campaign: Warehouse) -> None:
    tree = upstream(campaign, "step-1", depth=4)
    assert (tree.kind, tree.id) == ("checkpoint", "step-1")
    expected = {("update", "update-1"), ("rollout", "rollout-3"), ("task", "task-2"), ("llm_call", "call-2")}
    assert expected | {("checkpoint", "base"), ("environment", "env")} <= found(tree)


def test_a_call_leads_downstream_to_the_evaluation_it_influenced(campaign: Warehouse) -> None:
    reached = found(downstream(campaign, "call-1", depth=5))
    assert {("task", "task-1"), ("rollout", "rollout-0"), ("checkpoint", "step-1"), ("evaluation", "eval")} <= reached
    assert ("task", "task-2") not in reached


def test_the_depth_bounds_the_walk_and_an_unknown_id_stands_alone(campaign: Warehouse) -> None:
    near = {("rollout", "rollout-0"), ("task", "task-1"), ("checkpoint", "base")}
    assert found(upstream(campaign, "rollout-0", depth=1)) == near
    assert upstream(campaign, "nobody") == Node("unknown", "nobody", "")


def test_a_batch_names_the_batches_it_was_made_from(campaign: Warehouse) -> None:
    proven, dataset = campaign.latest_batch("proven_tasks", "retail"), campaign.latest_batch("task_dataset")
    assert proven is not None and dataset is not None
    edges = campaign.query("SELECT parent_id, relation FROM lineage_edges WHERE child_id = ?", [dataset.batch_id])
    assert edges.rows() == [(proven.batch_id, "input")]


def test_the_cookbook_has_five_queries() -> None:
    assert len(COOKBOOK) == 5


@pytest.mark.parametrize(("question", "sql"), COOKBOOK, ids=[question[:40] for question, _ in COOKBOOK])
def test_the_cookbook_answers(campaign: Warehouse, question: str, sql: str) -> None:
    params = {name: value for name, value in STEP.items() if f"${name}" in sql}
    answer = campaign.query(sql, params)
    assert isinstance(answer, pl.DataFrame) and not answer.is_empty(), question


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_document_describes_every_column_of_the_schema(table) -> None:
    (line,) = re.findall(rf"^\| `{table.name}` \|.*$", DOCUMENT, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", line)[1:] == [*table.key, *(c for c in table.columns if c not in table.key)]
