"""A server that somebody else runs: it is waited for, and neither started nor stopped here."""

import httpx
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from serving.endpoint import Endpoint
from serving.errors import EndpointUnreachable


class ServerElsewhere:
    """Stands where a `serving.vllm.VllmServer` would, for an endpoint that is there or comes back by itself."""

    def __init__(self, endpoint: Endpoint, *, patience_s: float = 600.0) -> None:
        self._endpoint = endpoint
        self._patience_s = patience_s

    def start(self) -> Endpoint:
        """Wait until it lists its models. Raises EndpointUnreachable after `patience_s`."""
        waiting = Retrying(
            stop=stop_after_delay(self._patience_s),
            wait=wait_exponential(multiplier=0.25, max=15),
            retry=retry_if_exception_type(httpx.HTTPError),
        )
        try:
            waiting(self._ask)
        except RetryError as failed:
            raise EndpointUnreachable(
                f"{self._endpoint.base_url} did not list its models for {self._patience_s:g} s "
                f"({failed.last_attempt.exception()}). Start it, or correct `engine.base_urls` and the key's variable."
            ) from None
        return self._endpoint

    def _ask(self) -> None:
        headers = {"authorization": f"Bearer {self._endpoint.api_key}"}
        httpx.get(f"{self._endpoint.base_url}/models", headers=headers, timeout=10).raise_for_status()

    def release(self) -> None:
        """Nothing was claimed."""

    def stop(self) -> None:
        """Whoever runs it restarts it."""
