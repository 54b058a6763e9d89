"""Addresses in the form that is recorded and shown, and endpoints that send the rest and nothing else tells."""

import asyncio
import json
import logging
import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import ValidationError

from serving.client import Client
from serving.credentials import (
    public_address,
    published,
    redacted,
    shown_variable,
    split_address,
    without_userinfo,
)
from serving.endpoint import Endpoint, ServedModel
from serving.errors import EndpointError
from serving.ledger import Ledger
from tests.serving.provider import Provider, request
from trainer.experts import KeyMissing, endpoint_at


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8000/v1", "https://example.com/v1/", "https://api.example.com/v4/accounts/@cf/v1",
        "http://[::1]:8000/v1", "HTTPS://Example.com", "gpu-1:8000/v1", "",
    ],
)  # fmt: skip
def test_an_address_without_credentials_stays_letter_by_letter(address: str) -> None:
    assert public_address(address) == address


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("http://user:s3cret@host:80/v1", "http://host:80/v1"),
        ("https://s3cret@host/v1", "https://host/v1"),
        ("http://user:s3cret/s3cret@host/v1", "http://host/v1"),
        ("http://user:s3cret@s3cret@host/v1", "http://host/v1"),
        ("http:/user:s3cret@host/v1", "http:/host/v1"),
        ("user:s3cret@host/v1", "host/v1"),
        ("https://host/v1?api_key=s3cret", "https://host/v1"),
        ("https://host/v1?sig=a%2Fs3cret&x=1#s3cret", "https://host/v1"),
        ("https://host/v1#s3cret", "https://host/v1"),
        ("https://host?token=s3cret@x", "https://host"),
        ("http://user:s3cret@[::1]:1/v1", "http://[::1]:1/v1"),
    ],
)
def test_the_public_form_has_scheme_host_port_and_path(address: str, public: str) -> None:
    assert public_address(address) == public
    assert "s3cret" not in repr(split_address(address))


@pytest.mark.parametrize(
    ("fingerprint", "shown"),
    [
        ("smollm2@b179c9523d0e-c1", "smollm2@b179c9523d0e-c1"),
        ("m@https://api.example.com/v1", "m@https://api.example.com/v1"),
        ("m@https://user:s3cret@api.example.com/v1?key=s3cret", "m@https://api.example.com/v1"),
        ("@cf/meta@https://1.1.1.1/v1", "@cf/meta@https://1.1.1.1/v1"),
        *(
            (f"m@http://{host}/v1", "m@private")
            for host in ("gpu-1:8000", "10.1.2.3", "127.0.0.1", "localhost", "[::1]")
        ),
        *((f"m@http://{host}/v1", "m@private") for host in ("vllm.ml.svc.cluster.local", "llm.corp", "gpu.internal.")),
    ],
)
def test_a_dataset_names_no_host_of_a_private_network(fingerprint: str, shown: str) -> None:
    assert published(fingerprint) == shown


def test_a_text_is_redacted_whole_and_words_are_left() -> None:
    assert (
        redacted("key s3cret-long and s3cret, none", ("s3cret", "s3cret-long", "none", "")) == "key *** and ***, none"
    )


def test_addresses_in_the_words_of_other_programs_lose_their_users() -> None:
    text = "Looking in indexes: https://user:s3cret@host/simple, http://host/v1/@cf/m and http://t@[::1]/x"
    shown = "Looking in indexes: https://***@host/simple, http://host/v1/@cf/m and http://***@[::1]/x"
    assert without_userinfo(text) == shown


@pytest.fixture
def echo() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that refuses each request and quotes it, and the request lines it got."""
    lines: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            lines.append(f"{self.path} {self.headers['Authorization']}")
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.end_headers()
            self.wfile.write(json.dumps({"error": {"message": f"bad request {lines[-1]}"}}).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", lines
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("http://{}/v1", "/v1/chat/completions Bearer s3cret-key"),
        ("http://us%40er:pa%3Ass-word@{}/v1", "/v1/chat/completions Basic dXNAZXI6cGE6c3Mtd29yZA=="),
        ("http://{}/v1?api_key=s3cret-query", "/v1/chat/completions?api_key=s3cret-query Bearer s3cret-key"),
    ],
)
def test_credentials_are_sent_and_in_no_error_and_no_log(
    echo: tuple[str, list[str]], address: str, sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host, lines = echo
    endpoint = Endpoint(base_url=address.format(host), model="m", api_key="s3cret-key")
    with pytest.raises(EndpointError, match="bad request") as refused:
        asyncio.run(Client(endpoint).chat(request("?")))
    assert lines == [sent]
    shown = f"{caplog.text} {refused.value} {refused.value.__cause__} {endpoint!r} {endpoint.model_dump()['base_url']}"
    assert not [secret for secret in ("s3cret", "ss-word", "dXNAZXI6") if secret in shown]
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint, "workers elsewhere get them too"


def test_a_field_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as refused:
        Endpoint.model_validate({"base_url": "http://host/v1", "model": "m", "api_key": ["s3cret"], "key": "s3cret"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("variable", ["sk-s3cret", "s3cret"])
def test_a_key_in_the_place_of_a_variables_name_is_not_shown(variable: str) -> None:
    with pytest.raises(KeyMissing) as missing:
        endpoint_at("http://user:s3cret@host/v1", "m", variable)
    assert "s3cret" not in str(missing.value) and "http://host/v1" in str(missing.value)
    assert shown_variable("POLICY_KEY") == "POLICY_KEY"


def test_answers_of_an_older_ledger_are_kept_and_its_credential_goes(provider: Provider, tmp_path: Path) -> None:
    former, asked = "m@http://user:s3cret@host/v1", [request("one"), request("two")]
    old = Ledger(tmp_path / "ledger.sqlite", ServedModel(former, endpoint=provider.endpoint))
    texts = [call.text for call in old.ask_many(asked)]
    model = ServedModel("m@http://host/v1", former_fingerprints=(former,))
    ledger = Ledger(tmp_path / "ledger.sqlite", model, "replay")
    assert [call.text for call in ledger.ask_many(asked)] == texts
    assert not [file.name for file in tmp_path.iterdir() if b"s3cret" in file.read_bytes()]
