"""Synthesis where an event loop runs already, as in a notebook."""

import asyncio
from pathlib import Path
from typing import Any

from generators.brief import load_brief
from generators.discovery import BUILT_IN
from generators.domain import synthesise
from serving.endpoint import LlmCall, ServedModel
from serving.ledger import Ledger
from tests.serving.odd import Reply, chat, replying

DOMAIN = BUILT_IN / "sport"


def test_a_live_synthesis_in_a_notebook_makes_the_recorded_environment(tmp_path: Path) -> None:
    lines = (DOMAIN / "calls.jsonl").read_text().splitlines()[1:]
    calls = [LlmCall.model_validate_json(line) for line in lines]
    texts = {tuple(message.content for message in call.request.messages): call for call in calls}

    def recorded(body: dict[str, Any]) -> Reply:
        call = texts[tuple(message["content"] for message in body["messages"])]
        return Reply(chat(call.text, call.finish_reason))

    brief, name = load_brief(DOMAIN), "sport"
    replayed = synthesise(brief, name, Ledger.of_recording(DOMAIN / "calls.jsonl", tmp_path / "replay.sqlite"))
    with replying(recorded) as (endpoint, bodies):
        ledger = Ledger(tmp_path / "live.sqlite", ServedModel(calls[0].model, endpoint))

        async def notebook() -> bytes:
            return synthesise(brief, name, ledger).spec.canonical()

        assert asyncio.run(notebook()) == replayed.spec.canonical()
    assert len(bodies) == len(ledger.used)
