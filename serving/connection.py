"""The HTTP connection to one endpoint: whom its credentials go to, and what a header can carry.

They go to the address of the endpoint alone: no redirect is followed, no proxy stands before this machine, and settings
that the environment holds for another service are not sent.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from serving.credentials import quiet_logs, without_userinfo
from serving.endpoint import Endpoint
from serving.errors import EndpointRefused

_SENDABLE = re.compile(r"[\x20-\x7e\t]*")
_OF_OTHERS = ("OpenAI-Organization", "OpenAI-Project")
"""Headers that the client library fills in from the environment."""


def connection(endpoint: Endpoint, headers: Mapping[str, str], timeout_s: float) -> openai.AsyncOpenAI:
    """Opened for the running loop. Raises EndpointRefused where address, key, header or proxy cannot be used."""
    url = endpoint.base_url
    sent = {"Authorization": endpoint.authorization, **headers}
    require_sendable(url, sent)
    quiet_logs(endpoint.credentials, secret_headers=bool(endpoint.requests.header_variables))
    try:
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=endpoint.api_key,
            default_headers={**_omitted(), **sent},
            default_query=dict(endpoint.credentials.query),
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, mounts=_direct(url)),
            timeout=timeout_s,
            max_retries=0,  # `serving.patience` is the one place that repeats
        )
    except (httpx2.InvalidURL, ValueError, ImportError, openai.OpenAIError) as error:
        reason = without_userinfo(endpoint.redacted(str(error)))
        raise EndpointRefused(
            f"{url} cannot be asked: {reason}. Correct the address, or the proxy's variable."
        ) from None


def require_sendable(url: str, headers: Mapping[str, str]) -> None:
    """Raises EndpointRefused for a value that no header can carry; the HTTP client's own error would quote it."""
    if wrong := [name for name, value in headers.items() if not _SENDABLE.fullmatch(value)]:
        raise EndpointRefused(
            f"{url} cannot be asked: the value of the header {wrong[0]} has a line end or another character that no "
            "header carries. Correct the key's variable."
        )


def is_loopback(url: str) -> bool:
    """Whether the address is one of this machine alone."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _direct(url: str) -> dict[str, None] | None:
    """No proxy for this machine's own addresses: it would be handed the key, and reaches another machine."""
    host = urlsplit(url).hostname if is_loopback(url) else None
    return {f"all://[{host}]" if ":" in host else f"all://{host}": None} if host else None


def _omitted() -> dict[str, Any]:
    """Headers that the client library would take from the environment, as it is told to leave them out."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    custom = [line.partition(":")[0].strip() for line in lines if ":" in line]
    return {name: openai.Omit() for name in (*_OF_OTHERS, *custom)}
