"""Asking an OpenAI-compatible endpoint: tokens in and tokens out for training, chats for synthesis, adapters.

What lives here: sending, and errors that say what to do. Bodies are `serving.bodies`, answers `serving.answers`, waits
`serving.patience`; recording answers is `serving.ledger`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NoReturn, TypeVar

import httpx2
import openai

from serving.answers import Answer, answer_object, chat_answer, completion_answer, error_words, model_names, scores
from serving.bodies import Body, chat_body, completion_body, score_body
from serving.connection import connection
from serving.credentials import public_address, redacted, without_userinfo
from serving.endpoint import ChatAnswer, ChatRequest, Completion, CompletionRequest, Endpoint, Waits
from serving.errors import EndpointBusy, EndpointError, EndpointRefused, EndpointUnreachable, OddAnswer, last_lines
from serving.patience import Gate, GaveUp, answered

T = TypeVar("T")
logger = logging.getLogger(__name__)

_PATIENCE_S = 300.0
"""What a request may take beyond one attempt, where the caller does not say."""
_FORMAT_HINT = " If it does not accept a parameter or the schema, set the endpoint's `requests` (docs/serving.md)."
_VERSION_HINT = " Check the address: it ends with the API's version, such as https://example.com/v1."
_HINTS = {
    400: _FORMAT_HINT,
    422: _FORMAT_HINT,
    401: " Check the key and the variable that holds it.",
    403: " Check the key and what it may be used for.",
    404: f"{_VERSION_HINT} Check the model's name too.",
    405: _VERSION_HINT,
    413: " The request is too large for it: ask for less at once, or use another endpoint.",
    429: " It is busy, or the account's limit is reached: run again later, or raise the limit there.",
}
_RAW = httpx2.Response
_KEY_CHARACTERS = 12
"""Of the shortest secret that is taken out of an answer's text."""


