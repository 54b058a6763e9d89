"""Engines that fail: killed or hanging in the middle of a collection, they are restarted and no rollout is lost."""

import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from envs.environment import Environment
from envs.task import Task
from serving.endpoint import Endpoint
from serving.errors import EndpointRefused
from serving.models import ResolvedModel
from serving.vllm import VllmConfig, VllmServer
from tests.trainer.sinks import InMemory
from trainer.collect import Assignment, Collection
from trainer.conversation import Tokenizer
from trainer.engine import EngineFolders, PolicyEngine, ServedPolicy, below
from trainer.fanout import Ended
from trainer.settings import RolloutConfig


def test_an_engine_elsewhere_that_refuses_the_key_is_asked_once(
    smollm2: ResolvedModel, shop: Environment, tasks: list[Task], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Neither waited for nor tried again: the trainer's side of the check ends with it too."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    folders = EngineFolders(logs=tmp_path, state=tmp_path, jobs=tmp_path, merged=tmp_path, adapters=tmp_path)
    policy = ServedPolicy(policy_id=smollm2.fingerprint)
    who = Assignment(campaign="test", iteration=0, purpose="training", policy_id=policy.policy_id, model="")
    collection = Collection(tasks[:1], {shop.id: shop}, who, RolloutConfig())
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        config = VllmConfig(model=str(smollm2.path), served_name=smollm2.name)
        elsewhere = [Endpoint(base_url=url, model=smollm2.name)]
        engine = PolicyEngine(config, smollm2, tokenizer, folders, merge=False, idle_timeout_s=30, elsewhere=elsewhere)
        with pytest.raises(EndpointRefused, match=r"engine\.api_key_variable"):
            engine.collect(collection, policy, InMemory())
        with pytest.raises(EndpointRefused):
            engine.check(policy)
        server.shutdown()
    assert asked == ["/v1/models"] * 2
    assert not [process for process in psutil.Process().children() if "trainer.process" in process.cmdline()]


def test_an_adapter_of_another_project_is_served_from_a_copy_in_this_ones_folder(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other" / "c1"
    for folder in (own / "c1", other):
        folder.mkdir(parents=True)
    (other / "adapter.safetensors").write_bytes(b"weights")
    copy = below(own, other)
    assert below(own, own / "c1") == own / "c1"
    assert own in copy.parents and (copy / "adapter.safetensors").read_bytes() == b"weights"
    (other / "adapter.safetensors").write_bytes(b"altered")
    assert below(own, other) != copy


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
