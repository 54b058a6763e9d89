"""A record found bad: what it touched is listed, what is made later leaves it out and says so, what was made stays."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dagster_project.assets.loop import parent_batch
from dagster_project.cli import app
from dagster_project.home import Home
from dagster_project.record import consume
from dagster_project.runner import Step, run_steps
from tests.dagster_project.played import store
from trainer.rollout import Rollout
from warehouse.lineage import Edge
from warehouse.quarantine import lift, marks, quarantine
from warehouse.rows.tasks import split_of
from warehouse.soundness import (
    Quarantined,
    counted,
    refuse_quarantined,
    sound_rollouts,
    training_tasks,
)
from warehouse.warehouse import Warehouse

runner = CliRunner()


@pytest.fixture
def home(library_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the library's history, to write to, with the dataset of a campaign."""
    shutil.copytree(library_home.root, tmp_path / "home")
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    home = Home.here().prepare()
    run_steps([Step("task_dataset", "smoke")], home)
    return home


def command(*words: str) -> dict[str, Any]:
    result = runner.invoke(app, ["quarantine", *words, "--json"])
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def tasks_of(warehouse: Warehouse, batch_id: str) -> set[str]:
    return set(warehouse.read_batch(batch_id, "tasks")["id"])


def test_tasks_of_a_quarantined_call_vanish_from_the_next_dataset_and_old_batches_stay(home: Home) -> None:
    warehouse = Warehouse(home.warehouse, home.parts)
    before = consume(warehouse, "task_dataset", "smoke")
    had = tasks_of(warehouse, before.batch_id)
    calls = "SELECT llm_call_id, list(task_id) AS tasks FROM task_calls WHERE how = 'task' GROUP BY ALL ORDER BY 1"
    call, worded = next(
        (row["llm_call_id"], set(row["tasks"]))
        for row in warehouse.query(calls).to_dicts()
        if 0 < len(had & set(row["tasks"])) < len(had) / 2
    )
    looked = command(call, "--dry-run")
    assert looked["state"] == "not marked" and marks(warehouse) == []
    assert {task["id"] for task in looked["touched"]["tasks"]} == worded
    assert {batch["asset"] for batch in looked["touched"]["batches"]} >= {"candidate_tasks", "task_dataset"}

    command(call[:12], "--reason", "its patterns lose the number")
    run_steps([Step("task_dataset", "smoke")], home, again=True)
    after = consume(warehouse, "task_dataset", "smoke")
    left = tasks_of(warehouse, after.batch_id)
    assert left and not left & worded
    told = warehouse.query(
        "SELECT DISTINCT stage, detail FROM batch_rejections WHERE batch_id = ? AND reason = 'quarantined'",
        [after.batch_id],
    )
    assert told.rows() == [("dataset", f"llm_call {call}: its patterns lose the number")]
    assert tasks_of(warehouse, before.batch_id) == had, "nothing was deleted"

    listed = json.loads(runner.invoke(app, ["quarantine", "--list", "--json"]).stdout)
    assert [(row["kind"], row["record_id"]) for row in listed] == [("llm_call", call)]
    command(call, "--lift", "--reason", "read it again")
    assert marks(warehouse) == []
    run_steps([Step("task_dataset", "smoke")], home, again=True)
    assert tasks_of(warehouse, consume(warehouse, "task_dataset", "smoke").batch_id) == had


def test_an_old_dataset_is_trained_on_without_what_was_marked_since(home: Home) -> None:
    warehouse = Warehouse(home.warehouse, home.parts)
    data = consume(warehouse, "task_dataset", "smoke")
    tasks, none = training_tasks(warehouse, split_of(warehouse, data, "train"))
    assert none == 0
    bad = tasks[0]
    played = [_rollout(f"r{number}", task.id) for number, task in enumerate(tasks[:3])]
    quarantine(warehouse, ("task", bad.id), "ambiguous")
    quarantine(warehouse, ("rollout", "r2"), "cut by hand")
    left, quarantined = training_tasks(warehouse, split_of(warehouse, data, "train"))
    assert quarantined == 1 and bad.id not in {task.id for task in left} and len(left) == len(tasks) - 1
    kept, left_out = sound_rollouts(warehouse, played)
    assert [rollout.id for rollout in kept] == ["r1"] and counted(left_out) == {"quarantined": 2}
    with pytest.raises(Quarantined, match="all 2 rollouts"):
        sound_rollouts(warehouse, left_out)
    quarantine(warehouse, ("environment", bad.environment_id), "nonsense")
    with pytest.raises(Quarantined, match=rf"all {len(tasks)} training tasks"):
        training_tasks(warehouse, split_of(warehouse, data, "train"))
    assert len(split_of(warehouse, data, "train")) == len(tasks)


