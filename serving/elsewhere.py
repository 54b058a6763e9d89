"""A server that somebody else runs: it is waited for, and neither started nor stopped here."""

import asyncio

import httpx
from tenacity import RetryError, wait_exponential

from serving.blocking import run_blocking
from serving.connection import is_loopback, require_sendable
from serving.credentials import quiet_logs, without_userinfo
from serving.endpoint import Endpoint
from serving.errors import EndpointAbsent, EndpointRefused
from serving.waiting import NotYet, patiently

_ANSWER_S = 10.0  # for the whole answer, however slowly it drips
_LATER = frozenset({408, 425, 429})  # the 4xx that mean "ask again"

_ADDRESS = "Correct `engine.base_urls`: scheme, host and path up to the version, such as http://gpu-1:8000/v1."
_KEY = "Correct the key in the environment variable that `engine.api_key_variable` names."


class ServerElsewhere:
    """Stands where a `serving.vllm.VllmServer` would, for an endpoint that is there or comes back by itself."""

    def __init__(self, endpoint: Endpoint, *, patience_s: float = 600.0) -> None:
        self._endpoint = endpoint
        self._patience_s = patience_s

    def start(self) -> Endpoint:
        """Wait until it lists its models.

        Raises EndpointAbsent after `patience_s`, and EndpointRefused at once where waiting would not help: a wrong
        address, path or key.
        """
        try:
            patiently(self._endpoint.base_url, self._patience_s, wait_exponential(multiplier=0.25, max=15))(self._ask)
        except RetryError as failed:
            raise EndpointAbsent(
                f"{self._endpoint.base_url} did not list its models for {self._patience_s:g} s "
                f"({failed.last_attempt.exception()}). Start it, or correct `engine.base_urls` and the key's variable."
            ) from None
        return self._endpoint

    def _ask(self) -> None:
        """Raises NotYet, or EndpointRefused."""
        try:
            answer = run_blocking(self._models())
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError, ImportError) as error:  # the latter of proxies
            reason = without_userinfo(self._endpoint.redacted(str(error)))
            raise self._refused(f"cannot be asked ({reason})", _ADDRESS) from None
        except (httpx.HTTPError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_ANSWER_S:g} s"
            raise NotYet(self._endpoint.redacted(reason)) from None
        if answer.status_code >= 500 or answer.status_code in _LATER:
            raise NotYet(f"status {answer.status_code}")
        if answer.status_code in (401, 403):
            raise self._refused(f"refused the key with status {answer.status_code}", _KEY)
        if answer.status_code != 200 or not _lists_models(answer):
            raise self._refused(f"answered /models with status {answer.status_code} and no list of models", _ADDRESS)

    async def _models(self) -> httpx.Response:
        headers = {"Authorization": self._endpoint.authorization}
        require_sendable(self._endpoint.base_url, headers)
        query = dict(self._endpoint.credentials.query)
        quiet_logs(self._endpoint.credentials)
        proxied = not is_loopback(self._endpoint.base_url)
        async with httpx.AsyncClient(timeout=_ANSWER_S, trust_env=proxied) as web, asyncio.timeout(_ANSWER_S):
            return await web.get(f"{self._endpoint.base_url}/models", headers=headers, params=query)

    def _refused(self, fault: str, remedy: str) -> EndpointRefused:
        return EndpointRefused(f"{self._endpoint.base_url} {fault}. {remedy}")

    def release(self) -> None:
        """Nothing was claimed."""

    def stop(self) -> None:
        """Whoever runs it restarts it."""


def _lists_models(answer: httpx.Response) -> bool:
    try:
        listed = answer.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(listed, dict) and isinstance(listed.get("data"), list)
