"""Every wait for an endpoint ends: as it asks, within the bounds of the client, and with a reason."""

import asyncio
from typing import Any

import pytest

from serving.client import Client
from serving.endpoint import ChatAnswer, Endpoint
from serving.errors import EndpointBusy, EndpointError, EndpointUnreachable
from serving.patience import retry_after_s
from tests.serving.odd import Reply, chat, replying
from tests.serving.provider import request


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits for endpoints, which take no time: the clock is moved on instead."""
    slept: list[float] = []
    now = [1000.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        await asyncio.sleep(0)

    monkeypatch.setattr("serving.patience._slept", sleep)
    monkeypatch.setattr("serving.patience.monotonic", lambda: now[0])
    return slept


def ask(endpoint: Endpoint, **settings: Any) -> ChatAnswer:
    async def chat() -> ChatAnswer:
        async with Client(endpoint, **settings) as client:
            return await client.chat(request("hello"))

    return asyncio.run(chat())


def busy(status: int = 429, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": "slow down"}}, status, named)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Mon, 02 Mar 2026 10:00:30 GMT", "date": "Mon, 02 Mar 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 02 Mar 2026 10:00:00 GMT", "date": "Mon, 02 Mar 2026 10:00:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_response_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_an_endpoint_is_left_alone_as_long_as_it_asks_however_often(waits: list[float]) -> None:
    replies = [busy(Retry_After="7")] * 9
    with replying(*replies, Reply(chat())) as (endpoint, bodies):
        assert ask(endpoint, retries=0).text == "fine"
    assert len(bodies) == 10
    assert len(waits) == 9 and min(waits) >= 7


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_too_long_is_an_error_at_once(status: int, waits: list[float]) -> None:
    with replying(busy(status, Retry_After="3600")) as (endpoint, bodies):
        with pytest.raises(EndpointBusy, match=r"3600 s \(`Retry-After`\); a request may take 900 s"):
            ask(endpoint)
        assert len(bodies) == 1 and waits == []


def test_a_busy_endpoint_without_a_wait_is_asked_until_the_bound(waits: list[float]) -> None:
    with replying(busy()) as (endpoint, bodies):
        with pytest.raises(EndpointBusy, match="a request may take 40 s"):
            ask(endpoint, timeout_s=10, total_s=40)
        assert len(bodies) > 4 and sum(waits) <= 40


def test_other_clients_of_the_endpoint_hold_back_too(waits: list[float]) -> None:
    with replying(busy(Retry_After="50"), Reply(chat())) as (endpoint, bodies):
        waiting = Client(endpoint, timeout_s=10, total_s=10)
        with pytest.raises(EndpointBusy):
            asyncio.run(waiting.chat(request("first")))
        assert ask(endpoint).text == "fine"
    assert len(bodies) == 2 and len(waits) == 1 and waits[0] >= 50


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_an_account_without_credit_is_not_waited_for(code: str, waits: list[float]) -> None:
    reply = Reply({"error": {"message": "You exceeded your current quota", "code": code}}, 429, {"Retry-After": "1"})
    with replying(reply) as (endpoint, bodies):
        with pytest.raises(EndpointError, match="exceeded your current quota"):
            ask(endpoint)
        assert len(bodies) == 1 and waits == []


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with replying(busy(status)) as (endpoint, bodies):
        with pytest.raises(EndpointError, match=f"status {status}.*slow down"):
            ask(endpoint)
        assert len(bodies) == 1


@pytest.mark.parametrize("status", [500, 502, 529, 408, 409])
def test_a_fault_is_tried_a_few_times(status: int) -> None:
    with replying(busy(status)) as (endpoint, bodies):
        with pytest.raises(EndpointError, match=f"status {status}"):
            ask(endpoint, retries=2)
        assert len(bodies) == 3


def test_a_body_that_drips_ends_with_the_attempt() -> None:
    with replying(Reply(drips=True)) as (endpoint, bodies):
        with pytest.raises(EndpointUnreachable, match=r"in 2 attempts \(TimeoutError\); one may take 0\.1 s"):
            ask(endpoint, timeout_s=0.1, retries=1)
        assert len(bodies) == 2


def test_all_attempts_together_have_a_bound() -> None:
    bound = pytest.raises(EndpointUnreachable, match=r"all together 0\.2 s")
    with replying(Reply(drips=True)) as (endpoint, _), bound:
        ask(endpoint, timeout_s=0.15, retries=1000, total_s=0.2)


def test_an_address_that_is_none_is_an_error_of_the_endpoint() -> None:
    with pytest.raises(EndpointError, match="http://a b/v1"):
        ask(Endpoint(base_url="http://a b/v1", model="m"), retries=0)
