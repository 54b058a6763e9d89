"""The policy behind its engine: serve a checkpoint, check that it is the right one, collect rollouts with it.

An engine that dies in the middle of a collection is restarted a bounded number of times; finished rollouts are kept
and never repeated. Which rollouts, and where they are stored, is the caller's.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import Literal

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from envs.record import Record
from serving.blocking import run_blocking
from serving.client import Client
from serving.elsewhere import ServerElsewhere
from serving.endpoint import Endpoint
from serving.errors import EndpointAbsent, EndpointError, EndpointRefused
from serving.flags import VllmConfig, on_cpu
from serving.models import ResolvedModel
from serving.vllm import VllmServer
from trainer.admission import vocabulary_size
from trainer.canary import CanaryReport, canary_tokens, compare, engine_logprobs
from trainer.checkpoint import require_policy
from trainer.collect import Collection
from trainer.conversation import Conversation, Tokenizer
from trainer.fanout import Hear, OpenPolicy, Sink, fan_out, map_of
from trainer.jobs import CanaryJob, CanaryResult
from trainer.merge import mergeable, merged_model, require_adapter
from trainer.process import RESULT, ending_with_us

logger = logging.getLogger(__name__)
ENGINE_STARTS = 3


def merges(model: ResolvedModel, adapters: Literal["auto", "merged", "served"]) -> bool:
    """Whether policies are merged into the base weights: `auto` does on a processor, with float32 weights."""
    return adapters == "merged" or (adapters == "auto" and on_cpu() and mergeable(model.path))


def below(folder: Path, adapter: Path) -> Path:
    """The adapter if it is below the folder that servers load from; else a copy there, named by its content.

    One of a history that is reproduced lies elsewhere.
    """
    if folder.resolve() in adapter.resolve().parents:
        return adapter
    content = sha256()
    for file in sorted(adapter.iterdir()):
        content.update(f"{file.name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
    copy = folder / ".served" / content.hexdigest()[:16]
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(dir=copy.parent))
        shutil.copytree(adapter, unfinished, dirs_exist_ok=True)
        unfinished.rename(copy)
    return copy


def _may_come_back(error: BaseException) -> bool:
    return isinstance(error, EndpointError) and not isinstance(error, EndpointAbsent | EndpointRefused)


class ServedPolicy(Record):
    """A checkpoint to be served: the base model, or an adapter on it."""

    policy_id: str
    """Checkpoint id, or the base model's fingerprint."""
    adapter_path: str | None = None

    @property
    def engine_name(self) -> str | None:
        """A name of its own for each adapter: under an old name the engine may answer from a stale prefix cache."""
        return f"policy-{self.policy_id}" if self.adapter_path else None


class EngineFolders(Record):
    """Where an engine keeps its files: logs, the state of running servers, canary jobs, merged weights, adapters."""

    logs: Path
    state: Path
    jobs: Path
    merged: Path
    adapters: Path
    """Servers started here load adapters from below this folder only."""


