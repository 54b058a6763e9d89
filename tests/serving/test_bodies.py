"""Requests keep to the strictest rules of the reference interface; settings carry what an endpoint wants otherwise."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel, ValidationError

from generators.discovery import BUILT_IN
from serving.bodies import chat_body
from serving.client import Client
from serving.endpoint import ChatRequest, Endpoint, LlmCall, Message
from serving.errors import HeaderMissing
from serving.request_format import REFERENCE, VLLM, RequestFormat
from serving.strict_schema import NotStrict, strict_schema
from tests.serving.strictness import violations

ASKED = ChatRequest(
    template="shop",
    template_sha256="ab" * 32,
    messages=(Message(role="system", content="You write."), Message(role="user", content="A shop.")),
    response_schema={"type": "object", "properties": {"title": {"type": "string", "maxLength": 9}}},
    max_tokens=50,
    seed=7,
)


class Inner(BaseModel):
    """Described."""

    kind: Literal["a"] = "a"
    size: int | None = None


class Tree(BaseModel):
    name: Annotated[str, Field(pattern="^[a-z]+$", min_length=1, max_length=9, description="A name.")]
    count: int = Field(3, ge=0, le=9)
    choice: Literal["x", "y", None, 7] = None
    tags: list[str] = Field(default_factory=list, max_length=3)
    inner: Inner = Field(Inner(), description="Beside a reference.")
    either: Inner | str
    branches: "list[Tree]" = []


def body(form: RequestFormat) -> dict[str, Any]:
    return chat_body(ASKED, "m", form)


def test_a_schema_with_all_that_is_usual_keeps_to_the_strict_rules_and_to_its_order() -> None:
    schema = strict_schema(Tree.model_json_schema())
    assert violations(schema) == []
    assert schema["required"] == list(Tree.model_fields)
    assert schema["properties"]["name"] == {"description": "A name.", "type": "string"}
    assert schema["properties"]["count"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    kind = {"type": "string", "enum": ["a"]}
    assert schema["$defs"]["Inner"]["properties"]["kind"] == {"anyOf": [kind, {"type": "null"}]}


def test_every_schema_that_the_recordings_asked_with_can_be_strict() -> None:
    recordings = BUILT_IN.glob("*/calls.jsonl")
    calls = [LlmCall.model_validate_json(line) for file in recordings for line in file.open() if '"request"' in line]
    assert len(calls) > 100
    for call in calls:
        sent = chat_body(call.request, "m", REFERENCE)["response_format"]["json_schema"]
        assert sent["strict"] is True and violations(sent["schema"]) == []


class FreeKeys(BaseModel):
    prices: dict[str, float]


class Pair(BaseModel):
    pair: tuple[int, str]


class Anything(BaseModel):
    value: Any


class Wide(BaseModel):
    choice: Literal[tuple(f"value {n}" for n in range(501))]  # type: ignore[valid-type]


class Several(RootModel[Inner | Tree]):
    """No object at the root."""


@pytest.mark.parametrize("model", [FreeKeys, Pair, Anything, Wide, Several])
def test_a_schema_that_cannot_be_strict_goes_out_whole_and_unstrict(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    with pytest.raises(NotStrict):
        strict_schema(schema)
    sent = chat_body(ASKED.model_copy(update={"response_schema": schema}), "m", REFERENCE)
    assert sent["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": False}


def test_our_own_servers_are_asked_with_every_constraint() -> None:
    assert body(VLLM) == {
        "model": "m",
        "messages": [{"role": "system", "content": "You write."}, {"role": "user", "content": "A shop."}],
        "max_tokens": 50,
        "temperature": 0.7,
        "top_p": 1.0,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": ASKED.response_schema, "strict": True},
        },
    }


def test_a_reasoning_model_gets_the_parameters_that_it_takes() -> None:
    form = RequestFormat(
        max_tokens_field="max_completion_tokens",
        extra_tokens=2000,
        omit=("temperature", "top_p", "seed"),
        system_role="developer",
        extra_body={"reasoning_effort": "low"},
    )
    sent = body(form)
    assert sent["max_completion_tokens"] == 2050 and sent["reasoning_effort"] == "low"
    assert sent["messages"][0]["role"] == "developer"
    assert not sent.keys() & {"max_tokens", "temperature", "top_p", "seed"}


@pytest.mark.parametrize("response_format", ["json_object", "none"])
def test_without_schemas_the_prompt_states_the_schema(response_format: Any) -> None:
    sent = body(RequestFormat(response_format=response_format))
    assert sent.get("response_format") == ({"type": "json_object"} if response_format == "json_object" else None)
    assert json.dumps(ASKED.response_schema) in sent["messages"][0]["content"]
    assert "JSON" in sent["messages"][0]["content"]


def test_instructions_can_be_the_users() -> None:
    assert body(RequestFormat(system_role="user"))["messages"] == [
        {"role": "user", "content": "You write.\n\nA shop."},
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"extra_body": {"messages": []}}, "messages cannot be set"),
        ({"headers": {"X-Api-Key": "s"}}, "header_variables"),
        ({"extra_body": {"api_key": "s"}}, "header_variables"),
        ({"extra_body": {"metadata": [{"access_token": "s"}]}}, "header_variables"),
        ({"headers": {"a b": "s"}}, "no name of a header"),
        ({"omit": ["model"]}, "omit"),
        ({"thinking": True}, "thinking"),
    ],
)
def test_a_setting_that_cannot_be_sent_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RequestFormat.model_validate(settings)


def test_credentials_in_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    form = RequestFormat(headers={"X-Title": "t"}, header_variables={"api-key": "SOME_KEY"})
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(HeaderMissing, match="SOME_KEY"):
        Client(Endpoint(base_url="http://x/v1", model="m", requests=form))
    monkeypatch.setenv("SOME_KEY", "s")
    assert form.all_headers() == {"X-Title": "t", "api-key": "s"}
