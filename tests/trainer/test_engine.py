"""Rollouts, canary and adapters against real vLLM with the real small model."""

import asyncio
import json
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.task import Task
from serving.client import Client
from serving.endpoint import Endpoint
from serving.models import ResolvedModel
from trainer.advantages import Advantage
from trainer.canary import CanaryFailed, canary_tokens, compare, engine_logprobs
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Conversation, Tokenizer
from trainer.jobs import CanaryJob, UpdateJob, WarmStartJob
from trainer.process import trainer_logprobs
from trainer.rollout import Rollout
from trainer.rows import training_rows, write_training_rows
from trainer.settings import RolloutConfig, UpdateConfig, WarmStartConfig
from trainer.update import update
from trainer.warm_start import warm_start

pytestmark = pytest.mark.vllm
CONFIG = RolloutConfig(samples_per_task=2, max_tokens_per_turn=32, max_turns=3)


def base(model: ResolvedModel) -> dict[str, str]:
    return {
        "base_model_name": model.name,
        "base_model_path": str(model.path),
        "base_model_fingerprint": model.fingerprint,
    }


def roll(endpoint: Endpoint, shop: Environment, tasks: list[Task], tokenizer: Tokenizer, name: str) -> list[Rollout]:
    assignment = Assignment(campaign="test", iteration=0, purpose="training", policy_id=name, model=name)

    async def run() -> list[Rollout]:
        async with Client(endpoint) as client:
            return await collect(Collection(tasks, {shop.id: shop}, assignment, CONFIG), client, tokenizer)

    return asyncio.run(run())


def test_rollouts_repeat_token_for_token_and_train_on_policy(
    vllm: Endpoint, smollm2: ResolvedModel, shop, tasks, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    rollouts = roll(vllm, shop, tasks[:2], tokenizer, smollm2.name)
    again = roll(vllm, shop, tasks[:2], tokenizer, smollm2.name)
    assert [[t.completion_ids for t in r.turns] for r in rollouts] == [
        [t.completion_ids for t in r.turns] for r in again
    ]
    advantages = [Advantage(rollout_id=r.id, group_id=r.group_id, reward=1, advantage=1) for r in rollouts]
    write_training_rows(tmp_path / "rows.parquet", training_rows(rollouts, advantages))
    job = UpdateJob(
        **base(smollm2),
        rows_path=str(tmp_path / "rows.parquet"),
        artefacts_dir=str(tmp_path / "artefacts"),
        config=UpdateConfig(),
    )
    [step] = update(job).steps
    # The first step's ratio compares the engine's logprobs with the trainer's for the same weights and tokens.
    assert step["ratio_p01"] == pytest.approx(1, abs=1e-3) and step["ratio_p99"] == pytest.approx(1, abs=1e-3)


def test_the_canary_passes_for_the_served_policy_and_fails_for_another(
    vllm: Endpoint, smollm2: ResolvedModel, shop, tasks, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    conversation = Conversation(tokenizer)
    prompt_ids, completion_ids = canary_tokens(conversation)
    (tmp_path / "tasks.json").write_text(json.dumps([task.model_dump(mode="json") for task in tasks]))
    (tmp_path / "environments.json").write_text(json.dumps([shop.spec.model_dump(mode="json")]))
    warm = warm_start(
        WarmStartJob(
            **base(smollm2),
            tasks_path=str(tmp_path / "tasks.json"),
            environments_path=str(tmp_path / "environments.json"),
            artefacts_dir=str(tmp_path / "artefacts"),
            config=WarmStartConfig(steps=1, examples_per_step=2),
        )
    )

    async def engine(name: str) -> list[float]:
        async with Client(vllm) as client:
            if name != smollm2.name:
                await client.load_adapter(name, Path(warm.checkpoint_path))
            return list(await engine_logprobs(client, conversation, name))

    adapter = f"canary-{warm.checkpoint_id}"
    job = CanaryJob(
        **base(smollm2),
        parent_checkpoint_id=warm.checkpoint_id,
        parent_adapter_path=warm.checkpoint_path,
        prompt_ids=prompt_ids,
        completion_ids=completion_ids,
    )
    trained = trainer_logprobs(job).logprobs
    assert compare(asyncio.run(engine(adapter)), trained).largest_difference_nats < 1e-3
    with pytest.raises(CanaryFailed):
        compare(asyncio.run(engine(smollm2.name)), trained)
