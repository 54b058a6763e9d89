"""Who plays the user of a task with a scenario: the scripted user, or a model that is watched for breaking its role."""

import re
from collections.abc import Sequence
from hashlib import sha256
from time import perf_counter
from typing import Protocol, TypeAlias

from envs.environment import Environment
from envs.record import derive_seed
from envs.task import Scenario, Task
from envs.users import UserReply, scenario_breach, scripted_reply
from serving.endpoint import ChatRequest, Message
from serving.errors import EndpointError
from serving.thinking import without_thinking
from trainer.experts import client_for, endpoint_at, estimated_tokens
from trainer.rollout import Charge
from trainer.settings import UserConfig

Talk: TypeAlias = Sequence[tuple[str, str]]
"""Messages of the policy with the user's replies."""
_ROLE = """\
You play a user who has asked an assistant for something. You are {persona}.
Your request was: {request}
When you are asked, you can tell this and nothing else:
{known}
You do not know: {unknown}.
Answer only what you are asked, in one short sentence. Never invent anything, and never say what you do not know.
When the assistant asks nothing and says that it is done, write only: {bye}"""
_BYE = "GOODBYE"


class UserFailed(RuntimeError):
    """The simulated user broke its scenario or gave no answer: the rollout says nothing about the policy."""

    def __init__(self, why: str, used: Charge) -> None:
        super().__init__(why)
        self.used = used


class User(Protocol):
    """Answers for the user of a task."""

    async def reply(
        self, task: Task, environment: Environment, talk: Talk, message: str
    ) -> tuple[UserReply, Charge | None]:
        """The answer to `message` after `talk`, and what a model used for it. Raises UserFailed."""
        ...

    async def aclose(self) -> None: ...


def user_for(config: UserConfig) -> User:
    """The user that the settings name. Raises trainer.experts.KeyMissing."""
    return ModelUser(config) if config.base_url else ScriptedUser()


class ScriptedUser:
    """Tells what is asked from the scenario, always in the same words."""

    async def reply(
        self,
        task: Task,
        environment: Environment,  # noqa: ARG002
        talk: Talk,  # noqa: ARG002
        message: str,
    ) -> tuple[UserReply, None]:
        return scripted_reply(_scenario(task), message), None

    async def aclose(self) -> None:
        """Nothing is open."""


class ModelUser:
    """A model in the user's role, at any OpenAI-compatible endpoint."""

    def __init__(self, config: UserConfig) -> None:
        self.config = config
        endpoint = endpoint_at(config.base_url, config.model, config.api_key_variable, config.requests)
        self._client = client_for(endpoint, config.timeout_s)

    async def reply(self, task: Task, environment: Environment, talk: Talk, message: str) -> tuple[UserReply, Charge]:
        request = ChatRequest(
            template="user",
            template_sha256=sha256(_ROLE.encode()).hexdigest(),
            messages=_messages(task, talk, message),
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            seed=derive_seed("user", task.id, len(talk), message),
        )
        shown = estimated_tokens(sum(len(message.content) for message in request.messages))
        began = perf_counter()
        try:
            answer = await self._client.chat(request)
        except EndpointError as error:
            used = Charge(tool="user", kind="user", input_tokens=shown, latency_s=round(perf_counter() - began, 3))
            raise UserFailed(f"the simulated user gave no answer: {error}", used) from error
        used = Charge(
            tool="user",
            kind="user",
            input_tokens=answer.prompt_tokens or shown,
            output_tokens=answer.completion_tokens or estimated_tokens(len(answer.text)),
            latency_s=round(answer.seconds, 3),
        )
        text = without_thinking(answer.text).strip()
        if not text:
            raise UserFailed("the simulated user only thinks and says nothing", used)
        ends = _BYE in text
        text = re.sub(rf"\s*{_BYE}\W*", " ", text).strip() or "Goodbye."
        breach = scenario_breach(task, environment, [*(said for said, _ in talk), message], text)
        if breach is not None:
            raise UserFailed(f"the simulated user {breach}: {text!r}", used)
        return UserReply(text=text, ends=ends), used

    async def aclose(self) -> None:
        await self._client.aclose()


def _messages(task: Task, talk: Talk, message: str) -> tuple[Message, ...]:
    """The talk from the user's side: what the policy said are the questions that the model answers."""
    scenario = _scenario(task)
    role = _ROLE.format(
        persona=scenario.persona,
        request=task.instruction,
        known="\n".join(f"- {name}: {value}" for name, value in scenario.known.items()) or "- nothing",
        unknown=", ".join(scenario.unknown) or "anything else",
        bye=_BYE,
    )
    messages = [Message(role="system", content=role)]
    for said, reply in talk:
        messages += [Message(role="user", content=said), Message(role="assistant", content=reply)]
    return (*messages, Message(role="user", content=message))


def _scenario(task: Task) -> Scenario:
    if task.scenario is None:
        raise ValueError(f"task {task.id} has no scenario, so there is nobody to talk to")
    return task.scenario
