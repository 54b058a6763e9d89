"""Recording a domain: live from models elsewhere, or in batches, with answers that a real model once gave."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from dagster_project.home import Home
from dagster_project.synthesist import StageModel, synthesist_here
from generators.discovery import domain_folder
from generators.stage import SynthesistNotSet
from serving.errors import AnswersPending, PriceMissing
from serving.ledger import read_header
from tests.serving.provider import Provider, Recorded, completion, request, serving

runner = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.here().prepare()


@pytest.fixture
def library(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the library, to be recorded anew."""
    copy = home.root / "library"
    shutil.copytree(domain_folder("library"), copy)
    (copy / "calls.jsonl").unlink()
    monkeypatch.setattr("generators.recording.domain_folder", lambda _: copy)
    return copy


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded(domain_folder("library") / "calls.jsonl")


def envloom(*arguments: str, exit_code: int = 0) -> Result:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def texts_of(recording: Path) -> set[str]:
    """The answers, less the paraphrases: those are of other tasks under another name for the model."""
    return {call.text for call in Recorded(recording).calls if call.request.template != "paraphrase"}


def test_a_domain_is_recorded_in_batches_stage_by_stage(library: Path, recorded: Recorded) -> None:
    command = ["record", "library", "--mode", "batch", "--model", "m", "--base-url", "https://provider.test/v1"]
    rounds = 0
    while "pending" in (told := json.loads(envloom(*command, "--json").stdout)):
        rounds += 1
        (batch,) = told["pending"]
        lines = map(json.loads, Path(batch["requests"]).read_text(encoding="utf-8").splitlines())
        bodies = [(line["custom_id"], completion(recorded(line["body"]))) for line in lines]
        answers = [{"custom_id": id, "response": {"status_code": 200, "body": body}} for id, body in bodies]
        Path(batch["answers"]).write_text("\n".join(map(json.dumps, answers)))
        found = json.loads(envloom("answers", "import", batch["answers"], "--json").stdout)
        assert found["stored"] == batch["count"] == len(answers)
    assert rounds >= 5, "columns, values, lifecycles, policy and phrases each wait for the one before"
    assert told["recording"] == str(library / "calls.jsonl")
    assert texts_of(library / "calls.jsonl") == texts_of(domain_folder("library") / "calls.jsonl")
    assert read_header(library / "calls.jsonl")["model"] == "m@https://provider.test/v1"


@pytest.mark.usefixtures("library")
def test_a_waiting_batch_says_what_to_do_and_is_no_failure(home: Home) -> None:
    command = ["record", "library", "--mode", "batch", "--model", "m", "--base-url", "https://provider.test/v1"]
    said = envloom(*command).stdout
    assert "vllm.entrypoints.openai.run_batch --model m" in said and "envloom answers import" in said
    envloom("record", "library", "--mode", "sometimes", exit_code=2)
    strange = home.root / "strange.jsonl"
    strange.write_text(json.dumps({"custom_id": "someone-elses", "error": "no"}))
    assert "someone-elses" in envloom("answers", "import", str(strange), exit_code=1).output
    strange.write_text("no JSON")
    assert "strange.jsonl:1" in envloom("answers", "import", str(strange), exit_code=1).output


@pytest.fixture
def two(recorded: Recorded) -> Iterator[tuple[Provider, Provider]]:
    with serving(recorded) as small, serving(recorded) as strong:
        yield small, strong


def test_stages_with_a_model_of_their_own_ask_it_and_the_recording_says_so(
    library: Path, two: tuple[Provider, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, strong = two
    setting = {"model": "strong", "base_url": strong.base_url, "api_key_variable": "STRONG_KEY"}
    setting |= {"requests": {"omit": ["top_p"], "extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}}
    monkeypatch.setenv("ENVLOOM_SETTINGS", json.dumps({"stages": {"phrases": setting}}))
    monkeypatch.setenv("STRONG_KEY", "s3cret")
    envloom("record", "library", "--model", "small", "--base-url", small.base_url)
    calls = Recorded(library / "calls.jsonl").calls
    by_model = {call.model: {c.request.template for c in calls if c.model == call.model} for call in calls}
    assert by_model[f"strong@{strong.base_url}"] == {"phrases"}
    assert {"columns", "values", "policy"} <= by_model[f"small@{small.base_url}"]
    assert len(strong.bodies) == sum(call.request.template == "phrases" for call in calls)
    assert {body["model"] for body in strong.bodies} == {"strong"}
    assert all("top_p" not in body and body["chat_template_kwargs"] for body in strong.bodies)
    assert all("top_p" in body for body in small.bodies)
    assert read_header(library / "calls.jsonl")["stages"] == {"phrases": f"strong@{strong.base_url}"}
    assert strong.keys == {"Bearer s3cret"} and small.keys == {"Bearer none"}


def test_a_setting_that_names_nothing_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    far = {"model": "m", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(SynthesistNotSet, match=r"no stage phrase\. Use .*phrases"):
        synthesist_here(mode="live", **far, stages={"phrase": StageModel(**far)}).ledger("library", home)
    with pytest.raises(SynthesistNotSet, match="only one of"):
        synthesist_here(mode="live", **far, input_usd_per_mtok=1).ledger("library", home)
    with pytest.raises(SynthesistNotSet, match=r"m: requests\.omit\.0.*Its fields are response_format"):
        synthesist_here(mode="live", **far, requests={"omit": ["model"]}).ledger("library", home)
    with pytest.raises(SynthesistNotSet, match="m: total_s"):
        synthesist_here(mode="live", **far, total_s=0).ledger("library", home)
    with pytest.raises(PriceMissing, match="m@http"):
        synthesist_here(mode="live", **far, max_usd=1).ledger("library", home)
    for wrong, said in (
        ('{"stage": {}}', "no setting stage"),
        ('{"stages": {"phrases": {"model": "m", "base_ulr": "x"}}}', r"stages\.phrases: there is no setting base_ulr"),
        ("[]", "must be an object"),
        ("{", "ENVLOOM_SETTINGS"),
        ('{"max_usd": "much"}', "max_usd"),
    ):
        monkeypatch.setenv("ENVLOOM_SETTINGS", wrong)
        with pytest.raises(SynthesistNotSet, match=said):
            synthesist_here()


def test_the_bounds_of_the_synthesist_reach_its_ledger(home: Home) -> None:
    bounds = {"max_calls": 3, "max_tokens": 4, "max_usd": 5.0, "max_failure_share": 0.25, "failure_window": 7}
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    ledger = synthesist_here(mode="live", model="m", base_url="http://x/v1", **bounds, **price).ledger("library", home)
    assert ledger.meter.budget.model_dump() == bounds
    assert ledger.default.price is not None and ledger.default.price.model_dump() == price


def test_batch_mode_asks_nobody(home: Home, two: tuple[Provider, Provider]) -> None:
    ledger = synthesist_here(mode="batch", model="m", base_url=two[0].base_url).ledger("library", home)
    with pytest.raises(AnswersPending):
        ledger.ask_many([request("anything")])
    assert two[0].bodies == []


def test_an_endpoint_without_answer_ends_a_recording_with_one_message(library: Path) -> None:
    result = envloom("record", "library", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", exit_code=1)
    assert "EndpointUnreachable" in result.output and "127.0.0.1:9" in result.output
    assert not (library / "calls.jsonl").exists()
