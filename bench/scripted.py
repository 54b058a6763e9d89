"""A policy that knows the answers, so that what a collection costs is seen without a model.

Tasks of the desk in SmolLM2's chat template: four calls, one a turn, and the answer. What the policy writes is
tokenised before anything is measured.
"""

import asyncio
from pathlib import Path

from bench.desk import ROWS, desk_spec
from envs.environment import Environment
from envs.record import derive_seed
from envs.task import Goal, Task, Toolbox, ToolCall
from serving.endpoint import Completion, CompletionRequest
from serving.models import resolve_model
from trainer.collect import Collection, planned
from trainer.conversation import Conversation, Tokenizer, load_tokenizer
from trainer.dialect import render_answer, render_call
from trainer.player import Assignment
from trainer.settings import RolloutConfig

ROOT = Path(__file__).resolve().parent.parent
TURNS = 5
_TOOLS = ("get_desk_0", "close_desk_1", "get_desk_1", "close_and_raise_desk_2")


def tokenizer() -> Tokenizer:
    """SmolLM2's, from the project's model cache."""
    return load_tokenizer(resolve_model("smollm2-135m-instruct", ROOT / ".envloom" / "models").path)


def desk_tasks(environment: Environment, count: int) -> list[Task]:
    """`count` different requests, each for two reads and two writes of tickets of its own."""
    return [_task(environment, number) for number in range(1, count + 1)]


def _task(environment: Environment, number: int) -> Task:
    ticket = f"-{number % ROWS + 1}"
    golden = []
    for tool in _TOOLS:
        arguments = {"ticket_id": f"T{tool[-1]}{ticket}"}
        if tool.startswith("close_and_raise"):
            arguments["other_id"] = f"T{tool[-1]}-{(number + 7) % ROWS + 1}"
        golden.append(ToolCall(tool=tool, arguments=arguments))
    return Task(
        environment_id=environment.id,
        domain="desk",
        instruction=(
            f"Look at ticket T0{ticket}. Then close T1{ticket} and check that it is closed, "
            f"and close T2{ticket} and raise the price of {golden[-1].arguments['other_id']}. This is request {number}."
        ),
        golden=tuple(golden),
        golden_answer="All of it is done.",
        goal=Goal(changeset=environment.replay(golden).changeset),
        difficulty=len(golden),
        toolbox=Toolbox(
            tools=tuple(tool.name for tool in environment.spec.tools[:12]),
            call_prices_usd={tool.name: 0.001 for tool in environment.spec.tools[:12]},
            input_usd_per_mtok=0.1,
            output_usd_per_mtok=0.4,
        ),
    )


def desk_collection(tasks: int, samples: int, concurrency: int = 32) -> Collection:
    """A collection of `tasks` × `samples` rollouts."""
    environment = Environment.load(desk_spec())
    who = Assignment(campaign="bench", iteration=0, purpose="training", policy_id="scripted", model="scripted")
    config = RolloutConfig(samples_per_task=samples, concurrency=concurrency, max_context_tokens=2048)
    return Collection(desk_tasks(environment, tasks), {environment.id: environment}, who, config)


class ScriptedPolicy:
    """Plays every rollout of a collection right. It knows a turn by its seed: answering costs next to nothing."""

    def __init__(self, collection: Collection, tokenizer: Tokenizer, delay_s: float = 0.0) -> None:
        """`delay_s`: what a completion takes. Others have their turn meanwhile, also when it is 0."""
        self._delay_s = delay_s
        self._completions: dict[int, Completion] = {}
        conversation, said = Conversation(tokenizer), {}
        for task, _, seed in planned(collection.tasks, collection.assignment, collection.config).values():
            if task.id not in said:
                lines = [*map(render_call, task.golden), render_answer(task.golden_answer)]
                said[task.id] = [_completion(conversation.completion(line)) for line in lines]
            self._completions |= {derive_seed(seed, turn): each for turn, each in enumerate(said[task.id])}

    async def complete(self, request: CompletionRequest) -> Completion:
        await asyncio.sleep(self._delay_s)
        completion = self._completions[request.seed]
        return completion.model_copy(update={"prompt_tokens": len(request.prompt_ids)})


def _completion(ids: list[int]) -> Completion:
    return Completion(
        token_ids=tuple(ids), logprobs=(-0.25,) * len(ids), finish_reason="stop", prompt_tokens=0, seconds=0.0
    )
