"""The command as a person uses it: exit codes, one clear message, JSON where asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.campaign import FOLDER, CampaignError, load_campaign, parse_iteration_key, reseeded
from dagster_project.cli import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))


def test_checking_a_good_domain_shows_proven_tasks() -> None:
    result = runner.invoke(app, ["domain", "check", "library", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert any(line.startswith("proven") for line in report["lines"])
    assert report["problems"] == []


def test_checking_an_unknown_domain_lists_the_known_ones() -> None:
    result = runner.invoke(app, ["domain", "check", "moonbase"])
    assert result.exit_code == 2
    said = result.output.replace("\n", " ")
    assert "Known: " in said and "ecommerce" in said and "library" in said


def test_a_wrong_name_is_wrong_use() -> None:
    assert runner.invoke(app, ["domain", "new", "Big Shop"]).exit_code == 2
    assert runner.invoke(app, ["train", "nowhere"]).exit_code == 2


def test_the_lineage_of_nothing_is_found_wrong() -> None:
    result = runner.invoke(app, ["lineage", "0" * 32])
    assert result.exit_code == 1
    assert "nothing is called" in result.output


def test_a_campaign_with_a_wrong_field_names_file_and_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_project.campaign.FOLDER", tmp_path)
    (tmp_path / "broken.yaml").write_text("domains: [library]\nupdate: {learning_rat: 1}\n")
    with pytest.raises(CampaignError, match=r"broken\.yaml") as error:
        load_campaign("broken")
    assert "update.learning_rat" in str(error.value)
    with pytest.raises(CampaignError, match="Known: broken"):
        load_campaign("other")


def test_another_seed_is_a_campaign_of_its_own_that_does_not_change_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("dagster_project.campaign.FOLDER", tmp_path)
    page = tmp_path / "short.yaml"
    page.write_text("domains: [library]\nupdate: { learning_rate: 2.0e-4 }\n")
    assert reseeded("short", 3) == reseeded("short", 3) == "short-seed-3"
    assert load_campaign("short-seed-3") == load_campaign("short").model_copy(update={"seed": 3})
    page.write_text("domains: [library]\nmax_calls: 2\n")
    with pytest.raises(CampaignError, match=r"short-seed-3\.yaml: its settings are no longer those of short"):
        reseeded("short", 3)
    assert runner.invoke(app, ["train", "short", "--seed", "3"]).exit_code == 2
    assert load_campaign("short-seed-3").update.learning_rate == 2e-4


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_each_of_our_campaigns_runs_under_another_seed(name: str) -> None:
    assert load_campaign(reseeded(name, 3)) == load_campaign(name).model_copy(update={"seed": 3})


def test_the_command_runs_a_campaign_it_has_just_written_for_another_seed(tmp_path: Path) -> None:
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "short.yaml").write_text("domains: [library]\npolicy: no-such-model\n")
    command = [sys.executable, "-m", "dagster_project.cli", "train", "short", "--seed", "3"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "base_policy[short-seed-3]" in ran.stderr and "no-such-model" in ran.stderr
    assert "DagsterUnknownPartitionError" not in ran.stderr


@pytest.mark.parametrize("key", ["demo", "demo-", "-0001", "demo-x"])
def test_an_iteration_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(CampaignError, match="<campaign>-0000"):
        parse_iteration_key(key)
