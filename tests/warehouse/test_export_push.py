"""What the hub's own client sends for us, to a server on this machine that answers as the hub does."""

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from warehouse.export.hub import PushFailed, push, token_from

TOKEN = "hf_of_a_test"


class Hub(ThreadingHTTPServer):
    """A hub that holds one dataset with one file, and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {"tasks/train-00007.parquet": b"of an earlier export"}
        self.stored: dict[str, bytes] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if self._forbidden():
            return
        assert self.path.startswith("/api/datasets/me/shop/tree/main")
        files = self.server.files
        self._answer([{"type": "file", "path": name, "size": len(files[name]), "oid": "0" * 40} for name in files])

    def do_PUT(self) -> None:
        """A large file, to the address it was given."""
        body = self._body()
        assert hashlib.sha256(body).hexdigest() == self.path.removeprefix("/large/")
        self.server.stored[self.path.removeprefix("/large/")] = body
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self._forbidden():
            return
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self._answer({"url": f"{self.server.address}/datasets/me/shop"})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            modes = [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular"}
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            wanted = [
                {**each, "actions": {"upload": {"href": f"{self.server.address}/large/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": wanted})
        else:
            assert self.path.startswith("/api/datasets/me/shop/commit/main")
            for line in map(json.loads, body.splitlines()):
                self._commit(line["key"], line["value"])
            self._answer(
                {
                    "success": True,
                    "commitOid": "1" * 40,
                    "commitUrl": f"{self.server.address}/datasets/me/shop/commit/1",
                }
            )

    def _forbidden(self) -> bool:
        known = self.headers["authorization"] == f"Bearer {TOKEN}"
        if not known:
            self._answer({"error": "not you"}, 401)
        return not known

    def _commit(self, key: str, value: dict[str, Any]) -> None:
        files = self.server.files
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = self.server.stored[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"] or 0))

    def _answer(self, told: Any, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # Large files go by the hub's documented LFS way; Xet's protocol is the client's own affair.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop" / "tasks").mkdir(parents=True)
    (tmp_path / "shop" / "README.md").write_text("---\ntags: [rl-environment]\n---\n# Shop\n")
    (tmp_path / "shop" / "tasks" / "train-00000.parquet").write_bytes(b"PAR1" + bytes(range(256)) * 40 + b"PAR1")
    return tmp_path / "shop"


def test_a_push_makes_a_private_dataset_that_holds_the_folder_and_nothing_older(hub: Hub, folder: Path) -> None:
    for public in (False, True):
        assert (
            push(folder, "me/shop", TOKEN, private=not public, endpoint=hub.address)
            == f"{hub.address}/datasets/me/shop"
        )
    assert {(each["name"], each["organization"], each["type"]) for each in hub.created} == {("shop", "me", "dataset")}
    assert [each["visibility"] for each in hub.created] == ["private", "public"]
    assert hub.files == {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_a_push_that_fails_says_why_and_where_the_folder_is(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PushFailed, match="may write there"):
        push(folder, "me/shop", "hf_somebody_elses", endpoint=hub.address)
    with pytest.raises(PushFailed, match="no name of a dataset"):
        push(folder, "me/shop/window", TOKEN, endpoint=hub.address)
    nobody = f"http://127.0.0.1:{_free_port()}"
    with pytest.raises(PushFailed, match="cannot be reached") as unreachable:
        push(folder, "me/shop", TOKEN, endpoint=nobody)
    assert str(folder) in str(unreachable.value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PushFailed, match="HF_HUB_OFFLINE"):
        push(folder, "me/shop", TOKEN, endpoint=hub.address)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_token_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", " hf_x\n")
    assert token_from("MY_TOKEN") == "hf_x"
    monkeypatch.setenv("MY_TOKEN", "")
    with pytest.raises(PushFailed, match="MY_TOKEN"):
        token_from("MY_TOKEN")
