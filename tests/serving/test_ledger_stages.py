"""Different stages may be answered by different models, and it stays visible which answered what."""

from pathlib import Path

import pytest

from serving.endpoint import Price, ServedModel
from serving.errors import ReplayMiss
from serving.ledger import Ledger, read_header
from tests.serving.provider import Provider, request, serving, shouting

TABLES, PHRASES = request("design tables", template="columns"), request("word a request", template="phrases")


def test_each_stage_asks_its_own_model_and_the_calls_say_which(tmp_path: Path, provider: Provider) -> None:
    with serving(shouting) as strong:
        ledger = Ledger(
            tmp_path / "l.sqlite",
            ServedModel("small", provider.endpoint),
            stages={
                "phrases": ServedModel("large", strong.endpoint, Price(input_usd_per_mtok=1, output_usd_per_mtok=3))
            },
        )
        tables, phrases = ledger.ask_many([TABLES, PHRASES])
        assert (provider.asked, strong.asked) == (["design tables"], ["word a request"])
    assert (tables.model, phrases.model) == ("small", "large")
    assert (tables.cost_usd, phrases.cost_usd) == (None, pytest.approx(20e-6))


def test_a_recording_of_several_models_lists_and_replays_them(tmp_path: Path, provider: Provider) -> None:
    small, large = ServedModel("small", provider.endpoint), ServedModel("large", provider.endpoint)
    ledger = Ledger(tmp_path / "l.sqlite", small, stages={"phrases": large})
    calls = ledger.ask_many([TABLES, PHRASES])
    recording = tmp_path / "calls.jsonl"
    ledger.export_extract(recording, [call.id for call in calls], {"model": ledger.model})
    assert read_header(recording) == {"model": "small", "stages": {"phrases": "large"}}
    replay = Ledger.of_recording(recording, tmp_path / "r.sqlite")
    assert replay.ask_many([TABLES, PHRASES]) == calls
    with pytest.raises(ReplayMiss, match="recording of large"):
        replay.ask_many([request("word another", template="phrases")])


def test_a_price_stays_with_the_call_through_a_recording(tmp_path: Path, provider: Provider) -> None:
    dear = ServedModel("m", provider.endpoint, Price(input_usd_per_mtok=2, output_usd_per_mtok=8))
    ledger = Ledger(tmp_path / "l.sqlite", dear)
    (call,) = ledger.ask_many([TABLES])
    ledger.export_extract(tmp_path / "calls.jsonl", [call.id], {"model": "m"})
    (again,) = Ledger.of_recording(tmp_path / "calls.jsonl", tmp_path / "r.sqlite").ask_many([TABLES])
    assert again.cost_usd == call.cost_usd == pytest.approx(50e-6)
