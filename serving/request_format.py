"""How the requests of one endpoint differ from those of the reference interface. The bodies are `serving.bodies`."""

import os
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from envs.record import Record
from serving.errors import HeaderMissing

_SECRET = re.compile(r"auth|key|token|secret|cookie|password|signature", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"api.?key|secret|password|authorization|credential|(access|auth).?token", re.IGNORECASE)
_FIXED = frozenset({"model", "messages", "stream", "n"})
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"


def _names(value: object) -> Iterator[str]:
    """The names of all fields in a JSON value."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


class RequestFormat(Record):
    """What an endpoint accepts. The defaults keep to the strictest rules of the reference interface.

    `docs/serving.md` has examples. None of it is part of a question's identity: what is answered stays answered.
    """

    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How an answer is held to its schema. With `json_object` and `none` the prompt states the schema instead."""
    strict: bool = True
    """The `strict` of a JSON schema. A schema that the strict rules cannot express is always sent without it."""
    full_schema: bool = False
    """Send the schema with all its constraints (lengths, patterns, counts), which vLLM decodes under and the strict
    rules of the reference interface refuse."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name of the bound on an answer's tokens."""
    extra_tokens: int = Field(0, ge=0)
    """Added to that bound: room for thinking before the answer, or for a wordy model."""
    omit: tuple[Literal["temperature", "top_p", "seed", "max_tokens"], ...] = ()
    """Parameters that are not sent."""
    system_role: Literal["system", "developer", "user"] = "system"
    """The role of instructions; `user` puts them before the first question."""
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the body; they replace those of the same name."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers. Credentials belong in `header_variables`."""
    header_variables: dict[str, str] = Field(default_factory=dict)
    """Headers with credentials: name → the environment variable that holds the value."""

    @field_validator("extra_body")
    @classmethod
    def _leaves_the_question(cls, extra_body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if fixed := sorted(_FIXED & extra_body.keys()):
            raise ValueError(f"{fixed[0]} cannot be set here")
        if secret := [name for name in _names(extra_body) if _SECRET_FIELD.search(name)]:
            raise ValueError(f"{secret[0]} looks like a credential: settings are recorded; use header_variables")
        return extra_body

    @field_validator("headers", "header_variables")
    @classmethod
    def _are_header_names(cls, headers: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in headers if not re.fullmatch(_HEADER, name)]:
            raise ValueError(f"{wrong[0]!r} is no name of a header")
        return headers

    @field_validator("headers")
    @classmethod
    def _hold_no_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        if secret := [name for name in headers if _SECRET.search(name)]:
            raise ValueError(f"{secret[0]} looks like a credential: name its environment variable in header_variables")
        return headers

    def all_headers(self) -> dict[str, str]:
        """The headers to send, with the values of the environment. Raises HeaderMissing."""
        values = dict(self.headers)
        for header, variable in self.header_variables.items():
            if variable not in os.environ:
                raise HeaderMissing(f"Set the environment variable {variable}: the header {header} takes its value.")
            values[header] = os.environ[variable].strip()
        return values


REFERENCE = RequestFormat()
VLLM = RequestFormat(full_schema=True)
"""Of the servers that are started here."""
