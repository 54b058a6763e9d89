"""What other people's endpoints send to a collection: read, or named; nothing odd becomes a rollout or ends others."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from envs.environment import Environment
from envs.experts import EndpointProfile
from envs.task import Task
from envs.toolbox import ToolboxConfig
from envs.verdict import Outcome
from serving.errors import EndpointError
from serving.flags import VllmConfig
from serving.models import ResolvedModel
from tests.serving.odd import Reply, chat, replying, sampled
from tests.trainer.conftest import ScriptedPolicy
from tests.trainer.sinks import InMemory
from tests.trainer.staging import talking_task, with_experts
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Tokenizer
from trainer.engine import EngineFolders, PolicyEngine, ServedPolicy
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig, UserConfig

Roll = Callable[..., list[Rollout]]
HALF = Reply(json.dumps(chat())[:40])
ODD = {
    "half": HALF,
    "empty": Reply(chat("")),
    "reasoning": Reply(chat(None, reasoning_content="Perhaps…")),
    "only thinking": Reply(chat("<think>Perhaps…</think>")),
    "no message": Reply({"choices": [{}]}),
    "drips": Reply(drips=True),
    "busy": Reply({}, 429, {"Retry-After": "3600"}),
}


@pytest.fixture
def roll(shop: Environment, tokenizer: Tokenizer, assignment: Assignment) -> Roll:
    def run(policy: ScriptedPolicy, tasks: list[Task], config: RolloutConfig) -> list[Rollout]:
        return asyncio.run(collect(Collection(tasks, {shop.id: shop}, assignment, config), policy, tokenizer))

    return run


def expert(base_url: str, **settings: Any) -> EndpointProfile:
    prices = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0}
    return EndpointProfile(name="model", base_url=base_url, model="m", timeout_s=0.4, **prices, **settings)


def asking(task: Task) -> list[str]:
    return [f'expert_a(question="{task.instruction}")', "Answer: Done."]


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD.keys())
def test_an_odd_expert_is_no_answer_and_an_odd_user_no_rollout_of_the_policys(
    roll: Roll, scripted: Callable[..., ScriptedPolicy], tasks: list[Task], shop: Environment, reply: Reply
) -> None:
    with replying(reply) as (endpoint, _):
        [advised] = roll(scripted(asking(tasks[2])), [tasks[2]], with_experts(expert(endpoint.base_url)))
        user = UserConfig(base_url=endpoint.base_url, model="m", timeout_s=0.4)
        talking = RolloutConfig(samples_per_task=1, user=user)
        [talked] = roll(scripted(["Ask: Which one?", "Answer: x"]), [talking_task(shop)], talking)
    [charge] = advised.turns[0].charges
    assert advised.turns[0].results[0].error == "expert_a gave no answer (it has 0.4 s)" and charge.input_tokens > 0
    assert talked.outcome is Outcome.ENVIRONMENT_ERROR and talked.turns[0].charges[0].input_tokens > 0


@pytest.mark.parametrize(
    "text",
    [
        "<think>Is it ORD-7?</think>\n\nIt is ORD-1.",
        "<|channel|>analysis<|message|>Is it ORD-7?<|end|><|channel|>final <|constrain|>text<|message|>"
        "It is ORD-1.<|return|>",
        "analysisIs it ORD-7? Let me think.assistantfinalIt is ORD-1.",
        "<|START_THINKING|>Is it ORD-7?<|END_THINKING|><|START_RESPONSE|>It is ORD-1.<|END_RESPONSE|>",
    ],
)
def test_the_policy_does_not_read_what_an_expert_or_a_user_thinks(
    roll: Roll, scripted: Callable[..., ScriptedPolicy], tasks: list[Task], shop: Environment, text: str
) -> None:
    thoughtful = Reply(chat(text) | {"usage": None})
    with replying(thoughtful) as (endpoint, _):
        [advised] = roll(scripted(asking(tasks[2])), [tasks[2]], with_experts(expert(endpoint.base_url)))
        talking = RolloutConfig(samples_per_task=1, user=UserConfig(base_url=endpoint.base_url, model="m"))
        [talked] = roll(scripted(["Ask: Which one?", "Answer: x"]), [talking_task(shop)], talking)
    assert advised.turns[0].results[0].value == talked.turns[0].reply == "It is ORD-1."
    assert advised.turns[0].charges[0].output_tokens > 10, "thinking is paid for"
    assert talked.turns[0].charges[0].output_tokens > 0


def test_experts_are_asked_in_the_form_they_accept(
    roll: Roll, scripted: Callable[..., ScriptedPolicy], tasks: list[Task]
) -> None:
    with replying(Reply(chat())) as (endpoint, bodies):
        picky = expert(endpoint.base_url, requests={"omit": ["seed", "top_p"], "system_role": "user"})
        roll(scripted(asking(tasks[2])), [tasks[2]], with_experts(picky))
    assert not bodies[0].keys() & {"seed", "top_p"} and [m["role"] for m in bodies[0]["messages"]] == ["user"]


def test_a_wrong_request_setting_is_named_when_the_campaign_is_read() -> None:
    pool = (expert("http://x/v1", requests={"omit": ["model"]}),)
    with pytest.raises(ValidationError, match=r"expert model: requests\.omit\.0"):
        RolloutConfig(toolbox=ToolboxConfig(pool=pool, experts=1))


def test_request_settings_that_are_not_used_change_no_seed_and_no_id() -> None:
    written = RolloutConfig(toolbox=ToolboxConfig(pool=(expert("http://x/v1"),), experts=1)).canonical_fields()
    assert "user" not in written and "requests" not in written["toolbox"]["pool"][0]


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        (sampled(2, token_ids=[10, 10**6]), "token id 1000000; the policy's are 0 to 49151"),
        (sampled(2, token_ids=None, logprobs=None), "0 token ids"),
        (sampled(2, logprobs={"token_logprobs": [-1.0, float("nan")]}), "NaN"),
        (sampled(2) | {"model": "another"}, "another answered"),
    ],
    ids=["foreign token", "no tokens", "nan", "another model"],
)
def test_a_completion_that_cannot_be_trained_on_is_never_stored(
    completion: dict[str, Any],
    words: str,
    tmp_path: Path,
    smollm2: ResolvedModel,
    tokenizer: Tokenizer,
    shop: Environment,
    tasks: list[Task],
    assignment: Assignment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.engine.ENGINE_STARTS", 1)
    monkeypatch.setattr("serving.patience._SHORTEST_S", 0.001)
    folders = EngineFolders(logs=tmp_path, state=tmp_path, jobs=tmp_path, merged=tmp_path, adapters=tmp_path)
    sink = InMemory()

    def reply(body: dict[str, Any]) -> Reply:
        return Reply(completion if body else {"data": [{"id": "m"}]})

    with replying(reply) as (endpoint, _):
        engine = PolicyEngine(
            VllmConfig(model=str(smollm2.path), served_name="m"),
            smollm2,
            tokenizer,
            folders,
            merge=False,
            idle_timeout_s=1,
            elsewhere=[endpoint],
        )
        collection = Collection(tasks[:2], {shop.id: shop}, assignment, RolloutConfig(samples_per_task=1))
        with pytest.raises(EndpointError, match=words):
            engine.collect(collection, ServedPolicy(policy_id="base"), sink)
    assert sink.ended == []
