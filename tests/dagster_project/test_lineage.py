"""Synthesis through Dagster in a scratch instance: exact inputs, resumption, blocking checks, honest failures."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import ASSETS
from dagster_project.home import REPOSITORY, Home
from dagster_project.record import NotMaterialised, consume
from dagster_project.resources import resources
from dagster_project.runner import Step, StepFailed, run_steps
from envs.spec import EnvironmentSpec
from envs.task import Task
from warehouse.edges import MEMBER_KINDS
from warehouse.warehouse import Warehouse

SYNTHESIS = ("brief", "environment", "candidate_tasks", "proven_tasks")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    yield Home.here().prepare()


def materialise(instance: dg.DagsterInstance, asset: str, partition: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(ASSETS, selection=[asset], partition_key=partition, instance=instance, resources=resources())


def test_metadata_names_exactly_the_batches_that_were_read(home: Home) -> None:
    warehouse = Warehouse(home.warehouse, home.parts)
    with dg.DagsterInstance.local_temp() as instance:
        for asset in SYNTHESIS[:2]:
            materialise(instance, asset, "library")
        first = consume(warehouse, "environment", "library")
        materialise(instance, "candidate_tasks", "library")
        materialise(instance, "environment", "library")  # a newer one, which the candidates did not read
        event = instance.get_latest_materialization_event(dg.AssetKey("candidate_tasks"))
        assert event is not None
        assert event.asset_materialization is not None
        inputs = event.asset_materialization.metadata["lineage/inputs"].value
    assert {(i["asset"], i["batch"]) for i in inputs} >= {("environment", first.batch_id)}
    candidates = consume(warehouse, "candidate_tasks", "library")
    edges = warehouse.query(
        "SELECT parent_id FROM lineage_edges WHERE child_id = ? AND relation = 'input'", [candidates.batch_id]
    )
    assert set(edges["parent_id"]) == {i["batch"] for i in inputs}


def test_an_unchanged_materialisation_has_the_same_data_version(home: Home) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        versions = []
        for _ in range(2):
            materialise(instance, "brief", "library")
            materialise(instance, "environment", "library")
            versions.append(consume(Warehouse(home.warehouse, home.parts), "environment", "library").data_version)
    assert versions[0] == versions[1]


def test_a_second_run_does_nothing_and_a_fresh_history_can_be_asked_to(home: Home) -> None:
    steps = [Step(asset, "library") for asset in SYNTHESIS]
    assert all(ran.seconds is not None for ran in run_steps(steps, home))
    assert all(ran.seconds is None for ran in run_steps(steps, home))
    assert all(ran.seconds is not None for ran in run_steps(steps[:1], home, again=True))


def test_every_task_leads_back_to_the_call_that_worded_it(home: Home) -> None:
    run_steps([Step(asset, "library") for asset in SYNTHESIS], home)
    warehouse = Warehouse(home.warehouse, home.parts)
    phrased = [json.loads(record) for record in warehouse.query("SELECT record FROM rejections")["record"]]
    by_rule = {each["subject"] for each in phrased if (each["stage"], each["reason"]) == ("phrases", "worded_plainly")}
    (environment,) = warehouse.query("SELECT record FROM environments")["record"]
    spec = EnvironmentSpec.model_validate_json(environment)
    tasks = warehouse.query(
        "SELECT t.record, count(c.id) AS calls FROM tasks t LEFT JOIN lineage l ON l.child_id = t.id "
        "AND l.parent_kind = 'llm_call' LEFT JOIN llm_calls c ON c.id = l.parent_id GROUP BY ALL"
    )
    assert tasks.height > 100
    for record, calls in tasks.iter_rows():
        task = Task.model_validate_json(record)
        assert calls == len(task.made_from), record
        # Without a call, what it asks to be done was worded by rule; what it asks to be refused is in the toolbox only.
        done = {call.tool for call in task.golden if spec.tool(call.tool).writes}
        assert calls or (done <= by_rule and by_rule & set(task.toolbox.tools)), record


def test_no_edge_of_a_synthesis_leads_to_a_record_that_is_not_there(library_home: Home) -> None:
    warehouse = Warehouse(library_home.warehouse, library_home.parts)
    edges = warehouse.query("SELECT DISTINCT relation FROM lineage_edges")["relation"].to_list()
    assert {"worded", "wrote_columns", "wrote_policy", "refused", "input", "given"} <= set(edges)
    for table, kind in MEMBER_KINDS.items():
        for side in ("parent", "child"):
            lost = warehouse.query(
                f"SELECT DISTINCT relation FROM lineage_edges WHERE {side}_kind = '{kind}' AND {side}_id NOT IN "
                f"(SELECT id FROM {table})"
            )
            assert lost.is_empty(), (kind, side, lost["relation"].to_list())


def test_every_batch_tells_code_lock_machine_and_library_versions(library_home: Home) -> None:
    warehouse = Warehouse(library_home.warehouse, library_home.parts)
    told = warehouse.query(
        "SELECT DISTINCT b.code_version = r.code_version AS same, r.* FROM batches b LEFT JOIN runtimes r "
        "ON r.id = b.runtime_id"
    ).to_dicts()
    assert len(told) == 1 and told[0]["same"]
    assert told[0]["lock_sha256"] == hashlib.sha256((REPOSITORY / "constraints.txt").read_bytes()).hexdigest()
    assert json.loads(told[0]["libraries"])["duckdb"] == version("duckdb")
    assert json.loads(told[0]["machine"]).keys() == {"cpu", "cores", "platform", "gpus"}


def test_a_missing_input_says_what_to_materialise(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StepFailed, match=r"environment\[library\].*brief\[library\] is not in the warehouse"):
        run_steps([Step("environment", "library")], home)
    assert "Traceback" not in caplog.text and "Stack Trace" not in caplog.text


def test_a_dataset_with_an_unproven_task_is_blocked(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    run_steps([Step(asset, domain) for domain in ("library", "ecommerce") for asset in SYNTHESIS], home)
    warehouse = Warehouse(home.warehouse, home.parts)
    run_steps([Step("task_dataset", "demo")], home)
    batch = consume(warehouse, "proven_tasks", "library")
    task = next(row for row in warehouse.read_batch(batch.batch_id, "tasks").to_dicts() if row["difficulty"] == 1)
    check = {"id": "x", "task_id": task["id"], "environment_id": task["environment_id"], "name": "not_vacuous"}
    warehouse.write_part("checks", [{**check, "outcome": "failed", "evidence": "solved untouched"}], "late")
    warehouse.ingest()
    caplog.clear()
    with pytest.raises(StepFailed, match=r"failed checks: fit_to_train_on \(.*unproven: 1,"):
        run_steps([Step("task_dataset", "demo")], home, again=True)
    assert "Traceback" not in caplog.text and "Stack Trace" not in caplog.text
    with dg.DagsterInstance.local_temp() as instance:
        whole = dg.materialize(
            ASSETS,
            selection=["task_dataset", "warm_policy"],
            partition_key="demo",
            instance=instance,
            resources=resources(),
            raise_on_error=False,
        )
    assert not whole.success
    begun = {event.step_key for event in whole.all_events if event.is_step_start}
    assert begun == {"task_dataset"}, "training waits for a dataset that is fit to train on"


def test_consume_refuses_what_is_not_there(home: Home) -> None:
    with pytest.raises(NotMaterialised, match=r"checkpoint\[demo-0000\]"):
        consume(Warehouse(home.warehouse, home.parts), "checkpoint", "demo-0000")
