"""A campaign's dataset through Dagster: from proven tasks to splits, rejections and measures in the warehouse."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project import campaign as campaigns
from dagster_project.campaign import CampaignError, load_campaign
from dagster_project.definitions import ASSETS
from dagster_project.home import REPOSITORY, Home
from dagster_project.record import consume
from dagster_project.resources import resources
from envs.environment import Environment
from envs.proof import HeldOutRequest
from envs.proof.prove_all import prove_all
from envs.task import Fact, Task
from tests.fixtures import call, make_task, shop_spec, shop_tasks
from warehouse.rows.environments import environment_row, tool_rows
from warehouse.rows.proofs import check_rows
from warehouse.rows.tasks import task_rows
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse

STATUSES, QUANTITIES = ("paid", "shipped", "cancelled"), (2, 3, 4)
OPENINGS = ("Please", "Could you", "I would like you to", "My wife wants you to", "Kindly")


def candidates(shop: Environment) -> list[Task]:
    """Tasks of one and two calls in the shop: its own seven, and some about every order."""
    tasks = shop_tasks(shop)
    for number, opening in enumerate(OPENINGS, start=1):
        order = f"ORD-{number}"
        look = [call("get_order", order_id=order)]
        placed = shop.replay(look).results[0].value["placed_on"]
        fact = Fact(label="placed_on", kind="date", value=placed)
        tasks.append(make_task(shop, f"{opening} tell me when the order {order} was placed.", look, [fact], placed))
        for status in STATUSES:
            change = [call("set_order_status", order_id=order, status=status)]
            tasks.append(make_task(shop, f"{opening} set {order} to {status}, if that can still be done.", change))
        if order in ("ORD-1", "ORD-3", "ORD-5"):
            for quantity in QUANTITIES:
                change = [call("change_quantity", order_id=order, quantity=quantity)]
                tasks.append(make_task(shop, f"{opening} change the quantity of {order} to {quantity}.", change))
    return [offering(task, {"get_product"} if task.id == tasks[2].id else set()) for task in tasks]


def store(warehouse: Warehouse, asset: str, partition: str, **tables: list[dict[str, Any]]) -> None:
    rows = {name: [dict.fromkeys(TABLES[name].columns) | row for row in part] for name, part in tables.items()}
    warehouse.record_batch(asset, partition, rows, run_id="1", code_version="x")


def offering(task: Task, more: set[str]) -> Task:
    """The task with a toolbox of what it needs and `more`."""
    names = tuple(name for name in task.toolbox.tools if name in more | {call.tool for call in task.golden})
    return task.model_copy(update={"toolbox": task.toolbox.model_copy(update={"tools": names})})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    return Home.here().prepare()


@pytest.fixture
def proven(warehouse: Warehouse) -> list[Task]:
    """The tasks of domain `shop` that passed the proof, and are in the warehouse as its asset leaves them."""
    shop = Environment.load(shop_spec())
    found = prove_all(shop, candidates(shop))
    store(
        warehouse,
        "proven_tasks",
        "shop",
        environments=[environment_row(shop)],
        tools=tool_rows(shop.spec),
        tasks=task_rows(found.accepted),
        checks=check_rows(found.proofs, shop.id),
    )
    assert len(found.accepted) > 20
    return found.accepted


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    return Warehouse(home.warehouse, home.parts)


@pytest.fixture
def compose(warehouse: Warehouse, proven: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Materialises the dataset of campaign `smoke` under other settings: (its batch, the metadata)."""
    assert proven

    def run(**settings: Any) -> tuple[Batch, dict[str, Any]]:
        (tmp_path / "smoke.yaml").write_text(json.dumps({"domains": ["shop"], **settings}))
        monkeypatch.setattr(campaigns, "FOLDER", tmp_path)
        with dg.DagsterInstance.local_temp() as instance:
            result = dg.materialize(
                ASSETS, selection=["task_dataset"], partition_key="smoke", instance=instance, resources=resources()
            )
            [made] = result.asset_materializations_for_node("task_dataset")
        return consume(warehouse, "task_dataset", "smoke"), {name: v.value for name, v in made.metadata.items()}

    return run


def test_what_max_calls_leaves_out_is_stored_task_by_task(compose, warehouse: Warehouse, proven: list[Task]) -> None:
    batch, metadata = compose(max_calls=1)
    rejected = warehouse.read_batch(batch.batch_id, "rejections").filter(reason="too_many_calls")
    long = {task.id for task in proven if task.difficulty > 1}
    assert long and {json.loads(record)["subject"] for record in rejected["record"]} == long
    assert set(rejected["stage"]) == {"dataset"} and metadata["left_out"] == len(long)


