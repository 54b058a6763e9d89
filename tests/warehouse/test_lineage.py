"""Lineage of a small campaign told by hand: walks up and down, names, kinds; and what the document says of it."""

import re
from pathlib import Path

import pytest

from warehouse.edges import BRANCHES
from warehouse.errors import UnknownRecord
from warehouse.lineage import TRAINED_STEP_SQL, Lineage, Link, downstream, made_in, resolve, trace, upstream, walk
from warehouse.warehouse import Warehouse

DOCUMENT = (Path(__file__).parents[2] / "docs" / "warehouse.md").read_text()
STEP = {"campaign": "demo", "iteration": 1}


def reached(lineage: Lineage) -> set[str]:
    return {f"{kind} {id}" for kind, id in lineage.nodes}


def test_a_trained_step_is_traced_to_tasks_prompt_versions_and_advantages(campaign: Warehouse) -> None:
    rows = campaign.query(TRAINED_STEP_SQL, STEP)
    told = rows.select("task_id", "rollout_id", "advantage", "template_sha256", "llm_call_id").rows()
    assert told == [("task-1", "rollout-0", 0.5, "v1", "call-1"), ("task-1", "rollout-1", -0.5, "v1", "call-1")]


def test_a_checkpoint_leads_upstream_to_prompts_models_and_proofs(campaign: Warehouse) -> None:
    found = upstream(campaign, "step-1", depth=8)
    assert found.root == ("checkpoint", "step-1")
    assert reached(found) == {
        "checkpoint step-1", "update update-1", "checkpoint base", "rollout rollout-0", "rollout rollout-1",
        "rollout rollout-2", "rollout rollout-3", "task task-1", "task task-2", "proof task-1", "check check",
        "environment env", "llm_call call-1", "llm_call call-2", "prompt v1", "prompt v2", "model m",
    }  # fmt: skip
    (trained,) = [link for link in found.links if link.parent_id == "rollout-0" and link.child_kind == "update"]
    assert (trained.relation, trained.detail) == ("trained", "advantage +0.500")
    assert found.nodes["proof", "task-1"].about == "1 of 1 checks hold"


def test_each_record_and_edge_is_there_once_however_many_ways_lead_to_it(campaign: Warehouse) -> None:
    found = upstream(campaign, "step-1", depth=8)
    assert len(set(found.links)) == len(found.links)
    assert sum(link.parent == ("environment", "env") for link in found.links) == 2, "once for each task"
    assert found.nodes["environment", "env"].generation == 4


def test_a_prompt_leads_downstream_to_the_evaluation_it_influenced(campaign: Warehouse) -> None:
    found = reached(downstream(campaign, "v1", depth=8))
    assert {"llm_call call-1", "task task-1", "rollout rollout-0", "checkpoint step-1", "evaluation eval"} <= found
    assert "task task-2" not in found


def test_depth_kinds_and_bounds_end_a_walk(campaign: Warehouse) -> None:
    near = {"rollout rollout-0", "task task-1", "proof task-1", "checkpoint base"}
    assert reached(upstream(campaign, "rollout-0", depth=1)) == near
    bare = trace(campaign, "step-1", up=True, depth=8, until=("rollout",), without=("update",))
    assert reached(bare) == {"checkpoint step-1", "checkpoint base"}
    stopped = trace(campaign, "step-1", up=True, depth=8, until=("rollout",))
    assert "task task-1" not in reached(stopped) and "rollout rollout-0" in reached(stopped)
    short = trace(campaign, "step-1", up=True, depth=8, most=3)
    assert not short.complete and "environment env" not in reached(short)


def test_a_record_leads_to_its_batches_their_inputs_runs_and_code(campaign: Warehouse) -> None:
    batches = {batch.asset: batch.batch_id for batch in map(campaign.latest_batch, ["task_dataset"]) if batch}
    for asset, partition in (("proven_tasks", "retail"), ("environment", "retail")):
        found = campaign.latest_batch(asset, partition)
        assert found is not None
        batches[asset] = found.batch_id
    assert all(not line.startswith("batch") for line in reached(upstream(campaign, "task-1", depth=8)))
    with_batches = reached(upstream(campaign, "task-1", depth=8, batches=True))
    assert {f"batch {id}" for id in batches.values()} | {"run run-1", "code abc"} <= with_batches
    assert [batch["asset"] for batch in made_in(campaign, "task", "task-1")] == ["proven_tasks", "task_dataset"]
    held = reached(downstream(campaign, batches["environment"], depth=1))
    assert {"environment env", "tool tool", f"batch {batches['proven_tasks']}"} <= held


def test_a_record_is_meant_by_its_id_a_prefix_a_prompt_name_or_an_asset(campaign: Warehouse) -> None:
    environment = campaign.latest_batch("task_dataset")
    assert environment is not None
    with campaign.reading() as connection:
        assert resolve(connection, "step") == ("checkpoint", "step-1")
        assert resolve(connection, "checkpoint[demo-0001]") == ("checkpoint", "step-1")
        assert resolve(connection, "environment[retail]") == ("environment", "env")
        assert resolve(connection, "task_dataset") == ("batch", environment.batch_id)
        with pytest.raises(UnknownRecord, match="2: task task-1, task task-2"):
            resolve(connection, "task-")
        with pytest.raises(UnknownRecord, match="prompt v1, prompt v2"):
            resolve(connection, "phrases")
        with pytest.raises(UnknownRecord, match="nothing is called"):
            resolve(connection, "nobody")
        with pytest.raises(UnknownRecord, match="among the tasks"):
            resolve(connection, "step-1", "task")


def test_a_check_does_not_make_the_prefix_of_its_task_ambiguous(campaign: Warehouse, row) -> None:
    campaign.write_part("checks", [row("checks", id="task-1.minimal", task_id="task-1", name="minimal")], "more")
    campaign.ingest()
    with campaign.reading() as connection:
        assert resolve(connection, "task-1") == ("task", "task-1")
        assert resolve(connection, "task-1.m") == ("check", "task-1.minimal")


def test_a_rule_is_no_checkpoint(campaign: Warehouse, row) -> None:
    tried = {"campaign": "demo", "iteration": -1, "policy_id": "rule:random"}
    campaign.write_part("evaluations", [row("evaluations", id="by-rule", split="test", **tried)], "rule")
    campaign.ingest()
    assert reached(upstream(campaign, "by-rule")) == {"evaluation by-rule", "rule rule:random"}
    assert reached(downstream(campaign, "rule:random")) == {"rule rule:random", "evaluation by-rule"}


def test_a_walk_finds_what_the_view_tells(campaign: Warehouse) -> None:
    """Every edge of the view is walked both ways."""
    edges = campaign.query("SELECT * FROM lineage").rows()
    assert len(edges) > 40
    with campaign.reading() as connection:
        for link in [Link(*edge) for edge in edges]:
            assert link in walk(connection, link.child, up=True, depth=1)[1]
            assert link in walk(connection, link.parent, up=False, depth=1)[1]


def test_the_document_names_every_view_and_every_relation(campaign: Warehouse) -> None:
    views = campaign.query("SELECT view_name FROM duckdb_views() WHERE NOT internal")["view_name"]
    plain = [name for name in views if not re.match("(batch|current)_", name)]
    assert [name for name in plain if f"`{name}`" not in DOCUMENT] == []
    relations = {branch.relation.strip("'") for branch in BRANCHES if branch.relation.startswith("'")}
    assert [name for name in sorted(relations) if f"`{name}`" not in DOCUMENT] == []
