"""The door of a vLLM server: every route but `/health` needs the key, and only the routes listed here exist.

vLLM's own key guards `/v1` alone; samples, adapters, metrics and documentation are open beside it. The server's process
imports this ASGI middleware (`--middleware serving.guard.Guard`), so only the standard library is used here.
"""

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

KEY = "VLLM_API_KEY"
ADAPTER_FOLDERS = "ENVLOOM_ADAPTER_FOLDERS"
"""Folders below which adapters may be loaded from, separated as in PATH. Without it none is loaded."""
SERVED_HOSTS = "ENVLOOM_SERVED_HOSTS"
"""Names of the server beside those of loopback, separated by commas."""
LOAD = "/v1/load_lora_adapter"
OPEN = frozenset({("GET", "/health"), ("HEAD", "/health")})
KEYED = frozenset(
    {
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", LOAD),
        ("POST", "/v1/unload_lora_adapter"),
    }
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_LOAD_BYTES = 64 * 1024


class Refused(Exception):
    """A request that does not pass: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """Passes requests with the key, to listed routes, for a known host, with JSON bodies; refuses all others.

    Raises RuntimeError at start if the server has no key.
    """

    def __init__(self, app: App) -> None:
        key = os.environ.get(KEY, "")
        if not key:
            raise RuntimeError(f"the server has no key: set {KEY}; --api-key is on a command line that all users see")
        self._app = app
        self._key = key.encode()
        self._folders = [Path(name).resolve() for name in os.environ.get(ADAPTER_FOLDERS, "").split(os.pathsep) if name]
        hosts = os.environ.get(SERVED_HOSTS, "").lower().split(",")
        self._hosts = _LOOPBACK | {host.strip() for host in hosts if host.strip()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            self._admit(scope)
            if scope["path"] == LOAD:
                scope, receive = await self._with_known_folder(scope, receive)
        except Refused as refused:
            return await _refuse(send, refused)
        await self._app(scope, receive, send)

    def _admit(self, scope: Message) -> None:
        """Raises Refused. Paths are compared as they are: an unusual notation of a route is no route."""
        route = scope["method"], scope["path"]
        if _host(_only(scope, b"host") or "") not in self._hosts:
            raise Refused(403, f"this name of the server is not known; add it to {SERVED_HOSTS}")
        if route in OPEN:
            return
        scheme, _, key = (_only(scope, b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode("latin-1"), self._key):
            raise Refused(401, "the key is missing or wrong")
        if route not in KEYED or scope.get("root_path"):
            raise Refused(404, "there is no such route")
        if scope["method"] == "POST":
            media_type = (_only(scope, b"content-type") or "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                raise Refused(415, "send application/json")

    async def _with_known_folder(self, scope: Message, receive: Receive) -> tuple[Message, Receive]:
        """The request with its adapter's path resolved. What was checked is what the server reads. Raises Refused."""
        try:
            request = json.loads(await _body(receive))
            path = Path(request["lora_path"]).resolve()
            files = [path, *(file.resolve() for file in path.iterdir())] if path.is_dir() else [path]
        except (ValueError, TypeError, KeyError, OSError, RuntimeError) as error:  # also of links that go in circles
            raise Refused(400, "the body is no JSON object with lora_path, or the path cannot be read") from error
        if not all(any(folder in file.parents for folder in self._folders) for file in files):
            raise Refused(403, "lora_path, or a file in it, is not below a folder that adapters are loaded from")
        body = json.dumps({**request, "lora_path": str(path)}).encode()
        framing = (b"content-length", b"transfer-encoding", b"content-encoding")
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in framing]
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}, replay


def _only(scope: Message, name: bytes) -> str | None:
    """The value of a header that stands there once."""
    values = [value for known, value in scope["headers"] if known.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else None


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    name, colon, port = header.lower().rpartition(":")
    return name if colon and port.isdigit() else header.lower()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "the request ended early")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _LOAD_BYTES:
            raise Refused(413, f"more than {_LOAD_BYTES} bytes")
    return body


async def _refuse(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": {"message": str(refused), "code": refused.status}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
