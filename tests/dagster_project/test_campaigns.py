"""A campaign is a file that a person writes: what is wrong with one is named, and breaks that campaign alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.campaign import (
    CampaignError,
    campaign_names,
    load_campaign,
    require_domains,
    reseeded,
    unusable_names,
)
from dagster_project.cli import app
from dagster_project.home import REPOSITORY
from dagster_project.synthesist import DEFAULT_MODEL, synthesist_here

PAGE = "title: Bike rental\ndescription: A shop lends bikes by the day. Riders book, fetch and bring back bikes.\n"
SECRET = "sk-proj-SECRET"


@pytest.fixture
def campaigns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person's own campaigns."""
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "campaigns"
    folder.mkdir(parents=True)
    return folder


def test_a_campaign_may_use_merge_keys(campaigns: Path) -> None:
    (campaigns / "own.yaml").write_text(
        "domains: [library]\nwarm_start: &training {learning_rate: 1e-4, threads: 4}\n"
        "update:\n  <<: *training\n  learning_rate: 2e-4\n"
    )
    own = load_campaign("own")
    assert (own.warm_start.learning_rate, own.update.learning_rate, own.update.threads) == (1e-4, 2e-4, 4)


@pytest.mark.parametrize("word", ["yes", "on", "true", "True"])
def test_a_switch_may_be_written_as_people_write_it(campaigns: Path, word: str) -> None:
    (campaigns / "own.yaml").write_text(f"domains: [library]\nheld_out_prices: {word}\n")
    assert load_campaign("own").held_out_prices is True


@pytest.mark.parametrize(
    ("settings", "field", "problem"),
    [
        ("seed: 2026-02-30", "seed", "whole number"),
        ("seed: 2026-02-28", "seed", "whole number"),
        ("seed: 9007199254740993", "seed", "9007199254740991"),
        ("seed: -1", "seed", "greater than or equal to 0"),
        ("seed: yes", "seed", "whole number"),
        ("seed: true", "seed", "whole number"),
        ("seed: 1.0", "seed", "whole number"),
        ("seed: '1'", "seed", "whole number"),
        ("seed: 010", "seed", "whole number"),
        ("rollouts: {seed: 18446744073709551616}", "rollouts.seed", "9007199254740991"),
        ("rollouts: {toolbox: {seed: -9007199254740992}}", "rollouts.toolbox.seed", "9007199254740991"),
        ("rewards: {cost: .inf}", "rewards.cost", "finite"),
        ("rewards: {cost: .nan}", "rewards.cost", "greater than or equal to 0"),
        ("rewards: {cost: 1e999}", "rewards.cost", "finite"),
        ("rewards: {cost: '1'}", "rewards.cost", "without quotes"),
        ("update: {learning_rate: true}", "update.learning_rate", "number"),
        ("update: {learning_rat: 1}", "update.learning_rat", "Did you mean learning_rate?"),
        ("polizy: base", "polizy", "Did you mean policy?"),
        ("policy: 135", "policy", "put it in quotes"),
        ("max_calls: 1\nmax_calls: 2", "line 3", "'max_calls' is there twice"),
        ("seed: !!int five", "line 2", "type tag"),
        ("domains: [finance]", "line 2", "'domains' is there twice"),
    ],
)
def test_a_wrong_setting_is_named_with_file_and_field(campaigns: Path, settings: str, field: str, problem: str) -> None:
    (campaigns / "own.yaml").write_text(f"domains: [library]\n{settings}\n")
    with pytest.raises(CampaignError) as error:
        load_campaign("own")
    assert f"{campaigns / 'own.yaml'}: " in str(error.value)
    assert field in str(error.value) and problem in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        f"api_key: {SECRET}",
        f"engine: {{api_key: {SECRET}}}",
        f"engine: {{max_model_len: {SECRET}}}",
        f"engine: {SECRET}",
        f"seed: {SECRET}",
        f"api_key: *{SECRET}",
        f"api_key: !{SECRET} x",
        f"api_key: {SECRET}: x",
        f"policy: [{SECRET}]",
    ],
)
def test_an_error_shows_no_key_that_stands_in_a_campaign(campaigns: Path, settings: str) -> None:
    (campaigns / "own.yaml").write_text(f"domains: [library]\n{settings}\n")
    with pytest.raises(CampaignError) as error:
        load_campaign("own")
    causes: list[BaseException] = [error.value]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    assert SECRET not in "".join(map(str, causes))


@pytest.mark.parametrize("name", ["a...b", "a" * 81, "-x", "a\nb", "../demo", "a/b"])
def test_a_name_that_can_be_no_campaign_is_refused_with_the_remedy(campaigns: Path, name: str) -> None:
    if "/" not in name:
        (campaigns / f"{name}.yaml").write_text("domains: [library]\n")
    assert name not in campaign_names()
    with pytest.raises(CampaignError, match="Rename the file"):
        load_campaign(name)


def test_what_editors_and_folders_leave_is_no_campaign(campaigns: Path) -> None:
    (campaigns / ".#demo.yaml").symlink_to("nowhere")
    (campaigns / "._demo.yaml").write_bytes(b"\x00\x05\x16\x07")
    (campaigns / "folder.yaml").mkdir()
    assert not {".#demo", "._demo", "folder"} & set(campaign_names())


