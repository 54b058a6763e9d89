"""Reading the answers of endpoints: checked here before anything is stored or trained on.

The text of a chat stays as it was sent; what it means is the stages' affair. Every reader raises OddAnswer.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from serving.endpoint import ChatAnswer, Completion, CompletionRequest
from serving.errors import OddAnswer

_SHOWN = 200
"""Characters of an odd answer that an error quotes."""
_MOST_TOKENS = 2**31 - 1
_MOST_CHARACTERS = 1_000_000
"""Of an answer that is kept: no stage asks for a hundredth of it."""
_LEAST_LOGPROB = -1e5
"""Nats; engines clip impossible tokens to -9999."""
_ABOVE_ZERO = 1e-3
"""Nats by which rounding may lift a log-probability above 0."""
_THINKING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_SPENT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes of errors that waiting does not end."""
_MORE_ROOM = (
    "Give it more tokens (`requests.extra_tokens`), or switch its thinking off "
    '(such as `requests.extra_body`: {"chat_template_kwargs": {"enable_thinking": false}}).'
)

Answer = Mapping[str, Any]


def answer_object(content: bytes, kind: str) -> Answer:
    """The JSON object of a response's body, which should be a `kind`, such as "chat completion".

    JSON is UTF-8, 16 or 32, whatever the response's headers say.
    """
    try:
        answer = json.loads(content.decode(json.detect_encoding(content)))
    except (ValueError, RecursionError) as error:
        text = content.decode(errors="backslashreplace")
        raise OddAnswer(_not_a(kind, text if text.strip() else "an empty body")) from error
    if not isinstance(answer, dict):
        raise OddAnswer(_not_a(kind, answer))
    if answer.get("error"):
        raise OddAnswer(f"the answer is an error: {error_words(answer)}", transient=not credit_is_spent(answer))
    return answer


def _not_a(kind: str, answer: object) -> str:
    return f"the answer is no {kind}: {_quoted(answer)}. Is the address the API's?"


def error_words(body: object) -> str:
    """The message of an error object, wherever a service puts it."""
    words = body
    while isinstance(words, dict):
        words = words.get("error") or words.get("message") or json.dumps(words)
    return _quoted(str(words)) if words else ""


def credit_is_spent(body: object) -> bool:
    """Whether an error object tells that the account has no credit left."""
    error = body.get("error", body) if isinstance(body, dict) else None
    return isinstance(error, dict) and (error.get("code") in _SPENT or error.get("type") in _SPENT)


# -- chats -----------------------------------------------------------------------------------------------------


def chat_answer(answer: Answer, model: str, seconds: float) -> ChatAnswer:
    """The answer of a chat that was asked of `model`. A refusal in words is an answer; an empty one is none."""
    choice = _choice(answer, "chat completion")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise OddAnswer(_not_a("chat completion", choice))
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise OddAnswer(
            f"the answer ended with an error: {error_words(choice.get('error')) or 'it says no more'}",
            transient=not credit_is_spent(choice),
        )
    text, refusal = _content(message)
    finish_reason = _finish_reason(choice)
    if not text.strip():
        text, finish_reason = refusal, "refusal"
        if not refusal.strip():
            raise _no_text(message, _finish_reason(choice))
    _require_storable(text)
    prompt_tokens, completion_tokens = _usage(answer)
    return ChatAnswer(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=seconds,
        answered_by=_other_model(answer, model),
    )


def _content(message: Answer) -> tuple[str, str]:
    """Text and refusal of a message; of content in parts, those that are no thinking."""
    content, refusal = message.get("content"), message.get("refusal")
    refusals = [refusal] if isinstance(refusal, str) else []
    if isinstance(content, dict):  # JSON that the endpoint has parsed already
        return json.dumps(content, ensure_ascii=False), "".join(refusals)
    texts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            if part.get("type", "text") in ("text", "output_text") and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif isinstance(part.get("refusal"), str):
                refusals.append(part["refusal"])
    return "".join(texts), "".join(refusals)


def _no_text(message: Answer, finish_reason: str) -> OddAnswer:
    """What an answer without text is instead."""
    ended = f" (finish reason `{finish_reason}`)"
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    thinking = [name for name in _THINKING_FIELDS if message.get(name)]
    thinking += [str(part["type"]) for part in parts if part.get("type") in ("thinking", "reasoning")]
    cut = finish_reason == "length"
    if thinking:
        return OddAnswer(
            f"the model sent reasoning (`{thinking[0]}`) and no answer: its content is empty{ended}. {_MORE_ROOM}",
            transient=not cut,
        )
    if message.get("tool_calls") or message.get("function_call"):
        return OddAnswer(f"the model calls a tool instead of answering{ended}. Ask a model that answers in text.")
    if finish_reason == "content_filter":
        return OddAnswer(
            "the endpoint's content filter withheld the answer. Reword the brief, or ask another model.",
            transient=False,
        )
    return OddAnswer(f"the answer is empty{ended}. {_MORE_ROOM if cut else 'Ask another model if it stays so.'}")


def _usage(answer: Answer) -> tuple[int | None, int | None]:
    """Prompt and completion tokens; None where they are missing or no numbers of tokens."""
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    prompt, completion = _tokens(counts.get("prompt_tokens")), _tokens(counts.get("completion_tokens"))
    return prompt, completion


def _tokens(count: object) -> int | None:
    """0 is no count: every prompt and every answer has tokens."""
    return count if type(count) is int and 0 < count <= _MOST_TOKENS else None


