"""A run stops at its bounds and before a broken endpoint, says which, and loses nothing that was answered."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.budget import Budget
from serving.endpoint import Price, ServedModel
from serving.errors import BudgetExceeded, EndpointError, EndpointFailing, PriceMissing
from serving.ledger import Ledger
from tests.serving.provider import MODEL, Provider, ProviderError, request, serving, shouting

QUESTIONS = [request(f"question {i}") for i in range(5)]
DEAR = Price(input_usd_per_mtok=100_000, output_usd_per_mtok=300_000)
"""Five tokens each way: 2 USD a call."""


def stored(path: Path) -> int:
    ledger = Ledger(path, MODEL)
    return len(ledger.calls(ledger._id(each) for each in QUESTIONS))


@pytest.mark.parametrize(
    ("budget", "asked", "said"),
    [
        (Budget(max_calls=2), 2, "2 calls is used up"),
        (Budget(max_tokens=15), 2, "15 tokens is used up after 2 calls, 20 tokens"),
        (Budget(max_usd=3.5), 2, r"3\.5 USD is used up after 2 calls, 20 tokens and 4\.0000 USD"),
    ],
    ids=["calls", "tokens", "usd"],
)
def test_a_used_up_budget_stops_a_run_and_a_larger_one_continues_it(
    tmp_path: Path, provider: Provider, budget: Budget, asked: int, said: str
) -> None:
    path, served = tmp_path / "l.sqlite", ServedModel(MODEL, provider.endpoint, DEAR)
    with pytest.raises(BudgetExceeded, match=said):
        Ledger(path, served, budget=budget, concurrency=1).ask_many(QUESTIONS)
    assert len(provider.asked) == stored(path) == asked
    Ledger(path, served).ask_many(QUESTIONS)
    assert sorted(provider.asked) == [f"question {i}" for i in range(5)]


def test_stored_answers_cost_nothing(tmp_path: Path, provider: Provider) -> None:
    served = ServedModel(MODEL, provider.endpoint, DEAR)
    Ledger(tmp_path / "l.sqlite", served).ask_many(QUESTIONS)
    again = Ledger(tmp_path / "l.sqlite", served, budget=Budget(max_calls=0, max_usd=0))
    assert [call.cost_usd for call in again.ask_many(QUESTIONS)] == [2.0] * 5


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path, provider: Provider) -> None:
    with pytest.raises(PriceMissing, match=r"what smollm2.* costs is not known"):
        Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, provider.endpoint), budget=Budget(max_usd=1))


def _failing_after(good: int) -> Callable[[dict[str, Any]], str]:
    """A provider whose credit ends after so many answers."""

    def answer(body: dict[str, Any]) -> str:
        nonlocal good
        good -= 1
        if good < 0:
            raise ProviderError("your credit has ended")
        return shouting(body)

    return answer


def test_an_endpoint_that_mostly_fails_is_left_alone_and_what_it_answered_is_kept(tmp_path: Path) -> None:
    path, questions = tmp_path / "l.sqlite", [request(f"question {i}") for i in range(60)]
    budget = Budget(max_failure_share=0.5, failure_window=10)
    with serving(_failing_after(20)) as broken:
        ledger = Ledger(path, ServedModel(MODEL, broken.endpoint), budget=budget, concurrency=1)
        with pytest.raises(EndpointFailing, match=r"127\.0\.0\.1.*6 of the last 10 .*your credit has ended"):
            ledger.ask_many(questions)
        assert len(broken.asked) == 26
    with serving(shouting) as repaired:
        Ledger(path, ServedModel(MODEL, repaired.endpoint)).ask_many(questions)
        assert sorted(repaired.asked) == sorted(f"question {i}" for i in range(20, 60))


def test_some_refused_requests_do_not_stop_the_others(tmp_path: Path, provider: Provider) -> None:
    questions = [request(f"question {i}" if i % 2 else f"bad {i}") for i in range(40)]
    budget = Budget(max_failure_share=0.5, failure_window=10)
    ledger = Ledger(tmp_path / "l.sqlite", ServedModel(MODEL, provider.endpoint), budget=budget, concurrency=1)
    with pytest.raises(EndpointError, match="too long") as error:
        ledger.ask_many(questions)
    assert type(error.value) is EndpointError
    assert len(provider.asked) == 40


def test_an_address_that_answers_with_a_page_is_an_error_of_the_endpoint(tmp_path: Path) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>")
        await writer.drain()
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            model = ServedModel(MODEL, Provider(shouting).endpoint.model_copy(update={"base_url": url}))
            await asyncio.to_thread(Ledger(tmp_path / "l.sqlite", model).ask_many, QUESTIONS[:1])

    with pytest.raises(EndpointError, match="no chat completion: <html>"):
        asyncio.run(ask())
