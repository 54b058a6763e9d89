"""Costs and rewards can be redone from the warehouse: in one query, and by `envloom reward explain`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import yaml
from typer.testing import CliRunner

from dagster_project import stored
from dagster_project.campaign import Campaign
from dagster_project.cli import app
from dagster_project.evaluating import collect_into, evaluate_rules
from dagster_project.home import Home
from dagster_project.training import judge, score
from envs.environment import Environment
from envs.experts import Competence
from envs.task import Preference
from envs.toolbox import ToolboxConfig
from serving.models import ResolvedModel
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.staging import FOOL, SAGE, library_spec, talking_task
from trainer.advantages import reward_rows
from trainer.baselines import RULES, Heard, RuleEngine, rule_policy
from trainer.conversation import Conversation, Tokenizer, load_tokenizer
from trainer.rollout import Rollout
from trainer.rows import read_training_rows
from trainer.settings import EvaluationConfig, RewardConfig, RolloutConfig
from warehouse.costs import RECOMPUTED_COST_SQL
from warehouse.rows.environments import environment_row
from warehouse.rows.tasks import task_rows
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

runner = CliRunner()
HALF = SAGE.model_copy(update={"name": "half", "competence": (Competence(probability=0.8),)})
ROLLOUTS = RolloutConfig(
    samples_per_task=4,
    toolbox=ToolboxConfig(pool=(HALF, FOOL), experts=2, distractors=1, prices="drawn"),
)


def mixed(heard: Heard, rng: Random) -> str:
    """Either expert, as it comes: groups in which some rollouts solve the task, and dearer than others."""
    return RULES[rng.choice(("cheapest_expert", "dearest_expert", "dearest_expert"))](heard, rng)


@pytest.fixture(scope="module")
def tokenizer(smollm2: ResolvedModel) -> Tokenizer:
    return load_tokenizer(smollm2.path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.here().prepare()


@pytest.fixture
def warehouse(home: Home) -> Iterator[Warehouse]:
    """The shop and the library, as environments."""
    warehouse = Warehouse(home.warehouse, home.parts)
    worlds = [Environment.load(shop_spec()), Environment.load(library_spec())]
    rows = [dict.fromkeys(TABLES["environments"].columns) | environment_row(world) for world in worlds]
    warehouse.write_part("environments", rows, "worlds")
    yield warehouse
    for world in worlds:
        world.close()


@pytest.fixture
def rollouts(warehouse: Warehouse, tokenizer: Tokenizer) -> list[Rollout]:
    """Rules on the shop's tasks, one of them with a user and one with a wish, collected into the warehouse."""
    with Environment.load(shop_spec()) as shop, Environment.load(library_spec()) as library:
        tasks = [*shop_tasks(shop), talking_task(shop)]
        tasks[1] = tasks[1].model_copy(update={"preference": Preference(text="Keep it cheap.", cost=0.5)})
        lenders = [library.id]
    collected = []
    for rule in ("cheapest_expert", "mixed", "random"):
        engine = RuleEngine(mixed if rule == "mixed" else RULES[rule], tokenizer)
        collected += collect_into(warehouse, engine, tasks, rule_policy(rule), ROLLOUTS, "told", 0, "training", lenders)
    return collected


def test_every_cost_is_recomputed_in_one_query(warehouse: Warehouse, rollouts: list[Rollout]) -> None:
    kinds = {charge.kind for rollout in rollouts for turn in rollout.turns for charge in turn.charges}
    assert kinds == {"tool", "distractor", "expert"}
    costs = warehouse.query(RECOMPUTED_COST_SQL).to_dicts()
    assert {row["id"]: row["stored_usd"] for row in costs} == {each.id: each.cost_usd for each in rollouts}
    assert [row["recomputed_usd"] for row in costs] == pytest.approx([row["stored_usd"] for row in costs], abs=1e-12)
    assert min(row["recomputed_usd"] for row in costs) > 0


