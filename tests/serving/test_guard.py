"""The door of a served model: what passes without the key, with it, and by unusual notations of a route."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from serving.guard import ADAPTER_FOLDERS, KEY, LOAD, SERVED_HOSTS, Guard

BEARER = (b"authorization", b"Bearer s3cret")
HOST = (b"host", b"127.0.0.1:8000")
JSON = (b"content-type", b"application/json")
PASSED = "passed"


class Server:
    """A guarded application that answers 200 to everything and remembers the bodies it read."""

    def __init__(self) -> None:
        self.guard = Guard(self._application)
        self.bodies: list[bytes] = []

    async def _application(self, _scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def status(self, method: str, path: str, *headers: tuple[bytes, bytes], body: bytes = b"", **scope: Any) -> int:
        sent: list[Any] = []
        asked = {"type": "http", "method": method, "path": path, "headers": headers, "root_path": "", **scope}
        parts = iter([body[:5], body[5:]])

        async def receive() -> Any:
            part = next(parts)
            return {"type": "http.request", "body": part, "more_body": part is not None and part == body[:5] != body}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(asked, receive, send))
        return sent[0].get("status", sent[0].get("code"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    monkeypatch.setenv(KEY, "s3cret")
    monkeypatch.setenv(ADAPTER_FOLDERS, str(tmp_path / "adapters"))
    return Server()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/invocations"), ("POST", "/adapters"), ("DELETE", "/adapters/x"), ("POST", "/tokenize"),
        ("POST", "/detokenize"), ("GET", "/metrics"), ("GET", "/load"), ("GET", "/docs"), ("GET", "/openapi.json"),
        ("POST", "/scale_elastic_ep"), ("GET", "/version"), ("GET", "/ping"), ("POST", "/pause"), ("POST", "/sleep"),
        ("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("OPTIONS", "/v1/chat/completions"),
        ("OPTIONS", "/health"), ("POST", "/health"), ("GET", "/health/"), ("GET", "//health"), ("GET", "/"),
    ],
)  # fmt: skip
def test_nothing_but_health_passes_without_the_key(server: Server, method: str, path: str) -> None:
    assert server.status(method, path, HOST, JSON) == 401
    assert not server.bodies


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_passes_without_the_key(server: Server, method: str) -> None:
    assert server.status(method, "/health", HOST) == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("GET", "/metrics"), ("POST", "/v1/chat/completions")]
)
def test_the_routes_in_use_pass_with_the_key(server: Server, method: str, path: str) -> None:
    assert server.status(method, path, HOST, JSON, BEARER) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/invocations"), ("POST", "/adapters"), ("POST", "/tokenize"), ("GET", "/docs"),
        ("GET", "//v1/models"),
        ("GET", "/v1/models/"), ("GET", "/V1/models"), ("GET", "/v1/../v1/models"), ("GET", "/metrics/"),
        ("GET", "/metrics.x"), ("HEAD", "/v1/models"), ("PUT", "/v1/completions"), ("POST", f"/{LOAD}"),
        ("POST", "/v1/responses"), ("GET", "http://127.0.0.1/v1/models"),
    ],
)  # fmt: skip
def test_other_routes_and_notations_do_not_exist_even_with_the_key(server: Server, method: str, path: str) -> None:
    assert server.status(method, path, HOST, JSON, BEARER) == 404
    assert not server.bodies


def test_no_path_of_a_mount_changes_a_route(server: Server) -> None:
    assert server.status("GET", "/v1/models", HOST, BEARER, root_path="/v1") == 404


@pytest.mark.parametrize(
    "headers",
    [
        [], [(b"authorization", b"s3cret")], [(b"authorization", b"Basic s3cret")], [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer s3cre")], [(b"authorization", b"Bearer s3cret ")],
        [(b"authorization", b"Bearer \xff")], [BEARER, (b"authorization", b"Bearer x")], [(b"x-api-key", b"s3cret")],
    ],
)  # fmt: skip
def test_a_wrong_or_doubled_key_is_none(server: Server, headers: list[tuple[bytes, bytes]]) -> None:
    assert server.status("GET", "/v1/models", HOST, *headers) == 401


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"evil.example"],
        [b"evil.example:8000"],
        [b"127.0.0.1.evil.example"],
        [b"127.0.0.1", b"evil.example"],
        [b""],
    ],
)
def test_a_host_name_that_points_here_and_is_not_known_is_refused(server: Server, hosts: list[bytes]) -> None:
    assert server.status("GET", "/health", *((b"host", host) for host in hosts)) == 403


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:1", b"[::1]:8000", b"[::1]", b"127.0.0.1"])
def test_the_names_of_loopback_are_known(server: Server, host: bytes) -> None:
    assert server.status("GET", "/health", (b"host", host)) == 200


def test_other_names_can_be_made_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    monkeypatch.setenv(SERVED_HOSTS, "gpu-1, gpu-2")
    assert Server().status("GET", "/health", (b"host", b"gpu-2:8000")) == 200


@pytest.mark.parametrize("kind", [None, b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data"])
def test_a_web_page_cannot_post(server: Server, kind: bytes | None) -> None:
    headers = [(b"content-type", kind)] if kind else []
    assert server.status("POST", "/v1/completions", HOST, BEARER, *headers) == 415


def test_a_server_without_a_key_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(RuntimeError, match=KEY):
        Server()


def test_websockets_are_closed(server: Server) -> None:
    assert server.status("GET", "/v1/realtime", HOST, BEARER, type="websocket") == 1008


def load(server: Server, path: object, body: bytes | None = None) -> int:
    asked = json.dumps({"lora_name": "p", "lora_path": path}).encode() if body is None else body
    return server.status("POST", LOAD, HOST, JSON, BEARER, body=asked)


def test_an_adapter_is_loaded_from_a_known_folder(server: Server, tmp_path: Path) -> None:
    assert load(server, str(tmp_path / "adapters" / "one")) == 200
    assert json.loads(server.bodies[0]) == {"lora_name": "p", "lora_path": str(tmp_path / "adapters" / "one")}


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere",
        "org/name",
        "one",
        "{}",
        "{}/",
        "{}/../other",
        "{}-2/one",
        "{}/out",
        "{}/circle",
        "{}/borrowed",
        "\0",
    ],
)
def test_no_adapter_is_loaded_from_elsewhere(server: Server, tmp_path: Path, path: str) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "out").symlink_to(tmp_path)
    (tmp_path / "adapters" / "circle").symlink_to(tmp_path / "adapters" / "circle")
    (tmp_path / "adapters" / "borrowed").mkdir()
    (tmp_path / "adapters" / "borrowed" / "adapter_model.safetensors").symlink_to("/elsewhere")
    assert load(server, path.format(tmp_path / "adapters")) in (400, 403)
    assert not server.bodies


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"lora_path": 3}', b"[" * 60000, b'"' + b"x" * 70000 + b'"'])
def test_a_body_that_names_no_adapter_is_refused(server: Server, body: bytes) -> None:
    assert load(server, "", body) in (400, 413)
    assert not server.bodies


def test_of_a_doubled_path_the_server_reads_the_one_that_was_checked(server: Server, tmp_path: Path) -> None:
    inside = json.dumps(str(tmp_path / "adapters" / "one")).encode()
    assert load(server, "", b'{"lora_path": "/elsewhere", "lora_path": %s}' % inside) == 200
    assert b"elsewhere" not in server.bodies[0]
