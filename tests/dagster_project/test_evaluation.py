"""Evaluation of a campaign: every split with its intervals, stored and shown; preferences beside the base policy."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from dagster_project import report
from dagster_project.campaign import Campaign
from dagster_project.commands.summary import gather
from dagster_project.home import Home
from serving.models import ResolvedModel
from tests.dagster_project.played import CAMPAIGN, WISH, play
from trainer.conversation import Tokenizer, load_tokenizer
from trainer.settings import EvaluationConfig
from warehouse.queries import history
from warehouse.reports.plots import Point, pareto_front
from warehouse.warehouse import Warehouse


@pytest.fixture(scope="module")
def tokenizer(smollm2: ResolvedModel) -> Tokenizer:
    return load_tokenizer(smollm2.path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.parts.mkdir()
    return home


@pytest.fixture(scope="module")
def warehouse(home: Home, tokenizer: Tokenizer) -> Warehouse:
    return play(home, tokenizer)


POLICIES = 6
"""Base, warm, three rules, one iteration."""


def test_every_policy_has_a_row_for_every_split_that_was_asked_for(warehouse: Warehouse) -> None:
    rows = warehouse.query("SELECT split, count(*) AS policies, max(n) AS n FROM current_evaluations GROUP BY ALL")
    found = {row["split"]: (row["policies"], row["n"]) for row in rows.to_dicts()}
    assert found == {
        "test": (POLICIES, 6),
        "test/shop": (POLICIES, 6),
        "unseen_preference": (POLICIES, 1),
        "unseen_preference/shop": (POLICIES, 1),
        "unseen_tool": (POLICIES, 0),
    }


def test_a_split_without_tasks_is_called_empty_and_has_no_figures(warehouse: Warehouse, home: Home) -> None:
    [row] = warehouse.query(
        "SELECT success, cost_usd_mean FROM current_evaluations WHERE split = 'unseen_tool' AND iteration = 0"
    ).to_dicts()
    assert row == {"success": None, "cost_usd_mean": None}
    shown = report.evaluation(warehouse, "told", [])["held_out"].value
    assert "| after iteration 0 | unseen_tool | empty |  |" in shown
    assert [row["n"] for row in gather(home, "told", CAMPAIGN, [])["held_out"] if row["split"] == "unseen_tool"] == [
        0
    ] * POLICIES


def test_means_have_intervals_in_the_warehouse(warehouse: Warehouse) -> None:
    [record] = warehouse.query("SELECT record FROM current_evaluations WHERE split = 'test' AND iteration = 0")[
        "record"
    ].to_list()
    told = json.loads(record)
    for name in ("cost_usd", "latency_s", "turns"):
        low, high = told[f"{name}_interval"]
        assert low <= told[f"{name}_mean"] <= high
    assert told["success_low"] < told["success"] <= told["success_high"]


def test_by_default_only_the_test_split_is_evaluated(tmp_path: Path, tokenizer: Tokenizer) -> None:
    plain = CAMPAIGN.model_copy(update={"evaluation": EvaluationConfig(max_tasks=2)})
    home = Home(tmp_path)
    home.parts.mkdir()
    found = history.evaluations(play(home, tokenizer, plain), "told")
    assert {(one.summary.split, one.summary.n) for one in history.whole(found)} == {("test", 2)}


def test_adherence_is_measured_beside_the_base_policy_and_shown(warehouse: Warehouse) -> None:
    found = {
        (one.policy, one.summary.split): one.summary.adherence
        for one in history.whole(history.evaluations(warehouse, "told"))
    }
    assert found["base model", "test"] is None, "it is what the others are compared with"
    learnt = found["after iteration 0", "unseen_preference"]
    assert learnt is not None and (learnt.n, learnt.unpaired, learnt.solved) == (1, 0, 1)
    assert learnt.gain_mean == pytest.approx(learnt.score_mean - learnt.base_score_mean) and learnt.gain_mean > 1
    assert "| after iteration 0 | simulated | unseen_preference | 1 | 1 |" in (
        report.evaluation(warehouse, "told", [])["preferences"].value
    )
    assert WISH.cost


def test_policies_are_named_for_people_and_whole_splits_come_first(warehouse: Warehouse) -> None:
    names = [one.policy for one in history.whole(history.evaluations(warehouse, "told"), "test")]
    assert names == [
        "base model",
        "after warm start",
        "always the cheapest expert",
        "always the dearest expert",
        "chance",
        "after iteration 0",
    ]


def test_the_elements_of_the_reward_add_up_to_its_mean(warehouse: Warehouse) -> None:
    [trained] = history.training(warehouse, "told")
    gave = history.components(warehouse, "told")
    assert sum(means[0] for means in gave.values()) == pytest.approx(trained.reward.value)
    assert trained.n == 2 and trained.simulated_experts


def test_the_metadata_has_plots_tables_and_transcripts(warehouse: Warehouse) -> None:
    shown = report.evaluation(warehouse, "told", [])
    plots = [name for name, value in shown.items() if "data:image/png" in str(value.value)]
    assert plots == ["cost_accuracy", "learning/success", "learning/cost", "learning/reward", "reward_components"]
    assert shown["by_domain"].value.count("| shop |") == 2 * POLICIES


def test_prices_that_are_drawn_are_not_unseen_ones() -> None:
    settings = {"unseen": {"unseen_prices": 3}, "toolbox": {"prices": "drawn"}}
    with pytest.raises(ValidationError, match="set its prices to `task`"):
        Campaign.model_validate({"domains": ["shop"], "evaluation": settings})
    with pytest.raises(ValidationError, match="unseen_prizes"):
        Campaign.model_validate({"domains": ["shop"], "evaluation": {"unseen": {"unseen_prizes": 3}}})


def point(name: str, cost_usd: float, success: float) -> Point:
    return Point(name, "rule", cost_usd, None, success, (0.0, 1.0), False)


def test_the_front_holds_what_nothing_beats() -> None:
    found = [point("dear", 3, 0.9), point("cheap", 1, 0.2), point("beaten", 3, 0.5), point("as good", 1, 0.2)]
    assert [each.name for each in pareto_front(found)] == ["as good", "cheap", "dear"]
    assert pareto_front([]) == []
