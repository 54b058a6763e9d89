"""A server that somebody else runs is waited for."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.elsewhere import ServerElsewhere
from serving.endpoint import Endpoint
from serving.errors import EndpointUnreachable


@pytest.fixture
def starting() -> Iterator[tuple[str, list[str]]]:
    """The base URL of a server that is ready at the third request, and the keys that it was shown."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["authorization"])
            self.send_response(200 if len(keys) > 2 else 503)
            self.end_headers()
            self.wfile.write(json.dumps({"data": []}).encode())

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", keys
        server.shutdown()


def test_a_server_that_is_starting_is_waited_for(starting: tuple[str, list[str]]) -> None:
    url, keys = starting
    endpoint = Endpoint(base_url=url, model="m", api_key="k")
    assert ServerElsewhere(endpoint).start() == endpoint
    assert keys == ["Bearer k"] * 3


def test_a_server_that_does_not_come_is_an_error_that_names_the_setting() -> None:
    nobody = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(EndpointUnreachable, match=r"127\.0\.0\.1:9.*engine\.base_urls"):
        ServerElsewhere(nobody, patience_s=0.1).start()
