"""Datasets out: what a small campaign of rules leaves loads offline, says what it is, and is the same every time."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from dagster_project import stored
from dagster_project.campaign import Campaign, load_campaign
from dagster_project.cli import app
from dagster_project.evaluating import collect_into, evaluate
from dagster_project.home import Home
from dagster_project.training import judge
from envs.environment import Environment
from envs.proof import prove
from envs.record import content_id
from envs.task import Preference, Task
from envs.taskset import load_taskset
from serving.models import ResolvedModel
from tests.dagster_project.test_rewards_explained import ROLLOUTS, mixed
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.staging import library_spec, talking_task
from trainer.advantages import reward_rows
from trainer.baselines import RULES, RuleEngine, rule_policy
from trainer.conversation import load_tokenizer
from trainer.examples import IGNORED
from trainer.jobs import WarmStartJob
from trainer.warm_start import load_examples
from warehouse.export.folder import SUMS
from warehouse.quarantine import quarantine
from warehouse.rows.environments import environment_row
from warehouse.rows.proofs import check_rows
from warehouse.rows.tasks import read_tasks, task_rows
from warehouse.warehouse import Batch, Warehouse

KINDS = {"tasks": (), "rollouts": (), "sft": ("--solved-rollouts",), "preferences": ("--pairs", "all")}
WISH = Preference(text="Keep it cheap.", cost=0.5)
runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> Iterator[Home]:
    """A campaign `told` on the shop: proven tasks, attempts of rules that ask experts, their rewards."""
    root = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVLOOM_HOME", str(root))
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        patch.setenv("COLUMNS", "300")
        home = Home.here()
        root.joinpath("models").symlink_to(smollm2.path.parent)
        home.prepare()
        alone = ROLLOUTS.toolbox.model_copy(update={"distractors": 0})  # the dataset has one domain
        rollouts = ROLLOUTS.model_copy(update={"toolbox": alone}).model_dump(mode="json")
        settings = {
            "domains": ["shop"],
            "rollouts": rollouts,
            "warm_start": {"expert_rate": 0.5, "examples_per_task": 2},
        }
        home.campaigns.mkdir()
        (home.campaigns / "told.yaml").write_text(yaml.safe_dump(settings))
        play(Warehouse(home.warehouse, home.parts), smollm2, load_campaign("told"))
        yield home


def play(warehouse: Warehouse, model: ResolvedModel, campaign: Campaign) -> None:
    """The batches of the campaign, each made from the one before."""

    def record(asset: str, partition: str, tables: dict[str, Any], *inputs: Batch) -> Batch:
        rows = {name: [dict.fromkeys(_columns(name)) | row for row in part] for name, part in tables.items()}
        return warehouse.record_batch(asset, partition, rows, run_id="r", code_version="c0de", inputs=inputs)

    tokenizer = load_tokenizer(model.path)
    engine = RuleEngine(mixed, tokenizer)
    with Environment.load(shop_spec()) as shop, Environment.load(library_spec()) as library:
        tasks = tasks_of(shop)
        made = record("environment", "shop", {"environments": [environment_row(shop)]})
        record("environment", "library", {"environments": [environment_row(library)]})
        candidates = record("candidate_tasks", "shop", {"tasks": task_rows(tasks)}, made)
        checks = check_rows([prove(task, shop) for task in tasks], shop.id)
        proven = record("proven_tasks", "shop", {"tasks": task_rows(tasks), "checks": checks}, candidates)
        splits = [{"task_id": task.id, "split": "test" if n == 0 else "train"} for n, task in enumerate(tasks)]
        data = record("task_dataset", "told", {"tasks": task_rows(tasks), "splits": splits}, proven)
        told = ("told", 0, "training", [library.id])
        attempts = collect_into(warehouse, engine, tasks[1:], rule_policy("mixed"), ROLLOUTS, *told)
    held_out = RuleEngine(RULES["random"], tokenizer)
    base = record("base_policy", "told", {"checkpoints": [{"id": "base", "kind": "base", "base_model": "some@1"}]})
    tested = evaluate(warehouse, held_out, campaign, "told", -1, data, base)
    record("baseline", "told", tested.tables, data, base)
    rows, turns = stored.rollout_rows(attempts)
    collected = record("rollouts", "told-0000", {"rollouts": rows, "turns": turns}, data)
    rewards = [{**row, "update_id": "u"} for row in reward_rows(*judge(attempts, campaign))]
    update = {"id": "u", "campaign": "told", "iteration": 0, "kind": "grpo", "checkpoint_id": "c"}
    record("checkpoint", "told-0000", {"updates": [update], "rewards": rewards}, collected)


def _columns(table: str) -> list[str]:
    from warehouse.tables import TABLES

    return list(TABLES[table].columns)


def tasks_of(shop: Environment) -> list[Task]:
    """Proven tasks of the shop: one with a wish, one with a user who can be asked."""
    tasks = [*shop_tasks(shop), talking_task(shop)]
    tasks[1] = tasks[1].model_copy(update={"preference": WISH})
    return [task for task in tasks if prove(task, shop).accepted]


def export(*words: str) -> Result:
    return runner.invoke(app, ["export", *words])


@pytest.fixture(scope="module")
def exported(home: Home) -> dict[str, Path]:
    """Every dataset, exported."""
    folders = {}
    for kind, options in KINDS.items():
        done = export(kind, *options, "--json")
        assert done.exit_code == 0, done.output
        folders[kind] = Path(json.loads(done.stdout)["path"])
        assert folders[kind].parent == home.root / "exports"
    return folders


@pytest.fixture(scope="module")
def loaded(exported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every configuration as `datasets` gives it, without a network."""
    cache = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        yield {
            name: datasets.load_dataset(str(folder), name, cache_dir=cache)
            for folder in exported.values()
            for name in datasets.get_dataset_config_names(str(folder))
        }


