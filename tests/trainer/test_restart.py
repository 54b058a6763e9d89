"""vLLM killed, and later hanging, in the middle of a collection: restarted, and no rollout is lost or played twice."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from envs.environment import Environment
from envs.task import Task
from serving.models import ResolvedModel
from serving.vllm import VllmServer
from tests.trainer.sinks import InMemory
from trainer.collect import Assignment, Collection
from trainer.conversation import Tokenizer
from trainer.engine import EngineFolders, PolicyEngine, ServedPolicy
from trainer.fanout import Ended
from trainer.settings import RolloutConfig


@pytest.mark.vllm
def test_an_engine_that_dies_and_then_hangs_is_restarted_and_nothing_is_lost_or_doubled(
    vllm_server: VllmServer,
    smollm2: ResolvedModel,
    shop: Environment,
    tasks: list[Task],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    folders = EngineFolders(
        logs=vllm_server.log_path.parent,
        state=vllm_server._state_dir,
        jobs=tmp_path,
        merged=tmp_path,
        adapters=vllm_server._adapter_folders[0],
    )
    engine = PolicyEngine(
        vllm_server.config, smollm2, tokenizer, folders, merge=False, idle_timeout_s=30, request_timeout_s=20
    )
    policy = ServedPolicy(policy_id=smollm2.fingerprint)
    config = RolloutConfig(samples_per_task=4, max_tokens_per_turn=24, max_turns=2, concurrency=4)
    sink = InMemory()

    sent = {3: signal.SIGKILL, 6: signal.SIGSTOP}

    def fail(_: Ended) -> None:
        if len(sink.ended) in sent:
            state = vllm_server._running()
            assert state is not None
            os.kill(psutil.Process(state.watchdog).children()[0].pid, sent.pop(len(sink.ended)))

    who = Assignment(campaign="test", iteration=0, purpose="training", policy_id=policy.policy_id, model="")
    engine.collect(Collection(tasks[:3], {shop.id: shop}, who, config), policy, sink, fail)
    vllm_server.start()  # other tests want it, and the engine has given up this process's claim
    assert not sent, "the engine was not made to fail"
    assert len(sink.kept()) == 12
    assert len(sink.ended) == 12, "a finished rollout was played again"
    assert vllm_server.alive()
