"""An endpoint on loopback that answers with whatever bytes a test gives it, and how both kinds of answers look."""

import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.endpoint import Endpoint
from tests.serving.provider import completion


@dataclass(frozen=True)
class Reply:
    """One response. A body that is no text or bytes goes out as JSON."""

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drips: bool = False
    """The body never ends: a space every now and then, as of an endpoint where the request queues."""

    def content(self) -> bytes:
        body = self.body if isinstance(self.body, str | bytes) else json.dumps(self.body)
        return body.encode() if isinstance(body, str) else body


@contextmanager
def replying(
    *replies: Reply | Callable[[dict[str, Any]], Reply], headers: list[str] | None = None
) -> Iterator[tuple[Endpoint, list[dict[str, Any]]]]:
    """The endpoint and the bodies it was asked; it answers with `replies` in turn, the last of them for ever.

    `headers` takes the names of the requests' headers, in lower case.
    """
    bodies: list[dict[str, Any]] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            bodies.append(body)
            if headers is not None:
                headers.extend(name.lower() for name in self.headers)
            reply = replies[min(len(bodies), len(replies)) - 1]
            reply = reply(body) if callable(reply) else reply
            content = reply.content()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(10**9 if reply.drips else len(content)))
            self.end_headers()
            with suppress(OSError):  # whoever asked has given up
                self.wfile.write(content)
                while reply.drips and not closing.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Endpoint(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="m"), bodies
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def chat(text: object = "fine", finish_reason: object = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion with this content, and these further fields of its message."""
    answer = completion("")
    answer["choices"][0]["message"] |= {"content": text, **message}
    answer["choices"][0]["finish_reason"] = finish_reason
    return answer


def sampled(count: int = 3, **choice: Any) -> dict[str, Any]:
    """A completion of `count` tokens as vLLM sends it; `choice` replaces fields of its choice."""
    logprobs = {"token_logprobs": [-0.5] * count}
    fields = {"index": 0, "text": "x", "finish_reason": "length", "token_ids": [7] * count, "logprobs": logprobs}
    return {"object": "text_completion", "model": "m", "choices": [fields | choice]}


def without(answer: dict[str, Any], *path: Any) -> dict[str, Any]:
    """The answer without the field at `path`."""
    answer = copy.deepcopy(answer)
    parent: Any = answer
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return answer
