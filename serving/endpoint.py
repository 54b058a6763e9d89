"""What a served model is to its users: an address, and the questions and answers exchanged with it.

Frozen records only; who starts the server is `serving.vllm`, who speaks to it is `serving.client`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from envs.record import Record, content_id
from serving.amounts import token_cost
from serving.credentials import Credentials, redacted, split_address
from serving.request_format import REFERENCE, RequestFormat


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Endpoint(_Frozen):
    """The address of an OpenAI-compatible endpoint, with the API's version, and the model to ask there.

        Endpoint(base_url="http://127.0.0.1:8000/v1", model="smollm2-135m-instruct", api_key="…")

    A user, a password and a query in the address become `credentials`: they are sent, and `base_url` is safe to show.
    """

    base_url: str  # with the version: "http://127.0.0.1:8000/v1"
    model: str  # the name under which the endpoint serves it
    api_key: str = Field(default="none", repr=False)  # kept out of logs and tracebacks
    log_path: Path | None = None  # where the server writes, when it is ours
    requests: RequestFormat = REFERENCE  # what differs from the reference interface
    credentials: Credentials = Field(default=Credentials(), repr=False, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("base_url"), str):
            return fields
        public, credentials = split_address(fields["base_url"])
        return fields if public == fields["base_url"] else {**fields, "base_url": public, "credentials": credentials}

    @field_validator("api_key")
    @classmethod
    def _without_line_end(cls, api_key: str) -> str:
        return api_key.strip() or "none"  # files with a key end with a line end

    @property
    def authorization(self) -> str:
        """The header of every request: the user and password of the address, else the key."""
        return self.credentials.basic or f"Bearer {self.api_key}"

    def redacted(self, text: str) -> str:
        """A text of the endpoint, such as an error that quotes the request, without its credentials."""
        return redacted(text, (self.api_key, *self.credentials.secrets))


class Waits(_Frozen):
    """How long a request to an endpoint may take."""

    timeout_s: float = Field(600.0, gt=0)  # one attempt, from sending to the last byte of the answer
    total_s: float = Field(900.0, gt=0)  # all attempts of a request with the waits between them
    retries: int = Field(3, ge=0)  # attempts after the first; waits that the endpoint asks for do not count


WAITS = Waits()


class Price(Record):
    """What an endpoint asks for its tokens."""

    input_usd_per_mtok: float = Field(ge=0)  # USD per million tokens of the prompt
    output_usd_per_mtok: float = Field(ge=0)  # USD per million tokens of the answer

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of so many tokens, in USD."""
        return token_cost(prompt_tokens, completion_tokens, self.input_usd_per_mtok, self.output_usd_per_mtok)


@dataclass(frozen=True)
class ServedModel:
    """A model that can be asked: its fingerprint, where it is served, at what price.

    `endpoint` may be a function that starts the server; it is called at the first question that is not stored.
    """

    fingerprint: str  # see `serving.models`; of an endpoint elsewhere, `<model>@<public address>`
    endpoint: Endpoint | Callable[[], Endpoint] | None = None
    price: Price | None = None  # None: unknown
    name: str = ""  # what a batch file calls it
    former_fingerprints: tuple[str, ...] = field(default=(), repr=False)  # of the same model, in older ledgers
    batch_command: str = ""  # what answers a batch file, with {requests} and {answers} for the files
    requests: RequestFormat = REFERENCE  # of batch files, and of what is asked at `endpoint`
    waits: Waits = WAITS

    def reached(self) -> Endpoint:
        """Its address, once its server runs."""
        assert self.endpoint is not None  # who asks has made sure
        endpoint = self.endpoint() if callable(self.endpoint) else self.endpoint
        return endpoint.model_copy(update={"requests": self.requests})

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.name))


class Message(Record):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(Record):
    """All that decides an answer, apart from the model: equal requests to equal models are one call."""

    template: str  # name of the prompt template, e.g. "domain/tables"
    template_sha256: str  # of the template's text, so that a changed prompt is a new request
    messages: tuple[Message, ...]
    response_schema: dict[str, Any] | None = None  # JSON schema the answer must satisfy
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0


class ChatAnswer(_Frozen):
    """What the endpoint replied."""

    text: str  # as sent
    finish_reason: str  # "stop", "length" (cut at max_tokens), "refusal" (text is the refusal), "unknown" …
    prompt_tokens: int | None  # None: the endpoint gave no usage
    completion_tokens: int | None
    seconds: float
    answered_by: str | None = None  # the model that the answer names, where it is not the name that was asked


class LlmCall(Record):
    """One recorded answer. Its `id` names the question (model and request), so it can be looked up before asking."""

    model: str  # fingerprint, see `serving.models`
    request: ChatRequest
    text: str
    finish_reason: str
    prompt_tokens: int | None  # None: the endpoint gave no usage
    completion_tokens: int | None
    seconds: float  # until the answer was there; 0 for the answer of a batch, for which nobody waited
    price: Price | None = None  # at which it was asked, where one is known
    answered_by: str | None = None  # the model that the answer names, where it is not the name that was asked

    @cached_property
    def id(self) -> str:
        return call_id(self.model, self.request)

    @property
    def cost_usd(self) -> float | None:
        """Its cost, None where price or tokens are unknown."""
        if self.price is None or self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.price.of(self.prompt_tokens, self.completion_tokens)


class CompletionRequest(_Frozen):
    """All that decides a sampled continuation, for training: tokens in."""

    prompt_ids: tuple[int, ...]
    model: str | None = None  # the base model or a loaded adapter; the endpoint's model if None
    max_tokens: int
    seed: int
    stop_token_ids: tuple[int, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    ignore_eos: bool = False  # exactly max_tokens are written: for measuring, never for rollouts


class Completion(_Frozen):
    """Sampled tokens with the engine's own log-probabilities, of equal length, for training."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # nats, of the sampled token under the distribution it was sampled from
    finish_reason: str  # "stop" (the stop token is the last of token_ids) or "length"
    prompt_tokens: int
    seconds: float


def call_id(model: str, request: ChatRequest) -> str:
    """The id of a question: of the model's fingerprint and of the request without its fields at their default."""
    return content_id({"model": model, "request": request.canonical_fields()})