class Client:
    """A connection to one OpenAI-compatible endpoint, for use in coroutines; `async with` closes it.

        async with Client(Endpoint(base_url="http://127.0.0.1:8000/v1", model="policy")) as client:
            completion = await client.complete(CompletionRequest(prompt_ids=(1, 2, 3), max_tokens=16, seed=0))

    `timeout_s` bounds one attempt from sending to the last byte, `total_s` a request with all attempts and the waits
    between them, by default 300 s more. `retries` counts the attempts after the first; waits that the endpoint asks for
    (429, `Retry-After`) do not count. Requests that the endpoint refuses (4xx) are not repeated. Every method raises
    EndpointError; EndpointUnreachable when no answer came at all; EndpointBusy when the endpoint wants a longer wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_s: float = 600.0,
        retries: int = 3,
        total_s: float | None = None,
        *,
        vocabulary: int | None = None,
    ) -> None:
        """`vocabulary`: the number of token ids that completions may hold, None where it is not known.

        Raises HeaderMissing.
        """
        self.endpoint = endpoint
        total_s = timeout_s + _PATIENCE_S if total_s is None else total_s
        self.waits = Waits(timeout_s=timeout_s, total_s=total_s, retries=retries)
        self._vocabulary = vocabulary
        self._headers = endpoint.requests.all_headers()
        self._gate = Gate.of(endpoint.base_url)
        self._other_names: set[str] = set()
        self._opened: tuple[asyncio.AbstractEventLoop, openai.AsyncOpenAI] | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        if self._opened is not None and self._opened[0] is asyncio.get_running_loop():
            await self._opened[1].close()
        self._opened = None

    async def complete(self, request: CompletionRequest) -> Completion:
        """Sample a continuation and return the engine's own tokens and log-probabilities, checked.

        Text never enters: what was sampled is what is trained on. Keep T = 1 and top_p = 1 for rollouts, or the
        importance ratio is biased; and never constrain them by a schema, because masked tokens change the
        log-probabilities.
        """
        began = perf_counter()
        body = completion_body(request, self.endpoint.model)

        def read(answer: Answer) -> Completion:
            return completion_answer(answer, request, body["model"], self._vocabulary, _seconds_since(began))

        return await self._asked("/completions", body, "completion", read)

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], model: str | None = None
    ) -> tuple[float, ...]:
        """Log-probability (nats, T = 1) the engine gives each of `completion_ids` after what stands before it."""
        tokens = [*prompt_ids, *completion_ids]
        body = score_body(tokens, model or self.endpoint.model)

        def read(answer: Answer) -> tuple[float, ...]:
            return scores(answer, tokens, len(completion_ids), body["model"])

        return await self._asked("/completions", body, "completion", read)

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Answer a chat; with `response_schema`, text that the engine was asked to hold to JSON of that schema."""
        began = perf_counter()
        model = self.endpoint.model
        body = chat_body(request, model, self.endpoint.requests)

        def read(answer: Answer) -> ChatAnswer:
            return self._without_keys(chat_answer(answer, model, _seconds_since(began)))

        answer = await self._asked("/chat/completions", body, "chat completion", read)
        if answer.answered_by and answer.answered_by not in self._other_names:
            self._other_names.add(answer.answered_by)
            logger.warning("%s was asked for %s; %s answers", self.endpoint.base_url, model, answer.answered_by)
        return answer

    async def load_adapter(self, name: str, path: Path) -> None:
        """Serve the LoRA adapter in `path` (a peft folder the server can read) as model `name`.

        Give each policy a new name: reloading other weights under an old one may answer from the old prefix cache.
        """
        await self._sent("/load_lora_adapter", {"lora_name": name, "lora_path": str(Path(path).resolve())}, bytes)

    async def unload_adapter(self, name: str) -> None:
        """Stop serving the adapter `name`."""
        await self._sent("/unload_lora_adapter", {"lora_name": name}, bytes)

    async def models(self) -> tuple[str, ...]:
        """The names that can be asked: the base model and the loaded adapters."""
        return await self._asked("/models", None, "list of models", model_names)

    def _api(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if self._opened is None or self._opened[0] is not loop:  # connections belong to the loop that opened them
            api = connection(self.endpoint, self._headers, self.waits.timeout_s)
            self._opened = (loop, api)
        return self._opened[1]

    async def _asked(self, path: str, body: Body | None, kind: str, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the answer, which should be a `kind`."""
        return await self._sent(path, body, lambda content: read(answer_object(content, kind)))

    async def _sent(self, path: str, body: Body | None, read: Callable[[bytes], T]) -> T:
        """What `read` makes of the response's bytes; GET without a body."""
        api = self._api()

        async def once() -> T:
            # As bytes: the client library parses without checking, and decodes text with replacement marks.
            asking = api.get(path, cast_to=_RAW) if body is None else api.post(path, body=body, cast_to=_RAW)
            return read((await asking).content)

        try:
            return await answered(once, self.waits, self._gate)
        except GaveUp as failure:
            self._raise(failure)
        except EndpointBusy as error:
            raise EndpointBusy(
                f"{self.endpoint.base_url} {error}; a request may take {self.waits.total_s:g} s in all. Run again "
                "later, or raise the endpoint's `total_s`."
            ) from None
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise EndpointError(
                f"{self.endpoint.base_url} cannot be asked: {self._scrubbed(str(error))}. Correct address or key."
            ) from None

    def _raise(self, failure: GaveUp) -> NoReturn:
        """The error of a request that got no answer. Its cause is left out: it may quote the key."""
        url, model, cause = self.endpoint.base_url, self.endpoint.model, failure.__cause__
        if isinstance(cause, OddAnswer):
            raise EndpointError(f"{url}, {model}: {self._scrubbed(str(cause))}{self._log_end()}") from None
        if isinstance(cause, openai.APIStatusError):
            words = self._scrubbed(error_words(cause.body) or str(cause))
            if goal := public_address(cause.response.headers.get("location", "")):
                raise EndpointRefused(
                    f"{url} redirects to {self._scrubbed(goal)} (status {cause.status_code}). Requests and keys go to "
                    "no other address than the one that is set: set that one if it is right."
                ) from None
            hint = _HINTS.get(cause.status_code, " Check the address and that the server runs.")
            raise EndpointError(
                f"{url} refused a request to {model} (status {cause.status_code}): {words}.{self._log_end() or hint}"
            ) from None
        reason = _root(cause)
        raise EndpointUnreachable(
            f"{url} gave no answer in {failure.attempts} attempts ({self._scrubbed(reason)}); one may take "
            f"{self.waits.timeout_s:g} s, all together {self.waits.total_s:g} s."
            f"{self._log_end() or ' Check the address and that the server runs.'}"
        ) from None

    @property
    def _secrets(self) -> tuple[str, ...]:
        of_headers = (self._headers[name] for name in self.endpoint.requests.header_variables)
        return (self.endpoint.api_key, *self.endpoint.credentials.secrets, *of_headers)

    def _without_keys(self, answer: ChatAnswer) -> ChatAnswer:
        """An answer is stored and published. Short secrets stay: they may be words, such as a local server's key."""
        keys = [secret for secret in self._secrets if len(secret) >= _KEY_CHARACTERS]
        return answer.model_copy(update={"text": redacted(answer.text, keys)})

    def _scrubbed(self, words: str) -> str:
        """Services repeat the key that they refuse."""
        return without_userinfo(redacted(words, self._secrets))  # of proxies too

    def _log_end(self) -> str:
        if self.endpoint.log_path is None:
            return ""
        return f" The end of its log {self.endpoint.log_path}:\n{self._scrubbed(last_lines(self.endpoint.log_path))}"


def _root(error: BaseException | None) -> str:
    """Name and words of the error that began it: the client library's own are "Connection error."."""
    while error is not None and error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _seconds_since(began: float) -> float:
    return round(perf_counter() - began, 3)