def test_a_cost_that_was_altered_is_found(warehouse: Warehouse, rollouts: list[Rollout]) -> None:
    row, turns = rollouts[0].rows()
    altered = {**row, "id": "altered", "cost_usd": row["cost_usd"] + 0.01}
    warehouse.write_part("rollouts", [altered], "altered")
    warehouse.write_part("turns", [{**turn, "rollout_id": "altered"} for turn in turns], "altered")
    warehouse.ingest()
    wrong = f"SELECT id FROM ({RECOMPUTED_COST_SQL}) WHERE abs(stored_usd - recomputed_usd) > 1e-9"
    assert warehouse.query(wrong)["id"].to_list() == ["altered"]


def test_what_the_warehouse_gives_back_is_what_was_collected(warehouse: Warehouse, rollouts: list[Rollout]) -> None:
    assert all(rollout.simulated_experts for rollout in rollouts)
    again = stored.rollouts_by_id(warehouse, [rollout.id for rollout in rollouts])
    assert again == sorted(rollouts, key=lambda rollout: rollout.id)
    labelled = warehouse.query("SELECT count(*) FILTER (simulated_experts) AS n, count(*) AS all FROM rollouts")
    assert labelled["n"].item() == labelled["all"].item() == len(rollouts)


@pytest.fixture(params=["joint", "decoupled"])
def campaign(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    """The campaign `told`, whose file says how advantages are taken."""
    folder = tmp_path / "campaigns"
    folder.mkdir()
    monkeypatch.setattr("dagster_project.campaign.FOLDER", folder)
    (folder / "told.yaml").write_text(f"domains: [shop]\nrewards: {{ advantage: {request.param} }}\n")
    return Campaign(domains=("shop",), rewards=RewardConfig(advantage=request.param))


def keep_rewards(warehouse: Warehouse, rollouts: list[Rollout], campaign: Campaign, wrong_by: float = 0.0) -> None:
    rewards, advantages = judge(rollouts, campaign)
    rows = [{**row, "update_id": "u"} for row in reward_rows(rewards, advantages)]
    for row in rows:
        row["advantage"] = row["advantage"] if row["advantage"] is None else row["advantage"] + wrong_by
    warehouse.write_part("rewards", rows, "u")
    warehouse.ingest()


def of_one_policy(rollouts: list[Rollout]) -> list[Rollout]:
    return [rollout for rollout in rollouts if rollout.policy_id == "rule:mixed"]


def test_the_arithmetic_of_every_reward_is_told_and_is_the_stored_one(
    warehouse: Warehouse, rollouts: list[Rollout], campaign: Campaign
) -> None:
    together = of_one_policy(rollouts)
    keep_rewards(warehouse, together, campaign)
    trained = 0
    for rollout in together:
        result = runner.invoke(app, ["reward", "explain", rollout.id, "--json"])
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["stored"]["reward"] == pytest.approx(told["reward"])
        if rollout.solved:
            assert told["reward"] == pytest.approx(sum(row["product"] for row in told["terms"]))
        if told["advantage"] is None:
            assert told["left_out"]
            continue
        trained += 1
        if campaign.rewards.advantage == "joint":
            group = told["group"]
            assert told["advantage"] == pytest.approx(told["reward"] - sum(group) / len(group))
    assert trained


def test_people_read_elements_reward_and_advantage(
    warehouse: Warehouse, rollouts: list[Rollout], campaign: Campaign
) -> None:
    together = of_one_policy(rollouts)
    keep_rewards(warehouse, together, campaign)
    trained = next(each for each in together if each.solved)
    result = runner.invoke(app, ["reward", "explain", trained.id[:12]])
    assert result.exit_code == 0, result.output
    for word in ("-cost_usd", "outcome", "experts simulated", "reward ", "advantage ", "stored ", "÷"):
        assert word in result.output


def test_a_reward_that_is_not_what_the_arithmetic_gives_is_found_wrong(
    warehouse: Warehouse, rollouts: list[Rollout], campaign: Campaign
) -> None:
    together = of_one_policy(rollouts)
    keep_rewards(warehouse, together, campaign, wrong_by=0.5)
    advantages = judge(together, campaign)[1]
    trained = next(each.rollout_id for each in advantages if each.advantage is not None)
    result = runner.invoke(app, ["reward", "explain", trained])
    assert result.exit_code == 1
    assert "have changed since" in result.output.replace("\n", " ")


@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), 0.5])
def test_a_stored_log_probability_that_is_none_leaves_its_rollout_out_by_name(
    rollouts: list[Rollout], campaign: Campaign, tmp_path: Path, odd: float
) -> None:
    together = of_one_policy(rollouts)
    trained = [each.rollout_id for each in judge(together, campaign)[1] if each.advantage is not None]
    rollout = next(each for each in together if each.id == trained[0])
    turn = rollout.turns[0]
    broken = turn.model_copy(update={"logprobs": (odd, *turn.logprobs[1:])})
    together[together.index(rollout)] = rollout.model_copy(update={"turns": (broken, *rollout.turns[1:])})
    scored = score(together, campaign, tmp_path)
    assert scored.counts["untrainable"] == 1
    assert rollout.id not in {row.rollout_id for row in read_training_rows(scored.rows_path)}


