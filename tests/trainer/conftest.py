"""What the trainer's tests share: the shop, SmolLM2's tokenizer, and a random two-layer model that has it."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.task import Task
from serving.endpoint import Completion, CompletionRequest
from serving.models import ResolvedModel
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.small import speaking_model
from trainer.collect import Assignment
from trainer.conversation import Conversation, Tokenizer, load_tokenizer
from trainer.rollout import Rollout


@pytest.fixture(scope="session")
def tokenizer(smollm2: ResolvedModel) -> Tokenizer:
    return load_tokenizer(smollm2.path)


@pytest.fixture(scope="session")
def conversation(tokenizer: Tokenizer) -> Conversation:
    return Conversation(tokenizer)


@pytest.fixture
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


@pytest.fixture
def tasks(shop: Environment) -> list[Task]:
    return shop_tasks(shop)


@pytest.fixture(scope="session")
def tiny_model(smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with SmolLM2's tokenizer: real gradients in milliseconds."""
    return speaking_model(tmp_path_factory.mktemp("tiny"), smollm2)


@pytest.fixture
def assignment() -> Assignment:
    return Assignment(campaign="test", iteration=0, purpose="training", policy_id="scripted", model="scripted")


Script = Callable[[str, int], str]


UNIFORM = -math.log(49152)
"""What a random model gives every token, so that updates of the tiny model start on policy."""


class ScriptedPolicy:
    """A policy that is a function of what it was told and of the turn: it answers tokens with tokens like any other."""

    def __init__(self, tokenizer: Tokenizer, script: Script, fails_after: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.conversation = Conversation(tokenizer)
        self.script = script
        self.prompts: list[list[int]] = []
        self.seeds: list[int] = []
        self.fails_after = fails_after

    async def complete(self, request: CompletionRequest) -> Completion:
        if self.fails_after is not None and len(self.prompts) >= self.fails_after:
            raise ConnectionError("the engine is gone")
        self.prompts.append(list(request.prompt_ids))
        self.seeds.append(request.seed)
        told = self.tokenizer.decode(list(request.prompt_ids), skip_special_tokens=False)
        turn = told.count("<|im_start|>assistant") - 1
        ids = self.conversation.completion(self.script(told, turn))
        cut = len(ids) > request.max_tokens
        ids = ids[: request.max_tokens]
        return Completion(
            token_ids=tuple(ids),
            logprobs=(UNIFORM,) * len(ids),
            finish_reason="length" if cut else "stop",
            prompt_tokens=len(request.prompt_ids),
            seconds=0.0,
        )


@pytest.fixture
def scripted(tokenizer: Tokenizer) -> Callable[..., ScriptedPolicy]:
    """Makes a scripted policy from its lines, one a turn, or from `script(everything told so far, turn) -> text`."""

    def make(script: Script | list[str], **options: int) -> ScriptedPolicy:
        lines = script
        chosen = (lambda _, turn: lines[turn]) if isinstance(lines, list) else lines
        return ScriptedPolicy(tokenizer, chosen, **options)

    return make


@pytest.fixture
def golden_script(tasks: list[Task]) -> Script:
    """The script of a perfect policy: each task's golden calls, one a turn, then the golden answer."""
    from trainer.dialect import render_answer, render_call

    def script(told: str, turn: int) -> str:
        task = next(task for task in tasks if f"user\n{task.instruction}<" in told)
        return render_call(task.golden[turn]) if turn < len(task.golden) else render_answer(task.golden_answer)

    return script


def history_of(rollout: Rollout) -> list[int]:
    """All tokens of a rollout in the order the engine saw and wrote them."""
    return [token for turn in rollout.turns for token in (*turn.context_ids, *turn.completion_ids)]
