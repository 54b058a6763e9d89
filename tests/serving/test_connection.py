"""Where requests and credentials go: to the address that was set, and nowhere else."""

import asyncio

import pytest

from serving.client import Client
from serving.endpoint import ChatRequest, Endpoint, Message
from serving.errors import EndpointError, EndpointRefused
from serving.request_format import RequestFormat
from tests.serving.odd import Reply, chat, replying

QUESTION = ChatRequest(template="t", template_sha256="0" * 64, messages=(Message(role="user", content="Hello?"),))


def ask(endpoint: Endpoint) -> str:
    async def asking() -> str:
        async with Client(endpoint, timeout_s=5, retries=0) as client:
            return (await client.chat(QUESTION)).text

    return asyncio.run(asking())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_the_question_or_a_key_to_another_host(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("HEADER_KEY", "of-the-header")
    with replying(Reply(chat())) as (other, bodies):
        goal = other.base_url.replace("127.0.0.1", "user:pass@localhost") + "/chat/completions?sig=abcdef"
        with replying(Reply("", status, {"Location": goal})) as (endpoint, _):
            requests = RequestFormat(header_variables={"api-key": "HEADER_KEY"})
            with pytest.raises(EndpointRefused, match="redirects to http://localhost") as caught:
                ask(endpoint.model_copy(update={"requests": requests}))
    assert not bodies
    assert "pass" not in str(caught.value)
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with replying(Reply(chat("of the proxy"))) as (proxy, at_proxy), replying(Reply(chat("direct"))) as (endpoint, _):
        monkeypatch.setenv(variable, proxy.base_url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask(endpoint) == "direct"
    assert not at_proxy


def test_a_proxy_that_is_none_is_an_error_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://user:password-7@host")
    with pytest.raises(EndpointRefused, match="proxy") as caught:
        ask(Endpoint(base_url="https://203.0.113.1/v1", model="m"))
    assert "password-7" not in str(caught.value)


def test_settings_for_another_service_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: of-another-service")
    headers: list[str] = []
    with replying(Reply(chat()), headers=headers) as (endpoint, _):
        ask(endpoint)
    assert not {"openai-organization", "openai-project", "x-secret"} & set(headers)


@pytest.mark.parametrize("key", ["sk-1\n", "\tsk-1", "sk-1\r\n"])
def test_a_line_end_around_a_key_is_no_part_of_it(key: str) -> None:
    assert Endpoint(base_url="http://127.0.0.1/v1", model="m", api_key=key).authorization == "Bearer sk-1"


@pytest.mark.parametrize("key", ["sk-first\nsecond", "sk-\N{LATIN SMALL LETTER E WITH ACUTE}-secret", "sk-\0-secret"])
def test_a_key_that_no_header_carries_is_an_error_at_once(key: str) -> None:
    with replying(Reply(chat())) as (endpoint, bodies), pytest.raises(EndpointRefused, match="Authorization") as caught:
        ask(endpoint.model_copy(update={"api_key": key}))
    assert not bodies
    assert "sk-" not in str(caught.value)


def test_a_key_that_an_answer_repeats_is_not_stored_and_words_are_left() -> None:
    with replying(Reply(chat("Is it sk-0123456789 of ollama?"))) as (endpoint, _):
        assert ask(endpoint.model_copy(update={"api_key": "sk-0123456789"})) == "Is it *** of ollama?"
        assert ask(endpoint.model_copy(update={"api_key": "ollama"})) == "Is it sk-0123456789 of ollama?"


def test_an_empty_key_is_none() -> None:
    with replying(Reply(chat())) as (endpoint, _):
        assert ask(Endpoint(base_url=endpoint.base_url, model="m", api_key="")) == "fine"


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "key"), (404, "version"), (405, "version"), (400, "requests"), (413, "too large")]
)
def test_the_remedy_fits_the_refusal(status: int, remedy: str) -> None:
    error = {"error": {"message": "no"}}
    with replying(Reply(error, status)) as (endpoint, _), pytest.raises(EndpointError, match=remedy):
        ask(endpoint)


def test_a_connection_that_breaks_is_named_as_what_it_is() -> None:
    with (
        replying(Reply(b"\x1f\x8bnothing", headers={"Content-Encoding": "gzip"})) as (endpoint, _),
        pytest.raises(EndpointError, match="decompressing"),
    ):
        ask(endpoint)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=iso-8859-1"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_unicode_whatever_the_headers_say(kind: str, encoding: str) -> None:
    body = '{"choices": [{"message": {"content": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"}}]}'.encode(encoding)
    with replying(Reply(body, headers={"Content-Type": kind})) as (endpoint, _):
        assert ask(endpoint) == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def test_bytes_that_are_no_text_are_not_patched_up() -> None:
    latin = b'{"choices": [{"message": {"content": "caf\xe9"}}]}'
    with replying(Reply(latin)) as (endpoint, _), pytest.raises(EndpointError, match="no chat completion"):
        ask(endpoint)
