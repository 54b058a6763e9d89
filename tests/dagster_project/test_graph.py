"""The asset graph: in order, with exactly the edges that data takes, light to import, and ours."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import ASSETS, defs
from dagster_project.jobs import LAST_ITERATION, next_iteration, rl_iteration
from dagster_project.partitions import ITERATIONS

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


def after(partition: str | None, last: str | None, config: dict[str, object]) -> object:
    """What the sensor says after a successful run of the loop."""
    tags = {"dagster/partition": partition, LAST_ITERATION: last}
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def(rl_iteration.name), run_config=config, tags={k: v for k, v in tags.items() if v}
        )
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=rl_iteration.name)
        context = dg.build_run_status_sensor_context(
            sensor_name="next_iteration", dagster_event=event, dagster_instance=instance, dagster_run=run
        )
        return next_iteration(context)


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


def test_the_sensor_is_off_by_default() -> None:
    assert next_iteration.default_status is dg.DefaultSensorStatus.STOPPED
