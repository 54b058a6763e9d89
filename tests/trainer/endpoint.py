"""A small OpenAI-compatible server on loopback, for what a model would be too slow to show: delays, refusals, lies."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answers = Callable[[dict[str, Any]], "str | int"]
"""Request → the words of the answer, or the HTTP status of a refusal."""


@contextmanager
def endpoint(answers: Answers, delay_s: float = 0.0, usage: bool = True) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its base URL and the requests it has got."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append(request)
            time.sleep(delay_s)
            answer = answers(request)
            body = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
            }
            if usage:
                body["usage"] = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
            content = json.dumps(body if isinstance(answer, str) else {"error": {"message": "no"}}).encode()
            self.send_response(200 if isinstance(answer, str) else answer)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
