"""Bodies of requests, the same whether they go out now or in a batch file."""

import json
from collections.abc import Sequence
from typing import Any

from serving.endpoint import ChatRequest, CompletionRequest
from serving.request_format import RequestFormat
from serving.strict_schema import NotStrict, strict_schema

Body = dict[str, Any]
_IN_WORDS = "Answer with one JSON object and nothing else. It must satisfy this JSON schema:"


def chat_body(request: ChatRequest, model: str, form: RequestFormat) -> Body:
    """The body of POST /v1/chat/completions for `request`, in the form that the endpoint accepts."""
    messages: list[dict[str, str]] = [message.model_dump() for message in request.messages]
    schema = request.response_schema
    if schema is not None and form.response_format != "json_schema" and messages:
        messages[0]["content"] += f"\n\n{_IN_WORDS} {json.dumps(schema, ensure_ascii=False)}"
    parameters = {
        "max_tokens": request.max_tokens + form.extra_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    names = {"max_tokens": form.max_tokens_field}
    body: Body = {"model": model, "messages": _in_role(messages, form)}
    body |= {names.get(name, name): value for name, value in parameters.items() if name not in form.omit}
    if schema is not None and form.response_format != "none":
        body["response_format"] = _response_format(schema, form)
    return body | form.extra_body


def _response_format(schema: dict[str, Any], form: RequestFormat) -> dict[str, Any]:
    if form.response_format == "json_object":
        return {"type": "json_object"}
    sent, strict = schema, form.strict
    if not form.full_schema:
        try:
            sent = strict_schema(schema)
        except NotStrict:
            strict = False  # without the flag the reference interface takes any schema, as a wish
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": sent, "strict": strict}}


def _in_role(messages: list[dict[str, str]], form: RequestFormat) -> list[dict[str, str]]:
    """The messages with instructions in the role that the endpoint knows."""
    if form.system_role != "user":
        return [
            message | {"role": form.system_role} if message["role"] == "system" else message for message in messages
        ]
    moved: list[dict[str, str]] = []
    for message in messages:
        if moved and message["role"] == "user" and moved[-1]["role"] == "system":
            moved[-1] = {"role": "user", "content": f"{moved[-1]['content']}\n\n{message['content']}"}
        else:
            moved.append(message)
    return [message | {"role": "user"} if message["role"] == "system" else message for message in moved]


def completion_body(request: CompletionRequest, model: str) -> Body:
    """The body of POST /v1/completions for vLLM: tokens in, tokens and log-probabilities out."""
    body = {
        "model": request.model or model,
        "prompt": list(request.prompt_ids),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,  # on every request: an unseeded one makes neighbours in its batch irreproducible
        "logprobs": 0,  # of the sampled token only
        "return_token_ids": True,
        "stop_token_ids": list(request.stop_token_ids),
    }
    return body | ({"ignore_eos": True} if request.ignore_eos else {})


def score_body(tokens: Sequence[int], model: str) -> Body:
    """The body of POST /v1/completions that has vLLM score `tokens`."""
    return {
        "model": model,
        "prompt": list(tokens),
        "max_tokens": 1,  # vLLM refuses 0
        "temperature": 0.0,
        "seed": 0,
        "prompt_logprobs": 0,
    }
