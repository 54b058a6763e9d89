"""Addresses and keys: the form that is recorded and shown, apart from the credentials, which are only sent.

The public form of an address has scheme, host, port and path; no user, password, query or fragment.
"""

import ipaddress
import logging
import re
from base64 import b64encode
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

HIDDEN = "***"
_SHORTEST = 6
"""Characters of the shortest secret that is searched for in texts: shorter ones are parts of words."""
_SCHEME = re.compile(r"(?i:https?|wss?|s3):/*|//")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_FINGERPRINT = re.compile(r"(?P<model>.*?)@(?P<address>(?i:https?)://.*)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_OWN = ("local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain", "localhost", "test", "svc")
_KNOWN: dict[str, str] = {}
"""Public form → address with its credentials, in this process's memory only. See `kept_apart`."""


class Credentials(BaseModel):
    """The part of an address that is sent and never shown."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    userinfo: str = Field("", repr=False)
    """`user:password`, percent-encoded as in the address."""
    query: tuple[tuple[str, str], ...] = Field((), repr=False)

    @property
    def basic(self) -> str:
        """The value of the header `Authorization`; empty without a user."""
        user, _, password = self.userinfo.partition(":")
        return f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}" if self.userinfo else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown."""
        password = self.userinfo.partition(":")[2]
        of_user = (
            self.userinfo,
            unquote(self.userinfo),
            password,
            unquote(password),
            self.basic.removeprefix("Basic "),
        )
        return (*of_user, *(value for _, value in self.query))


class _Parts(NamedTuple):
    public: str
    userinfo: str
    query: str


def split_address(address: str) -> tuple[str, Credentials]:
    """The public form of an address, and its credentials. One without credentials stays as it is, letter by letter."""
    parts = _parts(address)
    return parts.public, Credentials(
        userinfo=parts.userinfo, query=tuple(parse_qsl(parts.query, keep_blank_values=True))
    )


def public_address(address: str) -> str:
    """Scheme, host, port and path."""
    return _parts(address).public


def kept_apart(address: str) -> str:
    """The public form, to be recorded; `with_credentials` gives the whole address back to this process."""
    public = public_address(address)
    if public != address:
        _KNOWN[public] = address
    return public


def with_credentials(public: str) -> str:
    """The address as `kept_apart` got it; else the public form itself."""
    return _KNOWN.get(public, public)


def published(fingerprint: str) -> str:
    """A model's fingerprint as datasets show it: no credentials, and `<model>@private` for a host of a private network.

    A fingerprint of weights, `<model>@<hash>`, stays as it is.
    """
    match = _FINGERPRINT.fullmatch(fingerprint)
    if match is None:
        return fingerprint
    address = public_address(match["address"])
    return f"{match['model']}@{address if _is_public(address) else 'private'}"


def quiet_logs(credentials: Credentials, *, secret_headers: bool = False) -> None:
    """Have HTTP clients write no line per request: at INFO it quotes the whole address, at DEBUG headers."""
    if credentials.query or secret_headers:
        for name in ("httpx", "httpx2", "httpcore", "httpcore2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` in the place of every secret."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def without_userinfo(text: str) -> str:
    """A text of another program, with `***` in the place of users and passwords of the addresses in it."""
    return re.sub(r"://[^/?#\s]*@", f"://{HIDDEN}@", text)


def is_variable(name: str) -> bool:
    """Whether an environment variable can be called so. Most keys cannot: they have a `-` or begin with a digit."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def shown_variable(name: str) -> str:
    """The name of an environment variable, if it looks like one: people write the key itself into such a setting."""
    return name if _VARIABLE.fullmatch(name) else f"{HIDDEN} (it does not look like a variable's name, such as API_KEY)"


def _parts(address: str) -> _Parts:
    scheme = _SCHEME.match(address)
    start = scheme.end() if scheme else 0
    rest = address[start:]
    end = re.search(r"[/?#\\]|$", rest)
    assert end is not None  # `$` matches
    at = rest.rfind("@", 0, end.start())
    if at < 0 and not _HOST.fullmatch(rest[: end.start()]):  # a password with a slash in it: up to the last `@`
        at = rest.rfind("@")
    userinfo, rest = rest[: max(at, 0)], rest[at + 1 :]
    path, mark, query = re.fullmatch(r"([^?#]*)([?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    return _Parts(address[:start] + path, userinfo, query.partition("#")[0] if mark == "?" else "")


def _is_public(address: str) -> bool:
    """Whether the host has an address or a name of the public network."""
    try:
        host = (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        labels = host.split(".")
        return len(labels) > 1 and labels[-1] not in _OWN and not labels[-1].isdigit() and "svc" not in labels
