"""Credentials of addresses and settings are sent, and found nowhere else: not in a home, a dataset or a message."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dagster_project.campaign import CampaignError, load_campaign
from dagster_project.home import Home
from dagster_project.synthesist import StageModel, Synthesist, synthesist_here
from generators.discovery import domain_folder
from generators.stage import SynthesistNotSet
from tests.command import run_envloom
from tests.serving.provider import Provider, ProviderError, Recorded, request, serving, shouting
from warehouse.warehouse import Warehouse

PASSWORD, QUERY, KEY = "SECRETPW77", "SECRETQUERY88", "SECRETKEY99"
SECRETS = (PASSWORD, QUERY, KEY)


def with_credentials(url: str) -> str:
    return f"{url.replace('://', f'://user:{PASSWORD}@')}?api_key={QUERY}"


def holding_a_secret(folder: Path) -> list[str]:
    return [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and any(secret.encode() in file.read_bytes() for secret in SECRETS)
    ]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("ENVLOOM_API_KEY", KEY)
    monkeypatch.setenv("ENVLOOM_SYNTHESIST", "m")
    monkeypatch.setenv("ENVLOOM_LIVE", "1")
    return monkeypatch


def test_a_domain_made_at_an_address_with_credentials_leaves_none_in_its_home_and_datasets(
    tmp_path: Path, settings: pytest.MonkeyPatch
) -> None:
    with serving(Recorded(domain_folder("library") / "calls.jsonl")) as provider:
        settings.setenv("ENVLOOM_BASE_URL", with_credentials(provider.base_url))
        run = run_envloom(tmp_path, "domain", "make", "library")
        assert run.returncode == 0, run.stderr
    home = Home(tmp_path)
    proven = "SELECT batch_id FROM current_batches WHERE asset = 'proven_tasks'"
    (batch,) = Warehouse(home.warehouse, home.parts).query(proven)["batch_id"]
    exported = run_envloom(tmp_path, "export", "tasks", "--batch", batch, "--json")
    assert provider.keys == {"Basic dXNlcjpTRUNSRVRQVzc3"}
    assert not holding_a_secret(tmp_path)
    assert not [secret for secret in SECRETS if secret in run.stdout + run.stderr + exported.stdout]
    card = (Path(json.loads(exported.stdout)["path"]) / "README.md").read_text()
    assert "`m@private`" in card and "127.0.0.1" not in card


def test_a_key_that_the_provider_quotes_is_in_no_message_and_no_history(
    tmp_path: Path, settings: pytest.MonkeyPatch
) -> None:
    def refuse(_: dict[str, Any]) -> str:
        raise ProviderError(f"Incorrect API key provided: {os.environ['ENVLOOM_API_KEY']}")

    with serving(refuse) as provider:
        settings.setenv("ENVLOOM_BASE_URL", provider.base_url)
        run = run_envloom(tmp_path, "domain", "make", "library")
    assert run.returncode != 0 and "Incorrect API key provided: ***" in run.stdout + run.stderr
    assert KEY not in run.stdout + run.stderr
    assert not holding_a_secret(tmp_path)


@pytest.mark.parametrize("model", [StageModel, dict])
def test_dagster_is_told_addresses_without_credentials(model: Any) -> None:
    url = with_credentials("http://host/v1")
    synthesist = Synthesist(base_url=url, stages={"phrases": model(model="m", base_url=url)})
    assert synthesist.base_url == "http://host/v1"
    assert not [secret for secret in SECRETS if secret in repr((synthesist, vars(synthesist)))]


@pytest.mark.parametrize(
    "text",
    [
        '{"max_calls": "SECRETKEY99"}', '{"api_key": "SECRETKEY99"}', '{"stages": {"phrases": "SECRETKEY99"}}',
        '{"stages": {"phrases": {"model": {"key": "SECRETKEY99"}}}}', '{"model": ["SECRETKEY99"]}', '["SECRETKEY99"]',
        '{"api_key_variable": "sk-SECRETKEY99"}', '{"api_key": SECRETKEY99}', '"SECRETKEY99"',
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_not_quoted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_SETTINGS", text)
    with pytest.raises(SynthesistNotSet) as refused:
        synthesist_here()
    assert KEY not in str(refused.value) and refused.value.__cause__ is None


@pytest.mark.parametrize(
    "page",
    [
        "engine: {api_key: SECRETKEY99}", "engine: {max_num_seqs: SECRETKEY99}", "seed: [SECRETKEY99]",
        "engine: {api_key_variable: x, api_key: SECRETKEY99", "api_key: 'SECRETKEY99", "\tkey: SECRETKEY99",
        "engine: {base_urls: ['http://host/v1'], api_key_variable: sk-SECRETKEY99}",
        "engine: {base_urls: ['http://user:SECRETKEY99@host/v1']}",
        "engine: {base_urls: ['http://host/v1?api_key=SECRETKEY99']}",
        "rollouts: {user: {model: m, base_url: 'http://SECRETKEY99@host/v1'}}",
        "rollouts: {toolbox: {pool: [{kind: endpoint, name: a, base_url: 'http://u:SECRETKEY99@host/v1', model: m, "
        "input_usd_per_mtok: 1, output_usd_per_mtok: 1}]}}",
    ],
)  # fmt: skip
def test_a_campaign_that_cannot_be_used_is_named_and_not_quoted(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "own.yaml").write_text(f"domains: [library]\n{page}\n")
    with pytest.raises(CampaignError, match=r"own\.yaml") as refused:
        load_campaign("own")
    assert KEY not in str(refused.value) and refused.value.__cause__ is None


def test_the_provider_of_a_stage_gets_its_own_credentials(tmp_path: Path, settings: pytest.MonkeyPatch) -> None:
    def asks(provider: Provider, template: str) -> set[str]:
        ledger.ask_many([request("?", template=template)])
        return provider.keys

    with serving(shouting) as default, serving(shouting) as of_phrases:
        settings.setenv("ENVLOOM_BASE_URL", default.base_url)
        stages = {"phrases": StageModel(model="m", base_url=with_credentials(of_phrases.base_url))}
        ledger = synthesist_here(stages=stages).ledger("library", Home(tmp_path))
        assert asks(default, "tables") == {f"Bearer {KEY}"}
        assert asks(of_phrases, "phrases") == {"Basic dXNlcjpTRUNSRVRQVzc3"}
    assert not holding_a_secret(tmp_path)
