"""A server that somebody else runs is waited for."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving import waiting
from serving.elsewhere import ServerElsewhere
from serving.endpoint import Endpoint
from serving.errors import EndpointAbsent, EndpointRefused, EndpointUnreachable
from tests.serving.odd import Reply, replying


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


@pytest.fixture
def answering() -> Iterator[Callable[[int, str], str]]:
    """Starts a server that answers everything with this status and body, and says its address."""
    servers = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is its own."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"127.0.0.1:{servers[-1].server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, "", "api_key_variable"),
        (403, "", "api_key_variable"),
        (404, "", "base_urls"),
        (307, "", "base_urls"),
        (200, "<html>", "base_urls"),
        (200, "[]", "base_urls"),
    ],
)
def test_a_wrong_path_or_key_is_an_error_at_once_that_names_the_setting(
    answering: Callable[[int, str], str], status: int, body: str, remedy: str
) -> None:
    endpoint = Endpoint(base_url=f"http://user:s3cret@{answering(status, body)}", model="m")
    with pytest.raises(EndpointRefused, match=rf"status {status}.*engine\.{remedy}") as refused:
        ServerElsewhere(endpoint).start()
    assert "s3cret" not in str(refused.value) and endpoint.base_url in str(refused.value)


@pytest.mark.parametrize("address", ["gpu-1:8000/v1", "ftp://gpu-1/v1", "http://gpu-1:x/v1", "http://"])
def test_what_is_no_address_is_not_waited_for(address: str) -> None:
    with pytest.raises(EndpointRefused, match=r"engine\.base_urls"):
        ServerElsewhere(Endpoint(base_url=address, model="m")).start()


def test_who_waits_says_for_what(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_SILENCE_S", 0.05)
    absent = Endpoint(base_url="http://user:s3cret@127.0.0.1:9/v1", model="m")
    with pytest.raises(EndpointAbsent):
        ServerElsewhere(absent, patience_s=0.5).start()
    assert "waiting for http://127.0.0.1:9/v1" in caplog.text and "s3cret" not in caplog.text


@pytest.mark.parametrize("body", ["[" * 200_000, '{"data": NaN}', b"\xe9"])
def test_a_list_of_models_that_cannot_be_read_is_a_wrong_address(body: str | bytes) -> None:
    with replying(Reply(body)) as (endpoint, _), pytest.raises(EndpointRefused, match="no list of models"):
        ServerElsewhere(endpoint).start()


@pytest.mark.parametrize("key", ["sk-first\nsecond", "sk-\N{LATIN SMALL LETTER E WITH ACUTE}-secret"])
def test_a_key_that_no_header_carries_is_refused_and_not_quoted(key: str) -> None:
    with replying(Reply({"data": []})) as (endpoint, bodies), pytest.raises(EndpointRefused) as caught:
        ServerElsewhere(endpoint.model_copy(update={"api_key": key})).start()
    assert "sk-" not in str(caught.value)
    assert not bodies