def test_a_link_to_nowhere_does_not_give_way_to_a_campaign_that_ships(campaigns: Path) -> None:
    (campaigns / "demo.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(CampaignError, match="cannot be read: No such file"):
        load_campaign("demo")


def test_another_seed_must_be_one_that_json_carries(campaigns: Path) -> None:
    with pytest.raises(CampaignError, match="seed: must lie between"):
        reseeded("demo", 2**53)
    assert not list(campaigns.iterdir())


def test_files_that_cannot_be_used_are_logged_and_leave_the_code_location_alone(
    campaigns: Path, tmp_path: Path
) -> None:
    """All of them at once, in a process of its own: Dagster imports this module."""
    (campaigns / "encoded.yaml").write_bytes(b"domains: [library]  # \xe4\n")
    (campaigns / "dated.yaml").write_text("domains: [library]\nseed: 2026-02-30\n")
    (campaigns / "deep.yaml").write_text("[" * 50_000)
    (campaigns / "empty.yaml").write_text("")
    (campaigns / "a...b.yaml").write_text("domains: [library]\n")
    (campaigns / "good.yaml").write_text("domains: [bikes]\n")
    for name in ("bikes", "car-rental", "shop.bak", "library", "boats"):
        (tmp_path / "domains" / name).mkdir(parents=True)
        (tmp_path / "domains" / name / "domain.yaml").write_text(PAGE)
    (tmp_path / "domains" / "boats" / "hooks.py").write_bytes(b"# \xff\n")
    (tmp_path / "domains" / "yachts" / "domain.yaml").mkdir(parents=True)
    code = (
        "import json; import dagster_project.definitions\n"
        "from dagster_project.partitions import CAMPAIGNS, DOMAINS\n"
        "print(json.dumps([CAMPAIGNS.get_partition_keys(), DOMAINS.get_partition_keys()]))"
    )
    variables = {**os.environ, "ENVLOOM_DOMAINS": str(tmp_path / "domains")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    names, domains = json.loads(run.stdout.splitlines()[-1])
    assert {"good", "encoded", "dated", "deep", "empty", "demo"} <= set(names) and "a...b" not in names
    assert {"bikes", "library", "boats", "yachts"} <= set(domains) and "car-rental" not in domains
    for problem in ("encoded.yaml", "dated.yaml", "deep.yaml", "empty.yaml", "a...b", "car-rental", "shop.bak"):
        assert problem in run.stderr
    assert run.stderr.count("Rename the folder") == 2


@pytest.mark.usefixtures("campaigns")
def test_a_folder_that_is_no_domain_is_named_by_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_DOMAINS", str(tmp_path))
    (tmp_path / "car-rental").mkdir()
    (tmp_path / "car-rental" / "domain.yaml").write_text(PAGE)
    checked = CliRunner().invoke(app, ["domain", "check", "car-rental"])
    assert checked.exit_code == 1 and "Rename the folder" in checked.output
    listed = CliRunner().invoke(app, ["env", "list"])
    assert listed.exit_code == 0 and "warning" in listed.stderr and "car-rental" in listed.stderr


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize(
    ("variable", "value", "command"),
    [
        ("ENVLOOM_DOMAINS", "/nowhere", ["env", "list", "--json"]),
        ("ENVLOOM_WAREHOUSE", "lake", ["query", "SELECT 1", "--json"]),
        ("ENVLOOM_WAREHOUSE", "lake", ["funnel"]),
        ("ENVLOOM_SETTINGS", '{"api_key": "sk-proj-SECRET"}', ["domain", "make", "library", "--json"]),
    ],
)
def test_a_variable_that_cannot_be_used_ends_any_command_with_one_message(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, command: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    ended = CliRunner().invoke(app, command)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ("ENVLOOM_" in ended.stderr or "is not a lake" in ended.stderr) and SECRET not in ended.stderr


@pytest.mark.usefixtures("campaigns")
def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ENVLOOM_SETTINGS", "ENVLOOM_SYNTHESIST", "ENVLOOM_DOMAINS", "ENVLOOM_WAREHOUSE"):
        monkeypatch.setenv(variable, "")
    assert synthesist_here().model == DEFAULT_MODEL
    assert CliRunner().invoke(app, ["env", "list"]).exit_code == 0


def test_a_domain_that_a_campaign_misspells_is_named_with_file_and_field(campaigns: Path) -> None:
    (campaigns / "own.yaml").write_text("domains: [library, finanse]\n")
    with pytest.raises(CampaignError) as error:
        require_domains("own", load_campaign("own"))
    assert f"{campaigns / 'own.yaml'}: domains: domain 'finanse'" in str(error.value)
    assert "Did you mean finance?" in str(error.value)
    assert CliRunner().invoke(app, ["train", "own"]).exit_code == 2


@pytest.mark.usefixtures("campaigns")
def test_a_name_with_marks_of_the_console_is_shown_as_it_is() -> None:
    ended = CliRunner().invoke(app, ["train", "[/red]"])
    assert ended.exit_code == 2 and "'[/red]'" in ended.stderr


@pytest.mark.parametrize("file", ["own.yml", "own.YAML", "own.YML"])
def test_a_campaign_with_another_ending_is_named_and_not_passed_over(campaigns: Path, file: str) -> None:
    (campaigns / file).write_text("domains: [library]\n")
    assert list(unusable_names()) == [file] and "own" not in campaign_names()
    with pytest.raises(CampaignError, match=rf"{file}: the file of a campaign ends in .yaml. Rename it."):
        load_campaign("own")


def test_a_page_that_cannot_be_read_fails_its_step_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "domains" / "bikes").mkdir(parents=True)
    (tmp_path / "domains" / "bikes" / "domain.yaml").write_text(PAGE + "seed: many\n")
    variables = {**os.environ, "ENVLOOM_DOMAINS": str(tmp_path / "domains"), "ENVLOOM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "dagster_project.cli", "domain", "make", "bikes", "--json"]
    run = subprocess.run(command, env=variables, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "domain.yaml: seed: must be a whole number" in run.stderr
    assert "Stack Trace" not in run.stderr and "Traceback" not in run.stderr