def test_held_out_files_of_the_home_and_of_the_campaign_are_obeyed(
    compose, warehouse: Warehouse, proven: list[Task], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_words = max(proven, key=lambda task: len(task.instruction))
    home.held_out.mkdir()
    (home.held_out / "everyone.jsonl").write_text(json.dumps({"instruction": by_words.instruction}))
    monkeypatch.setattr("dagster_project.home.REPOSITORY", home.root)
    (home.root / "mine.jsonl").write_text(json.dumps({"instruction": "-", "tools": ["change_quantity"]}))
    batch, metadata = compose(held_out=["mine.jsonl"])
    records = map(json.loads, warehouse.read_batch(batch.batch_id, "rejections")["record"])
    rejected = {record["subject"]["task"]: record["subject"]["found"]["source"] for record in records}
    changing = {task.id for task in proven if "change_quantity" in {call.tool for call in task.golden}}
    assert rejected == {by_words.id: "everyone.jsonl:1"} | dict.fromkeys(changing, "mine.jsonl:1")
    assert "mine.jsonl:1" in metadata["contaminated"] and "everyone.jsonl" in metadata["held_out"]
    assert [file.name for file in home.held_out_files()] == ["everyone.jsonl"], "the other is one campaign's"


def test_the_proof_asks_held_out_files_too() -> None:
    shop = Environment.load(shop_spec())
    held_out = [HeldOutRequest(instruction="Please cancel my order W-7.", source="bench.jsonl:1")]
    found = prove_all(shop, shop_tasks(shop), held_out)
    assert [(r.reason, "bench.jsonl:1" in r.detail) for r in found.rejections("shop")] == [("novel", True)]
    assert found.repeated == 0


def test_candidates_that_repeat_an_accepted_one_are_counted() -> None:
    shop = Environment.load(shop_spec())
    twin = make_task(shop, "Please cancel my order ORD-3.", [call("cancel_order", order_id="ORD-3")])
    found = prove_all(shop, [*shop_tasks(shop), twin])
    assert found.repeated == 1 and len(found.accepted) == 7


def test_a_held_out_file_that_is_not_there_says_where_it_was_looked_for(home: Home) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl") as error:
        home.held_out_files(["gone.jsonl"])
    assert str(home.held_out) in str(error.value) and str(REPOSITORY) in str(error.value)


def test_a_held_out_tool_has_a_split_of_its_own(compose, warehouse: Warehouse, proven: list[Task]) -> None:
    batch, metadata = compose(held_out_tools=["shop.get_product"])
    splits = warehouse.read_batch(batch.batch_id, "splits")
    unseen = set(splits.filter(split="unseen_tool")["task_id"])
    assert unseen == {task.id for task in proven if "get_product" in {call.tool for call in task.golden}}
    [offers] = warehouse.read_batch(batch.batch_id, "rejections").to_dicts()
    assert (offers["reason"], offers["detail"]) == ("offers_unseen_tool", "get_product")
    assert "| shop | unseen_tool | 3 |" in metadata["by_domain_and_split"]


def test_diversity_is_measured_of_all_and_of_each_domain(compose, warehouse: Warehouse, proven: list[Task]) -> None:
    batch, metadata = compose()
    rows = warehouse.read_batch(batch.batch_id, "diversity").to_dicts()
    assert [(row["scope"], row["tasks"], row["tools"]) for row in rows] == [
        ("all", len(proven), 8), ("shop", len(proven), 8),
    ]  # fmt: skip
    assert rows[0]["tools_used"] == 8 and 5 < rows[0]["distinct_shapes"] < len(proven)
    assert metadata["lexical_diversity"] == rows[0]["lexical_diversity"] > 0.5
    assert metadata["distinct_shapes"] == rows[0]["distinct_shapes"]


def test_the_proof_of_a_domain_stores_its_diversity(warehouse: Warehouse) -> None:
    shop = Environment.load(shop_spec())
    twin = make_task(shop, "Please cancel my order ORD-3.", [call("cancel_order", order_id="ORD-3")])
    store(warehouse, "environment", "library", environments=[environment_row(shop)])
    store(warehouse, "candidate_tasks", "library", tasks=task_rows([*shop_tasks(shop), twin]))
    with dg.DagsterInstance.local_temp() as instance:
        # So few tasks leave the audit unsure, which blocks what comes after; what was measured is stored all the same.
        result = dg.materialize(
            ASSETS, selection=["proven_tasks"], partition_key="library", instance=instance, resources=resources(),
            raise_on_error=False,
        )  # fmt: skip
        [made] = result.asset_materializations_for_node("proven_tasks")
    batch = consume(warehouse, "proven_tasks", "library")
    [row] = warehouse.read_batch(batch.batch_id, "diversity").to_dicts()
    assert (row["scope"], row["tasks"], row["repeated"], row["tools"]) == ("library", 7, 1, 8)
    assert made.metadata["repeated_share"].value == 1 / 8
    assert "| library | 7 |" in made.metadata["diversity"].value


def test_the_queries_of_the_document_are_answered(compose, warehouse: Warehouse) -> None:
    compose(max_calls=1)
    page = (REPOSITORY / "docs" / "datasets.md").read_text()
    left_out, difficulty = (
        warehouse.query(sql, {"campaign": "smoke"}) for sql in re.findall(r"```sql\n(.+?)```", page, re.DOTALL)
    )
    assert left_out["reason"].to_list() == ["too_many_calls"] and difficulty.is_empty()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("domains: [library]\nheld_out_domains: [finance]", "finance: add them to `domains` too"),
        ("domains: [library]\nheld_out_domains: [library]", "leave one to train on"),
        ("domains: [library]\nheld_out_prices: true\nrollouts: {toolbox: {prices: drawn}}", "set it to `task`"),
        ("domains: [library]\nheld_out_tools: [get_loan]\nrollouts: {toolbox: {distractors: 2}}", "leave them out"),
        ("domains: [library]\ndifficulty: {k: 9}", "pass@9 needs 9"),
    ],
)
def test_a_campaign_that_contradicts_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, complaint: str
) -> None:
    monkeypatch.setattr(campaigns, "FOLDER", tmp_path)
    (tmp_path / "odd.yaml").write_text(settings)
    with pytest.raises(CampaignError, match=complaint):
        load_campaign("odd")
