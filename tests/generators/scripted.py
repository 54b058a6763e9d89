"""A synthesist that answers from a script: for what no real model does on demand, such as being hostile."""

from collections.abc import Callable, Sequence

from serving.endpoint import ChatRequest, LlmCall


class Scripted:
    """Answers every request with what `answer` says of it, and remembers the requests."""

    def __init__(self, answer: Callable[[ChatRequest], str], finish_reason: str = "stop") -> None:
        self.answer = answer
        self.finish_reason = finish_reason
        self.requests: list[ChatRequest] = []

    def ask_many(self, requests: Sequence[ChatRequest]) -> list[LlmCall]:
        self.requests += requests
        return [
            LlmCall(
                model="script",
                request=request,
                text=self.answer(request),
                finish_reason=self.finish_reason,
                prompt_tokens=1,
                completion_tokens=1,
                seconds=0.0,
            )
            for request in requests
        ]
