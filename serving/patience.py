"""How long an endpoint is waited for: attempts, the waits between them, and the bound on all of it together.

An endpoint that asks to be left alone (`Retry-After`) is left alone by every request of the client.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from math import ceil
from time import monotonic, time
from typing import ClassVar, TypeVar
from weakref import WeakValueDictionary

import openai

from serving.answers import credit_is_spent
from serving.endpoint import Waits
from serving.errors import EndpointBusy, OddAnswer

T = TypeVar("T")
_slept = asyncio.sleep

_FAILURES = (openai.APIError, OddAnswer, TimeoutError)
_SHORTEST_S, _LONGEST_S = 0.5, 8.0
"""Between two attempts, where the endpoint asks for no longer wait."""
_NEVER_S = 1e9
"""A wait beyond this is no wait that an endpoint means."""
_SPREAD_S = 0.5
"""Requests that were held back together do not return at one moment."""
_AGAIN_LATER = (408, 409, 425, 429)
"""Statuses below 500 that ask for another try."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait; None if it asks for no wait that can be read."""
    now = _timestamp(headers.get("date", ""))
    at = _timestamp(headers.get("retry-after", ""))
    if at is not None:
        return max(0.0, at - (time() if now is None else now))  # by the endpoint's own clock
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= seconds < _NEVER_S:
            return seconds
    return None


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def is_transient(error: Exception) -> bool:
    """Whether another try may bring an answer."""
    if isinstance(error, openai.APIStatusError):
        spent = credit_is_spent(error.body)
        return (error.status_code >= 500 or error.status_code in _AGAIN_LATER) and not spent
    if isinstance(error, OddAnswer):
        return error.transient
    return isinstance(error, openai.APIConnectionError | TimeoutError)


class Gate:
    """Closed while an endpoint wants to be left alone. All clients of one address in this process share it."""

    _gates: ClassVar[WeakValueDictionary[str, "Gate"]] = WeakValueDictionary()

    def __init__(self) -> None:
        self._closed_until = 0.0  # on the monotonic clock

    @classmethod
    def of(cls, base_url: str) -> "Gate":
        """The gate of this address."""
        return cls._gates.setdefault(base_url, cls())

    def close(self, seconds: float) -> None:
        """Let nobody pass for so long."""
        self._closed_until = max(self._closed_until, monotonic() + seconds)

    async def passed(self, deadline: float) -> None:
        """Wait until it is open. Raises EndpointBusy at once if that is after `deadline`."""
        while (wait_s := self._closed_until - monotonic()) > 0:
            if monotonic() + wait_s > deadline:
                raise EndpointBusy(f"asks to be left alone for {ceil(wait_s)} s (`Retry-After`)")
            await _slept(min(wait_s + random.uniform(0, _SPREAD_S), deadline - monotonic()))


class GaveUp(Exception):
    """No attempt brought an answer; its cause is the last one's error."""

    def __init__(self, attempts: int) -> None:
        super().__init__(f"no answer in {attempts} attempts")
        self.attempts = attempts


async def answered(ask: Callable[[], Awaitable[T]], waits: Waits, gate: Gate) -> T:
    """The first answer of `ask`. Raises GaveUp, or EndpointBusy where the endpoint wants a longer wait than is left."""
    errors: list[Exception] = []
    try:
        async with asyncio.timeout(waits.total_s):
            return await _attempts(ask, waits, gate, errors)
    except _FAILURES as error:
        over = isinstance(error, TimeoutError) and bool(errors)
        raise GaveUp(max(1, len(errors))) from (errors[-1] if over else error)


async def _attempts(ask: Callable[[], Awaitable[T]], waits: Waits, gate: Gate, errors: list[Exception]) -> T:
    """`errors` takes one error per attempt."""
    deadline = monotonic() + waits.total_s
    failures = 0
    while True:
        await gate.passed(deadline)
        try:
            async with asyncio.timeout(waits.timeout_s):
                return await ask()
        except _FAILURES as error:
            errors.append(error)
            if not is_transient(error):
                raise
            pause_s = _asked_pause_s(error, len(errors))
            if pause_s is not None:
                gate.close(pause_s)
                continue
            failures += 1
            if failures > waits.retries:
                raise
        await _slept(_backoff_s(failures))


def _asked_pause_s(error: Exception, attempts: int) -> float | None:
    """Seconds for which the endpoint wants to be left alone; None if it does not say so."""
    if not isinstance(error, openai.APIStatusError):
        return None
    wait_s = retry_after_s(error.response.headers)
    if wait_s is None:
        return _backoff_s(attempts) if error.status_code == 429 else None
    return max(wait_s, _SHORTEST_S)


def _backoff_s(attempts: int) -> float:
    return min(_LONGEST_S, _SHORTEST_S * 2 ** min(attempts - 1, 10)) * random.uniform(1, 1.5)
