"""A checkpoint looked at, made again, and carried elsewhere: what was altered or changed is found and named.

The history is real but for its tokens, which a tutor wrote (`tutored`); with vLLM it is `tests/test_reproduction`.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from dagster_project.home import REPOSITORY, Home
from dagster_project.jobs import finished_iterations
from dagster_project.reproduction.bundles import BundleBroken, open_bundle, write_bundle
from dagster_project.reproduction.outcome import Status
from dagster_project.reproduction.verifying import verify
from dagster_project.runner import Step, run_steps
from serving.models import ResolvedModel
from tests.dagster_project.tutored import NAME, resources, run_campaign, write_campaign
from tests.trainer.small import speaking_model
from trainer.checkpoint import ADAPTER
from warehouse.copying import copy_batch
from warehouse.lake import Lake
from warehouse.lake_connection import LakeDatabase
from warehouse.queries.checkpoint_history import Target, find_target
from warehouse.warehouse import Warehouse

ITERATION = f"{NAME}-0000"
PACKAGES = ("dagster_project", "envs", "generators", "serving", "trainer", "warehouse")


@pytest.fixture(scope="module")
def model(smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_model(tmp_path_factory.mktemp("model"), smollm2)


@pytest.fixture(scope="module")
def history(library_home: Home, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return run_campaign(library_home, tmp_path_factory.mktemp("history"), model, iterations=1)


@pytest.fixture(scope="module")
def bundle(history: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "history.tar"
    write_bundle(history, target_of(history), path)
    return path


@pytest.fixture
def altered(history: Home, tmp_path: Path) -> Iterator[tuple[Home, duckdb.DuckDBPyConnection]]:
    """A copy of the history, and a connection by which to do it harm."""
    shutil.copytree(history.root, tmp_path / "copy", ignore=shutil.ignore_patterns("dagster", "jobs", "state"))
    home = Home(tmp_path / "copy")
    with duckdb.connect(str(home.warehouse)) as connection:
        yield home, connection


def warehouse_of(home: Home) -> Warehouse:
    return Warehouse(home.warehouse, home.parts)


def target_of(home: Home) -> Target:
    return find_target(warehouse_of(home), ITERATION)


def envloom(monkeypatch: pytest.MonkeyPatch, home: Home, *words: str) -> Result:
    monkeypatch.setenv("ENVLOOM_HOME", str(home.root))
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    return CliRunner().invoke(app, list(words))


def told(output: str) -> dict[str, dict[str, Any]]:
    """Asset → what was found of it."""
    return {each["asset"]: each for each in json.loads(output.splitlines()[-1])["assets"]}


def test_what_is_stored_is_verified_asset_by_asset(history: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    result = envloom(monkeypatch, history, "reproduce", ITERATION, "--mode", "verify")
    assert result.exit_code == 0, result.output
    assert "14 identical" not in result.output and "11 identical" in result.output
    for line in (f"checkpoint[{ITERATION}]", f"evaluation[{ITERATION}]", f"baseline[{NAME}]", "proven_tasks[library]"):
        assert line in result.output


@pytest.mark.parametrize(
    ("asset", "harm", "found"),
    [
        ("environment", "UPDATE environments SET base_state_sha256 = repeat('0', 64)", "base_state_sha256"),
        ("environment", "UPDATE llm_calls SET template_sha256 = 'f'", "template_sha256"),
        ("candidate_tasks", "UPDATE tasks SET instruction = instruction || '!'", "instruction"),
        ("candidate_tasks", "UPDATE tasks SET record = replace(record, 'Please', 'please')", "(row)"),
        ("candidate_tasks", "DELETE FROM rejections", "rows of rejections are gone"),
        ("proven_tasks", "UPDATE audits SET wrong = wrong + 1", "wrong"),
        ("proven_tasks", "UPDATE checks SET name = 'novel'", "missing"),
        ("rollouts", "UPDATE rollouts SET solved = NOT solved", "solved"),
        ("rollouts", "UPDATE rollouts SET seed = seed + 1", "was altered"),
        ("checkpoint", "UPDATE turns SET logprobs = list_transform(logprobs, x -> x - 0.5)", "were trained"),
        ("checkpoint", "UPDATE rewards SET advantage = advantage * 2", "advantage"),
        ("checkpoint", "UPDATE checkpoints SET seed = 7 WHERE kind = 'update'", "seed"),
        ("checkpoint", "UPDATE batches SET data_version = 'other'", "asset, partition, content and run say"),
        ("evaluation", "UPDATE rollouts SET outcome = 'failed', solved = false", "evaluations"),
    ],
)
def test_an_altered_row_is_found(altered: tuple[Home, Any], asset: str, harm: str, found: str) -> None:
    home, connection = altered
    connection.execute(harm)
    connection.close()
    [batch] = [each for each in target_of(home).batches if each.asset == asset]
    finding = verify(home, warehouse_of(home), batch)
    assert finding.status is Status.DIFFERENT
    assert found in f"{finding.told} {finding.difference and finding.difference.sentence}"


def test_altered_and_missing_artefacts_are_found(altered: tuple[Home, Any]) -> None:
    home, connection = altered
    connection.close()
    batches = {batch.asset: batch for batch in target_of(home).batches}
    checkpoint, brief = batches["checkpoint"], batches["brief"]
    row = warehouse_of(home).read_batch(checkpoint.batch_id, "checkpoints").to_dicts()[0]
    weights = home.artefacts / row["id"] / ADAPTER
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    page = home.artefacts / f"brief-{brief.data_version}.json"
    page.write_text(page.read_text().replace("library", "librarium"))
    found = [verify(home, warehouse_of(home), batch) for batch in (checkpoint, brief)]
    assert [each.status for each in found] == [Status.DIFFERENT] * 2
    assert "the manifest says" in found[0].told and "holds another page" in found[1].told
    shutil.rmtree(weights.parent)
    gone = verify(home, warehouse_of(home), checkpoint)
    assert gone.status is Status.NOT_HERE and "is not there" in gone.told


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("adapter_config.json", '"lora_alpha": 4', '"lora_alpha": 400'), ("adapter_model.bin", "", "x")],
)
def test_settings_of_an_adapter_and_files_beside_it_are_verified(
    altered: tuple[Home, Any], name: str, old: str, new: str
) -> None:
    home, connection = altered
    connection.close()
    [batch] = [each for each in target_of(home).batches if each.asset == "checkpoint"]
    file = home.artefacts / warehouse_of(home).read_batch(batch.batch_id, "checkpoints")["id"].item() / name
    text = file.read_text() if old else ""
    assert old in text
    file.write_text(text.replace(old, new))
    finding = verify(home, warehouse_of(home), batch)
    assert finding.status is Status.DIFFERENT and name in finding.told


def test_a_fresh_clone_replays_a_bundle_and_names_the_template_that_is_another(
    bundle: Path, smollm2: ResolvedModel, tmp_path: Path
) -> None:
    clone, home = tmp_path / "clone", tmp_path / "home"
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, clone / name)
    template = clone / "generators" / "prompts" / "phrases.j2"
    template.write_text(template.read_text() + "\n")
    home.mkdir()
    (home / "models").symlink_to(smollm2.path.parent)
    command = [
        sys.executable,
        "-m",
        "dagster_project.cli",
        "reproduce",
        str(bundle),
        "--mode",
        "replay",
        "--trust",
        "--json",
    ]
    environment = {**os.environ, "ENVLOOM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    ran = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 1, ran.stderr
    found = told(ran.stdout)
    different = {asset for asset, each in found.items() if each["status"] != "identical"}
    assert different == {"candidate_tasks"}, found
    assert "ReplayMiss" in found["candidate_tasks"]["told"]
    causes = found["candidate_tasks"]["causes"]
    assert any(cause.startswith("prompt template phrases: recorded ") and ", here " in cause for cause in causes)
    assert {"warm_policy", "rollouts", "checkpoint", "evaluation", "baseline"} <= found.keys()
    assert "the archive trains: warm_policy[smoke], checkpoint[smoke-0000]" in ran.stderr


def test_a_seed_a_reward_weight_and_a_token_that_are_others_are_found_and_named(
    altered: tuple[Home, Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, connection = altered
    connection.execute(
        "UPDATE turns SET context_ids = list_concat(context_ids[:4], [7], context_ids[6:]) WHERE turn = 0 AND "
        "rollout_id IN (SELECT id FROM rollouts WHERE purpose = 'evaluation' AND iteration = 0)"
    )
    connection.close()
    write_campaign(home, model, seed=1, rewards={"cost": 0.7})
    asked = [word for asset in ("task_dataset", "checkpoint", "evaluation") for word in ("--asset", asset)]
    result = envloom(monkeypatch, home, "reproduce", ITERATION, "--inputs", "present", *asked, "--json")
    assert result.exit_code == 1, result.output
    found = told(result.output)
    assert found["rollouts"]["status"] == "taken over"
    assert found["task_dataset"]["difference"]["table"] == "splits"
    assert "campaign smoke: seed: recorded 0, here 1" in found["task_dataset"]["causes"]
    assert found["checkpoint"]["difference"]["table"] == "rewards"
    assert "campaign smoke: rewards.cost: recorded 0.1, here 0.7" in found["checkpoint"]["causes"]
    token = found["evaluation"]["difference"]
    assert (token["table"], token["column"], token["place"], token["recorded"]) == ("turns", "context_ids", "[4]", "7")


def test_a_history_on_a_lake_is_made_again_beside_it_and_the_lake_stays_as_it_is(
    history: Home, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(history.root, tmp_path / "copy", ignore=shutil.ignore_patterns("warehouse.duckdb", "jobs", "state"))
    home = Home(tmp_path / "copy", lake)
    for batch in target_of(history).batches:
        copy_batch(warehouse_of(history), batch.batch_id, warehouse_of(home))
    states = LakeDatabase(lake, 20).snapshots()
    monkeypatch.setenv("ENVLOOM_WAREHOUSE", lake.setting())
    asked = [word for asset in ("task_dataset", "rollouts") for word in ("--asset", asset)]
    result = envloom(monkeypatch, home, "reproduce", ITERATION, "--mode", "replay", *asked, "--json")
    found = told(result.output)
    assert {asset: found[asset]["status"] for asset in ("task_dataset", "rollouts")} == {
        "task_dataset": "identical", "rollouts": "identical",
    }, found  # fmt: skip
    assert result.exit_code == 0, result.output
    assert LakeDatabase(lake, 20).snapshots() == states


def test_a_checkpoint_that_is_not_due_is_not_evaluated_and_the_campaign_goes_on(
    history: Home, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(history.root, tmp_path / "copy", ignore=shutil.ignore_patterns("jobs", "state"))
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "copy"))
    monkeypatch.setattr("dagster_project.runner.resources", resources)
    home = Home.here().prepare()
    evaluated = "SELECT count(*) FROM current_evaluations WHERE campaign = 'smoke' AND iteration = 0"
    assert warehouse_of(home).query(evaluated).item() > 0
    write_campaign(home, model, evaluation={"max_tasks": 3, "every": 2})
    run_steps([Step("evaluation", ITERATION)], home, again=True)
    assert warehouse_of(home).query(evaluated).item() == 0
    assert finished_iterations(warehouse_of(home), NAME) == 1


def test_the_same_history_gives_the_same_archive(history: Home, bundle: Path, tmp_path: Path) -> None:
    write_bundle(history, target_of(history), tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()
    write_bundle(history, target_of(history), tmp_path / "small.tar.gz")
    assert (tmp_path / "small.tar.gz").stat().st_size < bundle.stat().st_size
    home, checkpoint = open_bundle(tmp_path / "small.tar.gz", _folder(tmp_path))
    assert checkpoint == target_of(history).checkpoint_id
    assert [batch.batch_id for batch in target_of(home).batches] == [b.batch_id for b in target_of(history).batches]


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "opened").mkdir()
    return tmp_path / "opened"


def _with(content: bytes, member: tarfile.TarInfo, inner: bytes) -> bytes:
    """The archive with one more member."""
    archive = BytesIO(content)
    with tarfile.open(fileobj=archive, mode="a") as opened:
        member.size = len(inner)
        opened.addfile(member, BytesIO(inner))
    return archive.getvalue()


def _flipped(content: bytes, name: str) -> bytes:
    """The archive with the last byte of the first file of that name changed."""
    with tarfile.open(fileobj=BytesIO(content)) as opened:
        member = next(member for member in opened if Path(member.name).name == name)
    at = member.offset_data + member.size - 1
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _link() -> tarfile.TarInfo:
    member = tarfile.TarInfo("rows/link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("what", "harm"),
    [
        ("truncated", lambda content: content[: len(content) // 2]),
        ("a byte of a weight", lambda content: _flipped(content, "adapter_model.safetensors")),
        ("the header", lambda content: content.replace(b'"asset":"brief"', b'"asset":"brXef"', 1)),
        ("no archive", lambda _: b"hello"),
        ("a file that does not belong", lambda content: _with(content, tarfile.TarInfo("rows/extra"), b"x")),
        ("a way out", lambda content: _with(content, tarfile.TarInfo("../../outside"), b"x")),
        ("a link out", lambda content: _with(content, _link(), b"")),
    ],
)
def test_an_altered_bundle_is_refused_with_one_error(bundle: Path, tmp_path: Path, what: str, harm: Any) -> None:
    path = tmp_path / "harmed.tar"
    path.write_bytes(harm(bundle.read_bytes()))
    with pytest.raises(BundleBroken, match="Write it again where it came from"):
        open_bundle(path, _folder(tmp_path))
    assert not (tmp_path.parent / "outside").exists(), what


def test_an_unknown_checkpoint_and_a_broken_bundle_are_wrong_use(
    history: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = envloom(monkeypatch, history, "reproduce", "nothing")
    assert result.exit_code == 2 and ITERATION in result.output
    (tmp_path / "bad.tar").write_bytes(b"")
    assert envloom(monkeypatch, history, "reproduce", str(tmp_path / "bad.tar")).exit_code == 2
