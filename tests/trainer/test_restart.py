"""vLLM killed in the middle of a collection: it is restarted, and no rollout is lost or played twice."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from envs.environment import Environment
from envs.task import Task
from serving.models import ResolvedModel
from serving.vllm import VllmServer
from trainer.conversation import Tokenizer
from trainer.engine import EngineFolders, PolicyEngine, ServedPolicy
from trainer.jobs import RolloutConfig
from trainer.rollout import Rollout


@pytest.mark.vllm
def test_an_engine_killed_in_the_middle_is_restarted_and_nothing_is_lost_or_doubled(
    vllm_server: VllmServer,
    smollm2: ResolvedModel,
    shop: Environment,
    tasks: list[Task],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    folders = EngineFolders(
        logs=vllm_server.log_path.parent, state=vllm_server._state_dir, jobs=tmp_path, merged=tmp_path
    )
    engine = PolicyEngine(vllm_server.config, smollm2, tokenizer, folders, merge=False, idle_timeout_s=30)
    policy = ServedPolicy(policy_id=smollm2.fingerprint)
    config = RolloutConfig(samples_per_task=4, max_tokens_per_turn=24, max_turns=2, concurrency=4)
    ended: list[Rollout] = []

    def kill_after_three(rollout: Rollout) -> None:
        ended.append(rollout)
        if len(ended) == 3:
            state = vllm_server._running()
            assert state is not None
            os.kill(psutil.Process(state.watchdog).children()[0].pid, signal.SIGKILL)

    rollouts = engine.collect(
        tasks[:3], {shop.id: shop}, policy, config,
        campaign="test", iteration=0, purpose="training", on_rollout=kill_after_three,
    )  # fmt: skip
    vllm_server.start()  # other tests want it, and the engine has given up this process's claim
    assert len({rollout.id for rollout in rollouts}) == 12
    assert len(ended) == 12, "a finished rollout was played again"
    assert vllm_server.alive()
