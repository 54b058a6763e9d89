"""The difficulty of tasks: measured through the collection that evaluations use, resumed, stored, and read back."""

import asyncio
import json
from collections.abc import Sequence, Set
from pathlib import Path

import dagster as dg
import pytest

from dagster_project import campaign as campaigns
from dagster_project import dataset_report
from dagster_project.campaign import Campaign
from dagster_project.definitions import ASSETS
from dagster_project.home import Home
from dagster_project.measuring import Reference, measure, reference_policy
from dagster_project.resources import Engines, resources
from dagster_project.runner import iteration_steps, preparation_steps
from envs.environment import Environment
from envs.task import Task
from serving.models import ResolvedModel
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.conftest import ScriptedPolicy
from trainer.collect import Collection, collect
from trainer.conversation import load_tokenizer
from trainer.dialect import render_answer, render_call
from trainer.difficulty import DifficultyConfig
from trainer.engine import ServedPolicy
from trainer.fanout import Ended, Hear, Sink
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig
from warehouse.rows.environments import environment_row
from warehouse.rows.measures import read_difficulties
from warehouse.rows.tasks import task_rows
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

SETTINGS = DifficultyConfig(k=2, samples_per_task=3)
CAMPAIGN = Campaign(domains=("shop",), difficulty=SETTINGS, rollouts=RolloutConfig(concurrency=1))


class ScriptedEngine:
    """Collects as `trainer.engine.PolicyEngine` does, with a policy that knows the golden program of some tasks."""

    def __init__(self, model: ResolvedModel, tasks: Sequence[Task], known: Set[str]) -> None:
        self.tokenizer = load_tokenizer(model.path)
        self.tasks, self.known, self.played = tasks, known, 0

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        def end(rollout: Rollout) -> None:
            sink.keep(rollout)
            hear(Ended.of(rollout))
            self.played += 1

        acting = ScriptedPolicy(self.tokenizer, self.say)
        asyncio.run(collect(collection.served_as(policy.policy_id), acting, self.tokenizer, end))

    def say(self, told: str, turn: int) -> str:
        task = next(task for task in self.tasks if f"user\n{task.instruction}<" in told)
        if task.id not in self.known:
            return render_answer("I do not know.")
        return render_call(task.golden[turn]) if turn < len(task.golden) else render_answer(task.golden_answer)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.here().prepare()


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    """Holds the shop and its seven tasks, as the dataset of campaign `smoke` with all of them to train on."""
    warehouse = Warehouse(home.warehouse, home.parts)
    shop = Environment.load(shop_spec())
    tasks = shop_tasks(shop)
    splits = [{"task_id": task.id, "split": "train"} for task in tasks]
    record(warehouse, "environment", {"environments": [environment_row(shop)]})
    record(warehouse, "task_dataset", {"tasks": task_rows(tasks), "splits": splits}, "smoke")
    return warehouse


@pytest.fixture
def tasks() -> list[Task]:
    return shop_tasks(Environment.load(shop_spec()))


def record(warehouse: Warehouse, asset: str, tables: dict[str, list[dict]], partition: str = "shop") -> None:
    rows = {name: [dict.fromkeys(TABLES[name].columns) | row for row in part] for name, part in tables.items()}
    warehouse.record_batch(asset, partition, rows, run_id="1", code_version="x")


def test_every_task_is_measured_and_a_second_measurement_plays_nothing(
    warehouse: Warehouse, tasks: list[Task], smollm2: ResolvedModel
) -> None:
    known = {tasks[2].id, tasks[3].id}
    engine = ScriptedEngine(smollm2, tasks, known)
    reference = Reference(engine, ServedPolicy(policy_id="sha"), None, [])
    found = measure(warehouse, reference, CAMPAIGN, "smoke", SETTINGS, tasks)
    assert engine.played == len(tasks) * 3
    assert {one.task_id: (one.solved, one.attempts, one.pass_at_k) for one in found.difficulties} == {
        task.id: (3, 3, 1.0) if task.id in known else (0, 3, 0.0) for task in tasks
    }
    assert {row["purpose"] for row in found.tables["rollouts"]} == {"difficulty"}
    record(warehouse, "difficulty", found.tables, "smoke")
    again = measure(warehouse, reference, CAMPAIGN, "smoke", SETTINGS, tasks)
    assert engine.played == len(tasks) * 3 and again == found
    kept = warehouse.latest_batch("difficulty", "smoke")
    assert kept is not None and read_difficulties(warehouse, kept) == found.difficulties
    measured = warehouse.query("SELECT policy_id, k, sum(solved) AS solved FROM difficulties GROUP BY ALL").to_dicts()
    assert measured == [{"policy_id": "sha", "k": 2, "solved": 6}]


def test_the_report_counts_what_is_solved_always_and_never_by_length(
    warehouse: Warehouse, tasks: list[Task], smollm2: ResolvedModel
) -> None:
    engine = ScriptedEngine(smollm2, tasks, {tasks[2].id})
    reference = Reference(engine, ServedPolicy(policy_id="sha"), None, [])
    found = measure(warehouse, reference, CAMPAIGN, "smoke", SETTINGS, tasks).difficulties
    metadata = dataset_report.difficulty(found, tasks)
    assert metadata["measured"] == 7
    assert "| 1 | 4 | 1 | 0 | 3 | 0.25 |" in metadata["by_calls"].value
    assert "| 3 | 1 | 0 | 0 | 1 | 0 |" in metadata["by_calls"].value


def test_another_model_can_be_the_reference_and_has_a_name_in_the_warehouse(
    warehouse: Warehouse, home: Home, smollm2: ResolvedModel
) -> None:
    settings = DifficultyConfig(policy=str(smollm2.path))
    found = reference_policy(warehouse, Engines(), home, CAMPAIGN, "smoke", settings)
    assert found.made_by is None and found.policy.adapter_path is None
    [row] = found.checkpoint_rows
    assert row["id"] == found.policy.policy_id == found.engine.model.fingerprint


def test_a_campaign_without_a_reference_policy_measures_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "FOLDER", tmp_path)
    (tmp_path / "smoke.yaml").write_text(json.dumps({"domains": ["shop"]}))
    with dg.DagsterInstance.local_temp() as instance, pytest.raises(Exception, match="smoke measures no difficulty"):
        dg.materialize(
            ASSETS, selection=["difficulty"], partition_key="smoke", instance=instance, resources=resources()
        )
    assert home.root == tmp_path


def test_difficulty_is_prepared_where_the_campaign_asks_for_it_and_nowhere_else() -> None:
    plain = CAMPAIGN.model_copy(update={"difficulty": None})
    assert "difficulty" not in [step.asset for step in [*preparation_steps("c", plain), *iteration_steps("c", 0)]]
    order = [step.asset for step in preparation_steps("c", CAMPAIGN)]
    assert order.index("warm_policy") < order.index("difficulty")