def _rollout(id: str, task_id: str) -> Rollout:
    rollout = Rollout.model_construct(task_id=task_id)
    rollout.__dict__["id"] = id
    return rollout


def test_a_quarantined_checkpoint_and_its_descendants_are_no_parents(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", tmp_path / "parts")
    _campaign(warehouse)
    quarantine(warehouse, ("checkpoint", "step-0"), "diverged")
    assert parent_batch(warehouse, "c", 0).asset == "warm_policy"
    with pytest.raises(Quarantined, match=r"step-0 is quarantined: diverged\. .*--lift"):
        parent_batch(warehouse, "c", 1)
    with pytest.raises(Quarantined, match="step-1 descends from checkpoint step-0, which is quarantined"):
        parent_batch(warehouse, "c", 2)
    assert lift(warehouse, ("checkpoint", "step-0"), "it was the plot") == 1
    refuse_quarantined(warehouse, "step-1")


def test_every_checkpoint_a_bad_environment_touched_is_listed_with_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    _campaign(Warehouse(tmp_path / "warehouse.duckdb", tmp_path / "parts"))
    touched = command("environment[shop]", "--reason", "rows contradict the policy")["touched"]
    found = {row["id"]: row["rollouts"] for row in touched["checkpoints"]}
    assert found == {"warm": 0, "step-0": 1, "step-1": 0}
    assert (touched["rollouts"], len(touched["tasks"])) == (2, 1)
    assert {batch["asset"] for batch in touched["batches"]} == {"environment", "warm_policy", "checkpoint"}


def _campaign(warehouse: Warehouse) -> None:
    """A warm start on one task, an update trained on its rollout, and one that left the rollout out."""
    tables: dict[str, Any] = {"environments": [{"id": "env", "domain": "shop"}]}
    store(warehouse, "environment", "shop", tables | {"tasks": [{"id": "t", "environment_id": "env"}]})
    checkpoint = {"id": "warm", "kind": "warm_start", "path": "artefacts/warm"}
    warm = {"updates": [{"id": "u-w", "checkpoint_id": "warm"}], "checkpoints": [checkpoint]}
    store(warehouse, "warm_policy", "c", warm, [Edge("task", "t", "update", "u-w", "demonstrated")])
    for number, status in enumerate(("trained", "zero_variance")):
        parent = "step-0" if number else "warm"
        update = {"id": f"u{number}", "checkpoint_id": f"step-{number}", "parent_checkpoint": parent}
        reward = {"update_id": update["id"], "rollout_id": f"r{number}", "status": status}
        rollout = {"id": f"r{number}", "task_id": "t", "policy_id": parent}
        row = {"id": f"step-{number}", "kind": "update", "parent_id": parent, "campaign": "c", "iteration": number}
        row["path"] = f"artefacts/step-{number}"
        made = {"updates": [update], "checkpoints": [row], "rewards": [reward], "rollouts": [rollout]}
        store(warehouse, "checkpoint", f"c-{number:04}", made)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nobody", "--reason", "x"], 1, "nothing is called"),
        (["environment[library]"], 2, "--reason"),
        (["proven_tasks[library]", "--reason", "x"], 1, "keeps nothing out"),
        (["environment[library]", "--lift", "--reason", "x"], 1, "is not quarantined itself"),
    ],
)
def test_a_mark_that_cannot_be_made_is_refused(
    library_home: Home, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(library_home.root))
    result = runner.invoke(app, ["quarantine", *words])
    assert result.exit_code == code and said in result.stderr