class PolicyEngine:
    """The policies of one base model on vLLM.

    Where the engine is fast with adapters, one server of the base model loads them as they are asked for. On a
    processor it is not (measured on two cores, rank 16: 15 tok/s beside 155), so there each policy is merged into the
    base weights and has a server of its own; nothing is ever loaded into a running server's weights.
    """

    def __init__(
        self,
        config: VllmConfig,
        model: ResolvedModel,
        tokenizer: Tokenizer,
        folders: EngineFolders,
        *,
        merge: bool,
        idle_timeout_s: float,
        elsewhere: Sequence[Endpoint] = (),
        request_timeout_s: float = 600.0,
    ) -> None:
        """`config` is the base model's server; `merge` as `merges` answers it, and not for engines `elsewhere`.

        These serve the base model under its name and take adapters; with any of them nothing is started here.
        """
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.folders = folders
        self.merge = merge
        self.idle_timeout_s = idle_timeout_s
        self.elsewhere = elsewhere
        self.request_timeout_s = request_timeout_s

    def server(self, policy: ServedPolicy) -> VllmServer:
        """Our own server that answers for this policy, started or not."""
        config = self.config
        if self.merge and policy.adapter_path is not None:
            weights = merged_model(self.model.path, Path(policy.adapter_path), self.folders.merged)
            config = config.model_copy(update={"model": str(weights), "served_name": policy.engine_name})
        config = config.model_copy(update={"enable_lora": not self.merge})
        return VllmServer(
            config,
            self.folders.logs,
            self.folders.state,
            adapter_folders=(self.folders.adapters,),
            idle_timeout_s=self.idle_timeout_s,
        )

    @contextmanager
    def serving(self, policy: ServedPolicy) -> Iterator[Sequence[VllmServer | ServerElsewhere]]:
        """The policy's servers, and this process's claim on ours given up at the end: unused it then ends by itself.

        Raises CheckpointBroken for a checkpoint that is altered or another, MergeRefused.
        """
        if policy.adapter_path is not None:
            if not self.merge:
                require_adapter(Path(policy.adapter_path))
            require_policy(Path(policy.adapter_path), policy.policy_id, self.model.fingerprint)
        servers: list[VllmServer | ServerElsewhere] = [ServerElsewhere(endpoint) for endpoint in self.elsewhere]
        servers = servers or [self.server(policy)]
        try:
            yield servers
        finally:
            for server in servers:
                server.release()

    def check(self, policy: ServedPolicy) -> CanaryReport:
        """Compare engine and trainer on a fixed text. Raises CanaryFailed: then nothing it says can be trained on."""
        conversation = Conversation(self.tokenizer)

        async def ask(endpoint: Endpoint) -> Sequence[float]:
            async with Client(endpoint) as client:
                return await engine_logprobs(client, conversation, await self._load(client, policy))

        # the trainer's side takes as long as a good part of the engine's start: at the same time, then
        with self.serving(policy) as servers, self._trainer_logprobs(policy, conversation) as trainer:
            engine = [run_blocking(ask(server.start())) for server in servers]
            expected = trainer()
            reports = [compare(logprobs, expected) for logprobs in engine]
        return max(reports, key=lambda report: report.largest_difference_nats)

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        """Roll the policy out on every task into the sink (see `trainer.fanout`); `hear` is told of each rollout.

        Raises EndpointError when the engine has died or hung `ENGINE_STARTS` times, or at once when one elsewhere is
        absent or refuses; RayMissing and WorkersLost.
        """
        map_of(collection.config.workers)  # what is missing is said before a server is started

        async def load(endpoint: Endpoint) -> str:
            async with Client(endpoint) as client:
                return await self._load(client, policy)

        def play() -> None:
            endpoints = [server.start() for server in servers]
            [name] = {run_blocking(load(endpoint)) for endpoint in endpoints}
            clients = [self._client(endpoint) for endpoint in endpoints]
            fan_out(collection.served_as(name), clients, self.tokenizer, sink, hear)

        def restart(state: RetryCallState) -> None:
            assert state.outcome is not None
            logger.warning("the engine failed (%s); what ended is kept", state.outcome.exception())
            for server in servers:
                server.stop()

        trying = Retrying(
            retry=retry_if_exception(_may_come_back),
            stop=stop_after_attempt(ENGINE_STARTS),
            wait=wait_exponential_jitter(initial=1, max=30),
            before_sleep=restart,
            reraise=True,
        )
        with self.serving(policy) as servers:
            trying(play)

    def _client(self, endpoint: Endpoint) -> OpenPolicy:
        """Connections of workers that take no token which the policy does not have."""
        attempt_s = self.request_timeout_s
        vocabulary = vocabulary_size(self.model.path)
        return partial(Client, endpoint, timeout_s=attempt_s, retries=1, total_s=2 * attempt_s, vocabulary=vocabulary)

    async def _load(self, client: Client, policy: ServedPolicy) -> str:
        """Have the engine serve this policy; the name to ask for."""
        if self.merge or policy.engine_name is None or policy.adapter_path is None:
            return client.endpoint.model
        if policy.engine_name not in await client.models():
            adapter = Path(policy.adapter_path)
            known = adapter if self.elsewhere else below(self.folders.adapters, adapter)
            await client.load_adapter(policy.engine_name, known)
        return policy.engine_name

    @contextmanager
    def _trainer_logprobs(
        self, policy: ServedPolicy, conversation: Conversation
    ) -> Iterator[Callable[[], tuple[float, ...]]]:
        """By a process of its own, which ends with the context: the one that collects never imports torch."""
        prompt_ids, completion_ids = canary_tokens(conversation)
        job = CanaryJob(
            base_model_name=self.model.name,
            base_model_path=str(self.model.path),
            base_model_fingerprint=self.model.fingerprint,
            parent_checkpoint_id=policy.policy_id if policy.adapter_path else None,
            parent_adapter_path=policy.adapter_path,
            prompt_ids=tuple(prompt_ids),
            completion_ids=tuple(completion_ids),
        )
        folder = self.folders.jobs / f"canary-{job.identity[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        result = folder / RESULT
        if result.exists():  # the same job on the same weights has the same answer
            yield lambda: _logprobs(result)
            return
        (folder / "job.json").write_bytes(job.canonical())
        command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
        repository, environment = Path(__file__).parent.parent, {**os.environ, **ending_with_us()}
        with (
            TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=repository, env=environment) as process,
        ):

            def answer() -> tuple[float, ...]:
                if process.wait():
                    log.seek(0)
                    raise RuntimeError(f"the canary's trainer side failed:\n{log.read()[-2000:]}")
                return _logprobs(result)

            try:
                yield answer
            finally:
                process.kill()


def _logprobs(result: Path) -> tuple[float, ...]:
    return CanaryResult.model_validate_json(result.read_bytes()).logprobs