def test_an_unknown_rollout_is_wrong_use(warehouse: Warehouse) -> None:
    warehouse.ingest()
    result = runner.invoke(app, ["reward", "explain", "0000"])
    assert result.exit_code == 2 and "there is no rollout" in result.output.replace("\n", " ")


def test_rules_are_evaluated_as_policies_are(warehouse: Warehouse, tokenizer: Tokenizer) -> None:
    with Environment.load(shop_spec()) as shop:
        tasks = shop_tasks(shop)[:3]
    columns = TABLES["tasks"].columns
    rows = [dict.fromkeys(columns) | row for row in task_rows(tasks)]
    splits = [{"task_id": task.id, "split": "test"} for task in tasks]
    data = warehouse.record_batch(
        "task_dataset", "told", {"tasks": rows, "splits": splits}, run_id="r", code_version="c"
    )
    campaign = Campaign(
        domains=("shop",),
        rollouts=RolloutConfig(max_turns=10, toolbox=ToolboxConfig(pool=(SAGE, FOOL), experts=2)),
        evaluation=EvaluationConfig(rules=("cheapest_expert", "dearest_expert", "random")),
    )
    found = evaluate_rules(warehouse, tokenizer, campaign, "told", -1, data)
    assert {name: evaluated.summaries[0].solved for name, evaluated in found.items()} == {
        "cheapest_expert": 0,
        "dearest_expert": 3,
        "random": 0,
    }
    for name, evaluated in found.items():
        [row] = [row for row in evaluated.tables["evaluations"] if row["split"] == "test"]
        assert row["policy_id"] == f"rule:{name}" and row["simulated_experts"]


def test_the_documents_campaign_can_be_run() -> None:
    document = Path(__file__).parents[2] / "docs" / "rollouts.md"
    settings, many = re.findall(r"```yaml\n(.*?)```", document.read_text(), flags=re.DOTALL)
    campaign = Campaign.model_validate({"domains": ["shop"], **yaml.safe_load(settings)})
    assert (
        Campaign.model_validate({"domains": ["shop"], **yaml.safe_load(many)}).rollouts.workers
        != campaign.rollouts.workers
    )
    assert [profile.kind for profile in campaign.rollouts.toolbox.pool] == ["endpoint", "simulated"]
    assert campaign.evaluation.rollout_config(campaign.rollouts).toolbox.seed == 7


def test_scripted_tokens_are_tokens(rollouts: list[Rollout], tokenizer: Tokenizer) -> None:
    """What the environment, the experts and the user said stands in contexts only."""
    conversation = Conversation(tokenizer)
    for rollout in rollouts:
        for turn in rollout.turns:
            assert conversation.text(turn.completion_ids) == turn.text


def test_other_rewards_for_the_same_rollouts_are_another_job(rollouts: list[Rollout], tmp_path: Path) -> None:
    first, again, dear = (
        score(rollouts, Campaign(domains=("shop",), rewards=RewardConfig(cost=cost)), tmp_path).rows_path
        for cost in (0.1, 0.1, 0.7)
    )
    assert first == again != dear
