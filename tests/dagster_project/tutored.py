"""A campaign through its real assets without a server: a tutor writes what the policy says, golden programs or nothing.

Everything else is as ever: a random model of two layers is really warmed up and really updated.
"""

import shutil
from contextlib import nullcontext
from functools import partial
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import pytest
import yaml

from dagster_project.campaign import Campaign, load_campaign
from dagster_project.home import Home
from dagster_project.resources import Engines, Workshop, synthesist_here
from dagster_project.runner import iteration_steps, preparation_steps, run_steps
from serving.endpoint import Completion, CompletionRequest
from serving.models import resolve_model
from trainer.canary import CanaryReport
from trainer.collect import Collection
from trainer.conversation import Conversation, Tokenizer, load_tokenizer
from trainer.engine import ServedPolicy
from trainer.fanout import Hear, Sink, fan_out
from trainer.golden import golden_row

NAME = "smoke"
SETTINGS: dict[str, Any] = {
    "domains": ["library"],
    "max_calls": 1,
    "tasks_per_iteration": 3,
    "warm_start": {"steps": 1, "examples_per_step": 2, "lora": {"r": 2, "alpha": 4}, "threads": 1},
    "rollouts": {"samples_per_task": 3, "max_turns": 3},
    "update": {"learning_rate": 1.0e-3, "minibatches": 2, "threads": 1},
    "evaluation": {"max_tasks": 3},
}


class Tutor:
    """Goes on as the golden trajectories do, and often gives up at once; which, the request's seed decides."""

    def __init__(self, collection: Collection, tokenizer: Tokenizer) -> None:
        self.conversation = Conversation(tokenizer)
        self.rows = [
            golden_row(task, collection.environments[task.environment_id], self.conversation, 600)
            for task in collection.tasks
        ]

    async def complete(self, request: CompletionRequest) -> Completion:
        ids = self._golden(request.prompt_ids)
        if not ids or Random(request.seed).random() < 0.3:
            ids = self.conversation.completion("answer: Done.")
        ids = ids[: request.max_tokens]
        return Completion(
            token_ids=tuple(ids),
            logprobs=tuple(-1.0 - 0.001 * place for place in range(len(ids))),
            finish_reason="stop",
            prompt_tokens=len(request.prompt_ids),
            seconds=0.0,
        )

    def _golden(self, prompt: tuple[int, ...]) -> list[int]:
        for row in self.rows:
            if row.token_ids[: len(prompt)] == prompt:
                rest = zip(row.token_ids[len(prompt) :], row.trained[len(prompt) :], strict=True)
                return [token for token, _ in takewhile(lambda pair: pair[1], rest)]
        return []


class TutoredEngine:
    """Stands for `trainer.engine.PolicyEngine`."""

    def __init__(self, campaign: Campaign, home: Home) -> None:
        self.model = resolve_model(campaign.policy, home.models)
        self.tokenizer = load_tokenizer(self.model.path)

    def check(self, policy: ServedPolicy) -> CanaryReport:  # noqa: ARG002
        return CanaryReport(tokens=0, largest_difference_nats=0.0, tolerance_nats=0.0)

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        tutor = Tutor(collection, self.tokenizer)
        fan_out(collection.served_as(policy.policy_id), [partial(nullcontext, tutor)], self.tokenizer, sink, hear)


class TutoredEngines(Engines):
    def policy(self, campaign: Campaign, home: Home) -> Any:
        return TutoredEngine(campaign, home)


def resources() -> dict[str, object]:
    engines, pipes = TutoredEngines(), dg.PipesSubprocessClient()
    return {"workshop": Workshop(), "synthesist": synthesist_here(), "engines": engines, "pipes": pipes}


def write_campaign(home: Home, model: Path, **changed: Any) -> None:
    home.campaigns.mkdir(exist_ok=True)
    (home.campaigns / f"{NAME}.yaml").write_text(yaml.safe_dump({**SETTINGS, "policy": str(model), **changed}))


def run_campaign(library: Home, root: Path, model: Path, iterations: int) -> Home:
    """The history of a campaign in `root`, which begins with what is in the home `library`."""
    shutil.copytree(library.root, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVLOOM_HOME", str(root))
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        patch.setattr("dagster_project.runner.resources", resources)
        home = Home.here().prepare()
        write_campaign(home, model)
        steps = preparation_steps(NAME, load_campaign(NAME))
        for iteration in range(iterations):
            steps += iteration_steps(NAME, iteration)
        run_steps(steps, home)
    return home
