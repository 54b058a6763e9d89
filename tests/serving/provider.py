"""A remote provider for tests: a real HTTP server that answers chats by rule, counts them, and fails when told to.

It stands for the other side of the wire, never for a model's wits: what it answers is given by the test, or taken from
a recording of a real model.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serving.endpoint import ChatRequest, Endpoint, LlmCall, Message

MODEL = "smollm2-135m-instruct@test"


class ProviderError(Exception):
    """What the provider refuses a request with."""


class Provider:
    """Bodies that were asked, in order, and the keys shown; `answer` turns one into text, or raises ProviderError."""

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.base_url = ""

    @property
    def asked(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=self.base_url, model="m")


def completion(text: str, model: str = "m", finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion of ten tokens, as it goes over the wire."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": usage}


@contextmanager
def serving(answer: Callable[[dict[str, Any]], str]) -> Iterator[Provider]:
    """A provider on a port of its own."""
    provider = Provider(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            provider.bodies.append(body)
            provider.keys.add(self.headers["Authorization"])
            try:
                status, told = 200, completion(provider.answer(body), body["model"])
            except ProviderError as error:
                status, told = 400, {"error": {"message": str(error)}}
            sent = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked has been killed
                self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a request that a test holds back must not hold the test back
    provider.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shouting(body: dict[str, Any]) -> str:
    """The question in capitals; whatever says "bad" is refused."""
    text = body["messages"][-1]["content"]
    if "bad" in text:
        raise ProviderError("too long")
    return text.upper()


class Recorded:
    """Answers of a real model, out of a recording: who asks the same with the same seed hears the same.

    Which requests are to be paraphrased hangs on the tasks, and these on who wrote the domain: under another name for
    the model other ones are asked, and what was not recorded is declined.
    """

    def __init__(self, recording: Path) -> None:
        lines = recording.read_text(encoding="utf-8").splitlines()[1:]
        self.calls = [LlmCall.model_validate_json(line) for line in lines]
        self._texts = {_key(call.request.messages, call.request.seed): call.text for call in self.calls}

    def __call__(self, body: dict[str, Any]) -> str:
        key = _key([Message(**message) for message in body["messages"]], body["seed"])
        if key not in self._texts and key[-2][1].startswith("Rewrite a request"):
            return '{"request": "I would rather say nothing."}'
        if key not in self._texts:
            raise ProviderError(f"not in the recording: {body['messages'][-1]['content'][:200]}")
        return self._texts[key]


def _key(messages: Any, seed: int) -> tuple[Any, ...]:
    return (*((message.role, message.content) for message in messages), seed)


def request(text: str, seed: int = 0, template: str = "domain/tables") -> ChatRequest:
    """A short question."""
    return ChatRequest(
        template=template,
        template_sha256="ab" * 32,
        messages=(Message(role="user", content=text),),
        seed=seed,
        max_tokens=8,
    )
