"""Asking experts: simulated ones by declaration, others at their endpoints. What they say is text for the policy.

An expert that fails or takes too long is a result the policy sees, and it is charged for what it was told.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from time import perf_counter

from pydantic import JsonValue

from envs.environment import Environment
from envs.experts import (
    CHARACTERS_PER_TOKEN,
    EndpointProfile,
    ExpertProfile,
    SimulatedProfile,
    simulated_advice,
)
from envs.record import derive_seed
from envs.spec import EnvironmentSpec
from envs.task import Expert, Task, Toolbox, ToolCall
from envs.tools import ToolResult
from serving.client import Client
from serving.credentials import public_address, shown_variable
from serving.endpoint import ChatRequest, Endpoint, Message
from serving.errors import EndpointError, HeaderMissing
from serving.request_format import REFERENCE, RequestFormat
from serving.thinking import without_thinking
from trainer.dialect import render_advice, render_call, render_results, system_prompt
from trainer.rollout import Charge

_ROLE = (
    "Another assistant works on this request and asks you what to do. You cannot call tools yourself. Write the tool "
    "calls to make next, or the answer to give when all is done; nothing else."
)
_RESULT_CHARS = 2_000
"""Of one result, in what an expert is shown."""


class KeyMissing(RuntimeError):
    """The environment variable that should hold an endpoint's key is not set."""


@dataclass
class Situation:
    """Where a rollout stands when an expert is asked."""

    task: Task
    environment: Environment
    toolbox: Toolbox
    others: Mapping[str, EnvironmentSpec]
    """The environments of the distractors, by id."""
    made: list[tuple[ToolCall, JsonValue]] = field(default_factory=list)
    """Calls of domain tools that succeeded so far, with their results."""
    asked: int = 0
    """How many questions experts were asked so far."""


class Experts:
    """The experts of a collection. `async with` closes the connections to them."""

    def __init__(self, pool: Sequence[ExpertProfile]) -> None:
        """Raises KeyMissing."""
        self._profiles = {profile.name: profile for profile in pool}
        self._clients = {profile.name: _client(profile) for profile in pool if isinstance(profile, EndpointProfile)}

    async def __aenter__(self) -> "Experts":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def ask(self, expert: Expert, question: str, situation: Situation) -> tuple[ToolResult, Charge]:
        """What the expert says, and what it used. Raises KeyError for an expert that the campaign does not declare."""
        profile = self._profiles[expert.profile]
        situation.asked += 1
        if isinstance(profile, SimulatedProfile):
            return _simulated(expert, profile, question, situation)
        return await self._endpoint(expert, profile, question, situation)

    async def _endpoint(
        self, expert: Expert, profile: EndpointProfile, question: str, situation: Situation
    ) -> tuple[ToolResult, Charge]:
        messages = _messages(question, situation)
        request = ChatRequest(
            template="expert",
            template_sha256=sha256(_ROLE.encode()).hexdigest(),
            messages=messages,
            temperature=profile.temperature,
            max_tokens=profile.max_tokens,
            seed=derive_seed("expert", situation.task.id, profile.name, question, situation.asked),
        )
        shown = sum(len(message.content) for message in messages)
        began = perf_counter()
        try:
            answer = await self._clients[profile.name].chat(request)
        except EndpointError:
            # What it was told is charged by estimate: who does not answer does not count tokens either.
            charge = _charge(expert, estimated_tokens(shown), 0, perf_counter() - began)
            return _no_answer(expert, profile), charge
        # Not every endpoint counts tokens; those of its thinking are paid for too.
        used = (
            answer.prompt_tokens or estimated_tokens(shown),
            answer.completion_tokens or estimated_tokens(len(answer.text)),
        )
        charge = _charge(expert, *used, perf_counter() - began)
        words = without_thinking(answer.text).strip()
        return ToolResult(ok=True, value=words) if words else _no_answer(expert, profile), charge


def endpoint_at(base_url: str, model: str, api_key_variable: str, requests: RequestFormat = REFERENCE) -> Endpoint:
    """An endpoint with the key in this variable, if there is one. Raises KeyMissing."""
    if api_key_variable and api_key_variable not in os.environ:
        variable = shown_variable(api_key_variable)
        raise KeyMissing(f"{model} at {public_address(base_url)}: set the environment variable {variable} to its key.")
    key = os.environ[api_key_variable] if api_key_variable else "none"
    return Endpoint(base_url=base_url, model=model, api_key=key, requests=requests)


def client_for(endpoint: Endpoint, timeout_s: float) -> Client:
    """A connection that waits so long for an answer, whatever it waits for. Raises KeyMissing."""
    try:
        return Client(endpoint, timeout_s=timeout_s, retries=0, total_s=timeout_s)
    except HeaderMissing as error:
        raise KeyMissing(f"{endpoint.model} at {endpoint.base_url}: {error}") from error


def _client(profile: EndpointProfile) -> Client:
    requests = RequestFormat.model_validate(profile.requests)
    return client_for(
        endpoint_at(profile.base_url, profile.model, profile.api_key_variable, requests), profile.timeout_s
    )


def _simulated(
    expert: Expert, profile: SimulatedProfile, question: str, situation: Situation
) -> tuple[ToolResult, Charge]:
    advice = simulated_advice(profile, situation.task, situation.environment, question, situation.made, situation.asked)
    shown = sum(len(message.content) for message in _messages(question, situation))
    if advice.failed:
        return _no_answer(expert, profile), _charge(expert, estimated_tokens(shown), 0, profile.timeout_s)
    said = render_advice(advice)
    used = estimated_tokens(shown), profile.thinking_tokens + estimated_tokens(len(said))
    return ToolResult(ok=True, value=said), _charge(expert, *used, profile.latency_s)


def _no_answer(expert: Expert, profile: ExpertProfile) -> ToolResult:
    return ToolResult(ok=False, error=f"{expert.name} gave no answer (it has {profile.timeout_s:g} s)")


def _charge(expert: Expert, input_tokens: int, output_tokens: int, latency_s: float) -> Charge:
    return Charge(
        tool=expert.name,
        kind="expert",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        latency_s=round(latency_s, 3),
        simulated=expert.simulated,
    )


def estimated_tokens(characters: int) -> int:
    """About how many tokens so many characters are."""
    return ceil(characters / CHARACTERS_PER_TOKEN)


def _messages(question: str, situation: Situation) -> tuple[Message, Message]:
    """The environment as the policy sees it but for experts, then the question and what was done so far."""
    toolbox = situation.toolbox.model_copy(update={"experts": ()})
    system = f"{system_prompt(situation.environment.spec, toolbox, situation.others)}\n{_ROLE}"
    done = [
        f"{render_call(call)}\n{render_results([ToolResult(ok=True, value=value)], _RESULT_CHARS)}"
        for call, value in situation.made
    ]
    asked = "\n".join([question, *(["Done so far:", *done] if done else [])])
    return Message(role="system", content=system), Message(role="user", content=asked)
