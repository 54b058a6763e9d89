"""The asset graph: in order, with exactly the edges that data takes, light to import, and ours."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.assets.policies import preparation_of
from dagster_project.campaign import load_campaign
from dagster_project.definitions import ASSETS, defs
from dagster_project.home import Home
from dagster_project.jobs import LAST_ITERATION, NEXT_ITERATION, next_iteration, rl_iteration, train
from dagster_project.partitions import ITERATIONS
from dagster_project.pools import set_limits
from dagster_project.record import NotMaterialised
from dagster_project.resources import Workshop
from warehouse.warehouse import Warehouse

REPOSITORY = Path(__file__).resolve().parents[2]
EDGES = {
    "brief": set(),
    "environment": {"brief"},
    "candidate_tasks": {"brief", "environment"},
    "proven_tasks": {"environment", "candidate_tasks"},
    "task_dataset": {"proven_tasks"},
    "base_policy": set(),
    "warm_policy": {"task_dataset", "base_policy"},
    "difficulty": {"task_dataset", "base_policy", "warm_policy"},
    "baseline": {"task_dataset", "base_policy", "warm_policy"},
    "rollouts": {"task_dataset", "difficulty", "warm_policy"},
    "checkpoint": {"rollouts", "task_dataset"},
    "evaluation": {"checkpoint", "task_dataset", "baseline"},
}


def test_the_graph_has_these_edges_and_sorts() -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == EDGES
    assert len(graph.toposorted_asset_keys) == len(ASSETS)


def test_every_asset_says_what_it_is() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in ("synthesis", "dataset", "policy", "loop"), key
        assert node.kinds, key
        assert node.owners, key
        assert node.code_version, key
        columns = node.metadata["dagster/column_schema"].columns
        assert all(column.description for column in columns), key
    for check in graph.asset_check_keys:
        spec = graph.get_check_spec(check)
        assert spec.description, check


def test_every_job_and_sensor_says_what_it_is_for() -> None:
    repository = defs.get_repository_def()
    jobs = {job.name: job.description for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert set(jobs) == {"synthesis", "preparation", "train", "rl_iteration"}
    assert all(jobs.values())
    assert all(sensor.description for sensor in repository.sensor_defs)


@pytest.mark.parametrize("package", ["envs", "serving", "generators", "trainer", "warehouse", "dagster_project"])
def test_each_package_is_the_one_of_this_repository(package: str) -> None:
    module = __import__(package)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(REPOSITORY), "another distribution of this name shadows ours"


@pytest.mark.parametrize(
    ("package", "heavy"),
    [("envs", ("torch", "dagster", "vllm")), ("dagster_project.definitions", ("torch", "vllm", "transformers"))],
)
def test_importing_stays_light(package: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert run.stdout.strip() == "[]"


def after(
    partition: str | None, last: str | None, config: dict[str, object], asked: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    """What the sensor says after a successful run of the loop, or of the job that asks for an iteration."""
    tags = {"dagster/partition": partition, LAST_ITERATION: last, NEXT_ITERATION: asked}
    job = train.name if asked else rl_iteration.name
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def(job), run_config=config, tags={k: v for k, v in tags.items() if v}
        )
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=job)
        context = dg.build_run_status_sensor_context(
            sensor_name="next_iteration", dagster_event=event, dagster_instance=instance, dagster_run=run
        )
        found = next_iteration(context)
        assert isinstance(found, dg.SensorResult | dg.SkipReason)
        return found


def test_the_sensor_asks_for_the_next_iteration_with_the_same_configuration() -> None:
    config = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    result = after("demo-0003", "5", config)
    assert isinstance(result, dg.SensorResult)
    assert result.run_requests is not None
    request = result.run_requests[0]
    assert (request.run_key, request.partition_key) == ("demo:4", "demo-0004")
    assert request.run_config == config
    assert request.tags[LAST_ITERATION] == "5", "or the chain would end after one iteration"
    assert result.dynamic_partitions_requests is not None
    assert result.dynamic_partitions_requests[0].partition_keys == ["demo-0004"]
    assert result.dynamic_partitions_requests[0].partitions_def_name == ITERATIONS.name


@pytest.mark.parametrize(("partition", "last"), [("demo-0005", "5"), ("demo-0001", None), (None, "5")])
def test_the_sensor_stops_at_the_last_iteration_and_starts_nothing_unasked(
    partition: str | None, last: str | None
) -> None:
    assert isinstance(after(partition, last, {}), dg.SkipReason)


def test_a_pool_has_our_limit_unless_a_person_set_one() -> None:
    def limits(instance: dg.DagsterInstance) -> dict[str, int]:
        return {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}

    with dg.DagsterInstance.local_temp() as instance:
        set_limits(instance)
        assert limits(instance) == {"llm": 4}
        instance.event_log_storage.set_concurrency_slots("llm", 2)
        set_limits(instance)
        assert limits(instance) == {"llm": 2}


def test_the_sensor_begins_with_the_iteration_that_the_job_asks_for() -> None:
    result = after(None, "3", {"ops": {"ask_for_iterations": {"config": {"campaign": "demo"}}}}, asked="demo-0002")
    assert isinstance(result, dg.SensorResult)
    assert result.run_requests is not None
    [request] = result.run_requests
    assert (request.partition_key, request.tags[LAST_ITERATION]) == ("demo-0002", "3")
    assert request.run_config == {}, "the job's settings are none of the loop's"
    assert result.dynamic_partitions_requests is not None
    assert result.dynamic_partitions_requests[0].partition_keys == ["demo-0002"]


def ask(**config: object) -> dict[str, str]:
    """The tags that the job `train` gives its run."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def(train.name)
        result = job.execute_in_process(
            {"ops": {"ask_for_iterations": {"config": config}}}, instance, resources={"workshop": Workshop()}
        )
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        return run.tags


def test_the_job_finds_the_next_iteration_and_refuses_a_campaign_that_is_not_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    home = Home.here().prepare()
    with pytest.raises(NotMaterialised, match=r"base_policy\[demo\] is not in the warehouse"):
        ask(campaign="demo")
    warehouse = Warehouse(home.warehouse, home.parts)
    there = [(asset, "demo") for asset in preparation_of(load_campaign("demo"))]
    there += [("evaluation", "demo-0000"), ("evaluation", "demo-0001")]
    for asset, partition in there:
        warehouse.record_batch(asset, partition, {}, run_id="r", code_version="c")
    tags = ask(campaign="demo", iterations=2)
    assert (tags[NEXT_ITERATION], tags[LAST_ITERATION]) == ("demo-0002", "3")