def test_every_configuration_loads_offline_and_streams_the_same_rows(
    exported: dict[str, Path], loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    names = {kind: datasets.get_dataset_config_names(str(folder)) for kind, folder in exported.items()}
    assert names == {
        "tasks": ["tasks", "environments", "verl"],
        "rollouts": ["rollouts"],
        "sft": ["messages", "text", "tokens"],
        "preferences": ["pairs", "instructions"],
    }
    for kind, folder in exported.items():
        for name in names[kind]:
            streamed = datasets.load_dataset(str(folder), name, streaming=True)
            assert {split: list(rows) for split, rows in streamed.items()} == {
                split: list(rows) for split, rows in loaded[name].items()
            }


def test_the_same_history_gives_the_same_bytes(exported: dict[str, Path], tmp_path: Path) -> None:
    for kind, options in KINDS.items():
        again = export(kind, *options, "--out", str(tmp_path / kind))
        assert again.exit_code == 0, again.output
        assert (tmp_path / kind / SUMS).read_text() == (exported[kind] / SUMS).read_text()


def test_tasks_and_environments_load_without_warehouse_and_are_those_of_the_rows(
    exported: dict[str, Path], loaded: dict[str, Any]
) -> None:
    with load_taskset(exported["tasks"]) as taskset:
        rows = {row["id"]: split for split, part in loaded["tasks"].items() for row in part}
        assert taskset.splits == rows and [task.id for task in taskset.tasks] != []
        assert list(taskset.environments) == loaded["environments"]["train"]["id"]
        assert all(prove(task, taskset.environment_of(task)).accepted for task in taskset.tasks)


def test_a_task_says_what_it_asks_how_it_was_proven_and_rebuilds(loaded: dict[str, Any]) -> None:
    assert {split: len(rows) for split, rows in loaded["tasks"].items()} == {
        "test": 1,
        "train": len(loaded["tasks"]["train"]),
    }
    environments = {row["id"]: row for row in loaded["environments"]["train"]}
    for split, rows in loaded["tasks"].items():
        for row, verl in zip(rows, loaded["verl"][split], strict=True):
            task = Task.model_validate_json(row["record"])
            assert row["id"] == task.id == verl["extra_info"]["task_id"]
            assert row["proven"] and {check["name"] for check in row["checks"]} >= {"not_vacuous", "minimal"}
            assert [call["arguments"] for call in row["golden"]] == [dict(call.arguments) for call in task.golden]
            assert content_id(json.loads(environments[row["environment_id"]]["record"])) == row["environment_id"]
            assert [message["role"] for message in row["prompt"]] == ["system", "user"] and task.instruction in row[
                "prompt"
            ][1]["content"]
            assert {tool["function"]["name"] for tool in row["tools"]} == set(task.toolbox.tools)
            assert verl["reward_model"]["ground_truth"] == json.loads(task.goal.model_dump_json())


def test_a_conversation_answers_every_call_in_its_order(loaded: dict[str, Any]) -> None:
    rows = [row for split in loaded["rollouts"].values() for row in split]
    assert {row["outcome"] for row in rows} >= {"solved", "failed"}
    roles = set()
    for row in rows:
        waiting: list[str] = []
        offered = {tool["function"]["name"] for tool in row["tools"]}
        for message in row["messages"]:
            roles.add(message["role"])
            for call in message["tool_calls"] or ():
                assert isinstance(call["function"]["arguments"], dict)
                waiting.append(call["id"])
            if message["role"] == "tool":
                assert message["tool_call_id"] == waiting.pop(0)
                assert message["name"] in offered or "there is no tool" in message["content"]
        assert not waiting
        if row["answer"] is not None and row["stop_reason"] == "answered":
            assert row["messages"][-1]["content"].endswith(row["answer"])
        for turn in row["turns"]:
            assert len(turn["completion_ids"]) == len(turn["logprobs"]) == turn["completion_tokens"]
    assert roles == {"system", "user", "assistant", "tool"}
    rewarded = loaded["rollouts"]["train"]
    assert all(row["reward"] is not None and row["update_id"] == "u" for row in rewarded)
    assert all(row["reward"] is None for row in loaded["rollouts"]["evaluation"])


def test_tokens_can_be_left_out(exported: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "words"
    assert export("rollouts", "--no-tokens", "--out", str(folder)).exit_code == 0
    assert _size(folder) < _size(exported["rollouts"])
    (row, *_) = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"text", "charges", "cost_usd"} < set(row["turns"][0])
    assert not {"context_ids", "completion_ids", "logprobs"} & set(row["turns"][0])


def test_what_was_exported_can_be_changed_saved_and_written_again(loaded: dict[str, Any], tmp_path: Path) -> None:
    """As every script that prepares a trainer's data does, on any part of the rows."""
    exported = [rows for splits in loaded.values() for rows in splits.values()]
    for rows in exported:
        for part in (rows, rows.select([0]), rows.filter(lambda _: True), rows.shuffle(seed=0)):
            part.save_to_disk(tmp_path / "saved")
            part.to_parquet(tmp_path / "rows.parquet")
            assert datasets.load_from_disk(str(tmp_path / "saved"))[0] == part[0]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet"))


def test_examples_are_what_the_warm_start_trains_on(
    loaded: dict[str, Any], smollm2: ResolvedModel, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(smollm2.path)
    settings = load_campaign("told")
    with Environment.load(shop_spec()) as shop:
        for name, records in ("tasks", tasks_of(shop)[1:]), ("environments", [shop.spec]):
            (tmp_path / name).write_text(json.dumps([each.model_dump(mode="json") for each in records]))
    job = WarmStartJob(
        base_model_name=smollm2.name, base_model_path=str(smollm2.path), base_model_fingerprint=smollm2.fingerprint,
        tasks_path=str(tmp_path / "tasks"), environments_path=str(tmp_path / "environments"), artefacts_dir="",
        toolbox=settings.rollouts.toolbox, config=settings.warm_start,
    )  # fmt: skip
    rows = load_examples(job)
    assert 0 < sum('expert_a(question="' in tokenizer.decode(row.token_ids) for row in rows) < len(rows)
    tokens = {row["id"]: row for row in loaded["tokens"]["train"]}
    golden = {row.name if row.part else row.rollout_id: row for row in rows}
    assert len(golden) == 2 * len({row.rollout_id for row in rows})
    assert {name for name, row in tokens.items() if row["source"] == "golden"} == set(golden)
    for name, row in golden.items():
        assert tokens[name]["input_ids"] == list(row.token_ids)
        assert [label != IGNORED for label in tokens[name]["labels"]] == list(row.trained)
    for row in loaded["messages"]["train"]:
        rendered = tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=False)
        assert rendered.startswith(tokenizer.decode(tokens[row["id"]]["input_ids"], skip_special_tokens=False))
    for row in loaded["text"]["train"]:
        trained = tokenizer.decode(tokens[row["id"]]["input_ids"], skip_special_tokens=False)
        assert trained.startswith(row["prompt"] + row["completion"])
    solved = [row for row in loaded["rollouts"]["train"] if row["outcome"] == "solved"]
    assert {row["id"] for row in solved} == {name for name, row in tokens.items() if row["source"] == "rollout"}
    for row in solved:
        whole = [token for turn in row["turns"] for token in (*turn["context_ids"], *turn["completion_ids"])]
        assert tokens[row["id"]]["input_ids"] == whole


def test_the_attempt_of_higher_reward_is_chosen(loaded: dict[str, Any]) -> None:
    rollouts = {row["id"]: row for row in loaded["rollouts"]["train"]}
    pairs = list(loaded["pairs"]["train"])
    assert pairs
    for pair in pairs:
        better, worse = (rollouts[pair[side]["id"]] for side in ("chosen_rollout", "rejected_rollout"))
        assert pair["margin"] == better["reward"] - worse["reward"] > 0
        assert better["group_id"] == worse["group_id"] == pair["group_id"]
        for side, row in (("chosen", better), ("rejected", worse)):
            talk = [*pair["prompt"], *pair[side]]
            for own, whole in zip(talk, row["messages"], strict=False):
                assert own == {name: whole[name] for name in own}
            assert len(talk) <= len(row["messages"]) and talk[-1]["role"] == "assistant"
    (wish,) = loaded["instructions"]["train"]
    assert (wish["text"], wish["cost"]) == (WISH.text, WISH.cost)
    assert {pair["preference"]["text"] for pair in pairs} >= {""}


def test_the_card_names_funnel_proof_makers_and_hashes(exported: dict[str, Path]) -> None:
    for kind, folder in exported.items():
        _, header, body = (folder / "README.md").read_text().split("---\n", 2)
        assert "rl-environment" in yaml.safe_load(header)["tags"]
        assert "| shop |" in body and "| not_vacuous |" in body and "`c0de`" in body, kind
        for line in (folder / SUMS).read_text().splitlines():
            sha, _, name = line.partition("  ")
            assert name == "README.md" or f"| {name} | {sha} |" in body
    assert "smollm2-135m-instruct" in (exported["sft"] / "README.md").read_text()
    assert "licence of some@1 is not known" in (exported["rollouts"] / "README.md").read_text()
    assert "simulated experts" in (exported["rollouts"] / "README.md").read_text()


@pytest.fixture
def copied(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The campaign once more, to be changed."""
    root = tmp_path / "copied"
    shutil.copytree(home.root, root, ignore=shutil.ignore_patterns("exports", "models", "dagster"))
    monkeypatch.setenv("ENVLOOM_HOME", str(root))
    return Warehouse(root / "warehouse.duckdb", root / "parts")


def test_unproven_tasks_are_refused_or_the_card_says_so(copied: Warehouse, tmp_path: Path) -> None:
    data = copied.latest_batch("task_dataset", "told")
    assert data is not None
    task = read_tasks(copied, data)[0].model_copy(update={"instruction": "Never proven."})
    rows = [dict.fromkeys(_columns("tasks")) | row for row in task_rows([task])]
    batch = copied.record_batch("task_dataset", "doubtful", {"tasks": rows}, run_id="r", code_version="c")
    refused = export("tasks", "--batch", batch.batch_id)
    assert refused.exit_code == 1 and task.id in refused.output and "--unproven" in refused.output
    assert not (tmp_path / "copied" / "exports").exists() or not list((tmp_path / "copied" / "exports").iterdir())
    assert export("tasks", "--campaign", "doubtful", "--unproven", "--out", str(tmp_path / "out")).exit_code == 0
    assert "1 of 1 tasks are not proven" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_under_quarantine_is_left_out_and_counted(copied: Warehouse, tmp_path: Path) -> None:
    data = copied.latest_batch("task_dataset", "told")
    assert data is not None
    bad = read_tasks(copied, data)[1]
    quarantine(copied, ("task", bad.id), "asks for two things")
    for kind in KINDS:
        done = export(kind, "--out", str(tmp_path / kind), "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        reason = f"under quarantine: task {bad.id}, asks for two things"
        assert f"| {reason} | {told['left_out'][reason]} |" in (tmp_path / kind / "README.md").read_text()
        for file in (tmp_path / kind).rglob("*.parquet"):
            assert bad.id not in str(pl.read_parquet(file).to_dicts())


@pytest.mark.usefixtures("home")
def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    somebody = tmp_path / "somebodys"
    somebody.mkdir()
    (somebody / "thesis.tex").write_text("years of work")
    for words, code, said in (
        (("tasks", "--campaign", "nowhere"), 1, "campaign nowhere"),
        (("rollouts", "--batch", "nowhere"), 1, "nowhere"),
        (("tasks", "--out", str(somebody)), 1, "no export"),
        (("tasks", "--pairs", "all"), 2, "preferences"),
        (("tasks", "--push", "me/x", "--token-variable", "NO_SUCH_TOKEN"), 2, "NO_SUCH_TOKEN"),
        (("tasks", "--model-licence", "qwen"), 2, "name=licence"),
    ):
        done = export(*words)
        assert done.exit_code == code and said in done.output, done.output
    assert (somebody / "thesis.tex").exists()


@pytest.mark.usefixtures("home")
def test_a_folder_whose_path_datasets_takes_for_a_pattern_is_warned_of(tmp_path: Path) -> None:
    for folder, warned in ((tmp_path / "ünï # % 'x'", False), (tmp_path / "a[b]", True)):
        exported = runner.invoke(app, ["export", "tasks", "--out", str(folder), "--json"])
        assert exported.exit_code == 0 and json.loads(exported.stdout)["path"] == str(folder)
        assert ("Choose another --out" in exported.stderr) is warned
    assert len(datasets.load_dataset(str(tmp_path / "ünï # % 'x'"), split="train")) > 0
