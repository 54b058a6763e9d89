"""Asking an OpenAI-compatible endpoint: tokens in and tokens out for training, chats for synthesis, adapters.

What lives here: the requests vLLM must see so that rollouts can be trained on, bounded retries, clear errors.
Recording answers is `serving.ledger`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletion
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from serving.credentials import quiet_logs
from serving.endpoint import ChatAnswer, ChatRequest, Completion, CompletionRequest, Endpoint
from serving.errors import EndpointError, EndpointUnreachable, last_lines

T = TypeVar("T")

# Worth another try: no connection, a time-out, a fault of the server, or its wish to be asked later (429).
_TRANSIENT = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError)


def chat_body(request: ChatRequest, model: str) -> dict[str, Any]:
    """The body of POST /v1/chat/completions for `request`, the same whether it goes out now or in a batch."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [message.model_dump() for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    if request.response_schema is not None:
        schema = {"name": "answer", "schema": request.response_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def chat_answer(completion: object, seconds: float) -> ChatAnswer:
    """What a chat completion says. Raises EndpointError if it says nothing at all."""
    # The client library checks nothing: an HTML page with status 200 arrives here as a string.
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise EndpointError(f"the answer is no chat completion: {str(completion)[:200]}. Is the address the API's?")
    choice = completion.choices[0]
    return ChatAnswer(
        text=choice.message.content or "",
        finish_reason=choice.finish_reason,
        prompt_tokens=completion.usage.prompt_tokens if completion.usage else 0,
        completion_tokens=completion.usage.completion_tokens if completion.usage else 0,
        seconds=seconds,
    )


class Client:
    """A connection to one endpoint, for use in coroutines; `async with` closes it.

    `timeout_s` bounds one attempt, `retries` counts the attempts after the first. Requests that the endpoint refuses
    (4xx) are not repeated. Every method raises EndpointError, or EndpointUnreachable when no answer came at all.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float = 600.0, retries: int = 3) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._retries = retries
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
        """Sample a continuation and return the engine's own tokens and log-probabilities.

        Text never enters: what was sampled is what is trained on. Keep T = 1 and top_p = 1 for rollouts, or the
        importance ratio is biased; and never constrain them by a schema, because masked tokens change the
        log-probabilities.
        """
        began = perf_counter()
        of_vllm: dict[str, Any] = {"return_token_ids": True, "stop_token_ids": list(request.stop_token_ids)}
        if request.ignore_eos:
            of_vllm["ignore_eos"] = True
        answer = await self._asked(
            lambda api: api.completions.create(
                model=request.model or self.endpoint.model,
                prompt=list(request.prompt_ids),
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,  # on every request: an unseeded one makes neighbours in its batch irreproducible
                logprobs=0,  # of the sampled token only
                extra_body=of_vllm,
            )
        )
        choice = answer.choices[0]
        token_ids = tuple((choice.model_extra or {}).get("token_ids") or ())
        logprobs = tuple((choice.logprobs.token_logprobs if choice.logprobs else None) or ())
        if len(token_ids) != len(logprobs) or None in logprobs:
            raise EndpointError(
                f"{self.endpoint.base_url} returned {len(token_ids)} token ids and {len(logprobs)} log-probabilities. "
                "Training needs both for every token: use vLLM 0.32 or later (`return_token_ids`)."
            )
        return Completion(
            token_ids=token_ids,
            logprobs=logprobs,
            finish_reason=choice.finish_reason,
            prompt_tokens=len(request.prompt_ids),
            seconds=round(perf_counter() - began, 3),
        )

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], model: str | None = None
    ) -> tuple[float, ...]:
        """Log-probability (nats, T = 1) the engine gives each of `completion_ids` after what stands before it."""
        tokens = [*prompt_ids, *completion_ids]
        answer = await self._asked(
            lambda api: api.completions.create(
                model=model or self.endpoint.model,
                prompt=tokens,
                max_tokens=1,  # vLLM refuses 0
                temperature=0.0,
                seed=0,
                extra_body={"prompt_logprobs": 0},
            )
        )
        scored = (answer.choices[0].model_extra or {}).get("prompt_logprobs")
        if scored is None or len(scored) != len(tokens):
            raise EndpointError(f"{self.endpoint.base_url} returned no prompt log-probabilities: is it vLLM?")
        pairs = zip(tokens[len(prompt_ids) :], scored[len(prompt_ids) :], strict=True)
        return tuple(position[str(token)]["logprob"] for token, position in pairs)

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Answer a chat; with `response_schema`, text that the engine constrained to be JSON of that schema."""
        began = perf_counter()
        body = chat_body(request, self.endpoint.model)
        answer = await self._asked(lambda api: api.chat.completions.create(**body))
        try:
            return chat_answer(answer, seconds=round(perf_counter() - began, 3))
        except EndpointError as error:
            raise EndpointError(self.endpoint.redacted(str(error))) from None

    async def load_adapter(self, name: str, path: Path) -> None:
        """Serve the LoRA adapter in `path` (a peft folder the server can read) as model `name`.

        Give each policy a new name: reloading other weights under an old one may answer from the old prefix cache.
        """
        await self._post("/load_lora_adapter", {"lora_name": name, "lora_path": str(Path(path).resolve())})

    async def unload_adapter(self, name: str) -> None:
        """Stop serving the adapter `name`."""
        await self._post("/unload_lora_adapter", {"lora_name": name})

    async def models(self) -> tuple[str, ...]:
        """The names that can be asked: the base model and the loaded adapters."""
        listed = await self._asked(lambda api: api.models.list())
        return tuple(model.id for model in listed.data)

    async def _post(self, path: str, body: dict[str, str]) -> None:
        await self._asked(lambda api: api.post(path, body=body, cast_to=str))

    def _api(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if self._opened is None or self._opened[0] is not loop:  # connections belong to the loop that opened them
            quiet_logs(self.endpoint.credentials)
            api = openai.AsyncOpenAI(
                base_url=self.endpoint.base_url,
                api_key=self.endpoint.api_key,
                default_headers={"Authorization": self.endpoint.authorization},
                default_query=dict(self.endpoint.credentials.query),
                timeout=self._timeout_s,
                max_retries=0,  # tenacity below is the one place that repeats
            )
            self._opened = (loop, api)
        return self._opened[1]

    async def _asked(self, ask: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=wait_exponential_jitter(multiplier=0.5, max=8),
            retry=retry_if_exception_type(_TRANSIENT),
            reraise=True,
        )
        api = self._api()

        async def once() -> T:
            return await ask(api)

        try:
            return await attempts(once)
        except openai.APIConnectionError as error:
            raise EndpointUnreachable(
                f"{self.endpoint.base_url} gave no answer in {self._retries + 1} attempts "
                f"({type(error).__name__}: {self.endpoint.redacted(str(error))}).{self._log_hint()}"
            ) from None  # the cause may quote the key, and tracebacks are kept
        except openai.APIError as error:
            raise EndpointError(
                f"{self.endpoint.base_url} refused a request to {self.endpoint.model}: "
                f"{self.endpoint.redacted(str(error))}.{self._log_hint()}"
            ) from None

    def _log_hint(self) -> str:
        if self.endpoint.log_path is None:
            return " Check the address and that the server runs."
        end = self.endpoint.redacted(last_lines(self.endpoint.log_path))
        return f" The end of its log {self.endpoint.log_path}:\n{end}"