# -- tokens for training ---------------------------------------------------------------------------------------


def completion_answer(
    answer: Answer, request: CompletionRequest, model: str, vocabulary: int | None, seconds: float
) -> Completion:
    """The sampled tokens that answer `request`, as asked of `model`.

    `vocabulary` is the number of token ids the policy knows, None where it is not known here.
    """
    _require_model(answer, model)
    choice = _choice(answer, "completion")
    logprobs = choice.get("logprobs")
    token_ids = _items(choice.get("token_ids"))
    of_tokens = _items(logprobs.get("token_logprobs")) if isinstance(logprobs, dict) else []
    if not token_ids or len(token_ids) != len(of_tokens):
        raise OddAnswer(
            f"it returned {len(token_ids)} token ids and {len(of_tokens)} log-probabilities. Training needs both for "
            "every token: use vLLM 0.32 or later (`return_token_ids`)."
        )
    _require_tokens(token_ids, request, vocabulary)
    finish_reason = _finish_reason(choice)
    if finish_reason not in ("stop", "length"):
        raise OddAnswer(f"the completion ended for the reason `{finish_reason}`, and only stop or length can be")
    stopped_at = choice.get("stop_reason")
    if finish_reason == "stop" and type(stopped_at) is int and token_ids[-1] != stopped_at:
        raise OddAnswer(f"the completion stopped at token {stopped_at}, which is not its last token")
    return Completion(
        token_ids=tuple(token_ids),
        logprobs=tuple(_logprob(value, place) for place, value in enumerate(of_tokens)),
        finish_reason=finish_reason,
        prompt_tokens=len(request.prompt_ids),
        seconds=seconds,
    )


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _require_tokens(token_ids: Sequence[object], request: CompletionRequest, vocabulary: int | None) -> None:
    if len(token_ids) > request.max_tokens:
        raise OddAnswer(f"it returned {len(token_ids)} tokens where at most {request.max_tokens} were asked for")
    beyond = _MOST_TOKENS if vocabulary is None else vocabulary
    for token_id in token_ids:
        if type(token_id) is not int or not 0 <= token_id < beyond:
            raise OddAnswer(
                f"it returned the token id {_quoted(token_id)}; the policy's are 0 to {beyond - 1}. "
                "Does it serve the policy's model?"
            )


def scores(answer: Answer, tokens: Sequence[int], scored: int, model: str) -> tuple[float, ...]:
    """Log-probabilities (nats) of the last `scored` of `tokens`, as asked of `model`."""
    _require_model(answer, model)
    positions = _choice(answer, "completion").get("prompt_logprobs")
    if not isinstance(positions, list) or len(positions) != len(tokens):
        raise OddAnswer("it returned no prompt log-probabilities: is it vLLM?", transient=False)
    first = len(tokens) - scored
    return tuple(_scored(positions[place], tokens[place], place) for place in range(first, len(tokens)))


def _scored(position: object, token_id: int, place: int) -> float:
    entry = position.get(str(token_id)) if isinstance(position, dict) else None
    if not isinstance(entry, dict):
        raise OddAnswer(f"prompt token {place} has no log-probability")
    return _logprob(entry.get("logprob"), place)


def is_logprob(value: float) -> bool:
    """Whether it can be a log-probability in nats: false for NaN, and safe for integers of any size."""
    return _LEAST_LOGPROB < value <= _ABOVE_ZERO


def _logprob(value: object, place: int) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not is_logprob(value):  # type: ignore[arg-type]
        raise OddAnswer(f"token {place} has the log-probability {_quoted(value)}: it must be finite, 0 or less")
    return float(value)  # type: ignore[arg-type]


# -- models ----------------------------------------------------------------------------------------------------


def model_names(answer: Answer) -> tuple[str, ...]:
    """The names that GET /v1/models lists."""
    models = answer.get("data")
    if not isinstance(models, list) or not all(isinstance(m, dict) and isinstance(m.get("id"), str) for m in models):
        raise OddAnswer(_not_a("list of models", answer))
    return tuple(model["id"] for model in models)


def _other_model(answer: Answer, model: str) -> str | None:
    """The model that the answer names, where it is another name: often a dated one behind the name that was asked."""
    name = answer.get("model")
    return _quoted(name) if isinstance(name, str) and name not in ("", model) else None


def _require_model(answer: Answer, model: str) -> None:
    """Tokens of another policy must never be trained on as this one's."""
    if answer.get("model") != model:
        raise OddAnswer(
            f"{model} was asked and {_quoted(answer.get('model'))} answered. Serve the policy under its own name.",
            transient=False,
        )


# -- both ------------------------------------------------------------------------------------------------------


def _choice(answer: Answer, kind: str) -> Answer:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise OddAnswer(_not_a(kind, answer))
    return choices[0]


def _finish_reason(choice: Answer) -> str:
    reason = choice.get("finish_reason")
    return _quoted(reason) if isinstance(reason, str) and reason else "unknown"


def _require_storable(text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise OddAnswer(f"the answer has {len(text)} characters; more than {_MOST_CHARACTERS} are not kept")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise OddAnswer("the answer holds half of a UTF-16 pair, which no text does")
    if "\0" in text:
        raise OddAnswer("the answer holds the character NUL, which no text does")


def _quoted(value: object) -> str:
    """A short text that can be printed and stored."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
    return text.encode(errors="backslashreplace").decode()
