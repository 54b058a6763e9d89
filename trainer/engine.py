"""The policy behind its engine: serve a checkpoint, check that it is the right one, collect rollouts with it.

An engine that dies in the middle of a collection is restarted a bounded number of times; finished rollouts are kept
and never repeated. Which rollouts, and where they are stored, is the caller's.
"""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from envs.environment import Environment
from envs.record import Record, content_id
from envs.task import Task
from serving.client import Client
from serving.endpoint import Endpoint
from serving.errors import EndpointError
from serving.flags import VllmConfig, on_cpu
from serving.models import ResolvedModel
from serving.vllm import VllmServer
from trainer.canary import CanaryReport, canary_tokens, compare, engine_logprobs
from trainer.collect import collect
from trainer.conversation import Conversation, Tokenizer
from trainer.jobs import CanaryJob, CanaryResult, RolloutConfig
from trainer.merge import mergeable, merged_model
from trainer.player import Assignment
from trainer.process import RESULT
from trainer.rollout import Purpose, Rollout

logger = logging.getLogger(__name__)
ENGINE_STARTS = 3


def merges(model: ResolvedModel, adapters: Literal["auto", "merged", "served"]) -> bool:
    """Whether policies are merged into the base weights: `auto` does on a processor, with float32 weights."""
    return adapters == "merged" or (adapters == "auto" and on_cpu() and mergeable(model.path))


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
    """Where an engine keeps what it needs: logs, the state of running servers, canary jobs, merged weights."""

    logs: Path
    state: Path
    jobs: Path
    merged: Path


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
    ) -> None:
        """`config` is the base model's server; `merge` as `merges` answers it."""
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.folders = folders
        self.merge = merge
        self.idle_timeout_s = idle_timeout_s

    def server(self, policy: ServedPolicy) -> VllmServer:
        """The server that answers for this policy, started or not."""
        config = self.config
        if self.merge and policy.adapter_path is not None:
            weights = merged_model(self.model.path, Path(policy.adapter_path), self.folders.merged)
            config = config.model_copy(update={"model": str(weights), "served_name": policy.engine_name})
        config = config.model_copy(update={"enable_lora": not self.merge})
        return VllmServer(config, self.folders.logs, self.folders.state, idle_timeout_s=self.idle_timeout_s)

    @contextmanager
    def serving(self, policy: ServedPolicy) -> Iterator[VllmServer]:
        """The policy's server, and this process's claim on it given up at the end: unused it then ends by itself."""
        server = self.server(policy)
        try:
            yield server
        finally:
            server.release()

    def check(self, policy: ServedPolicy) -> CanaryReport:
        """Compare engine and trainer on a fixed text. Raises CanaryFailed: then nothing it says can be trained on."""
        conversation = Conversation(self.tokenizer)
        trainer = self._trainer_logprobs(policy, conversation)

        async def ask(endpoint: Endpoint) -> Sequence[float]:
            async with Client(endpoint) as client:
                return await engine_logprobs(client, conversation, await self._load(client, policy))

        with self.serving(policy) as server:
            return compare(asyncio.run(ask(server.start())), trainer)

    def collect(
        self,
        tasks: Sequence[Task],
        environments: Mapping[str, Environment],
        policy: ServedPolicy,
        config: RolloutConfig,
        *,
        campaign: str,
        iteration: int,
        purpose: Purpose,
        done: Collection[str] = frozenset(),
        on_rollout: Callable[[Rollout], None] = lambda _: None,
    ) -> list[Rollout]:
        """Roll the policy out on every task (see `trainer.collect`); the rollouts not in `done`, sorted by id.

        Raises EndpointError when the engine has died `ENGINE_STARTS` times.
        """
        finished: dict[str, Rollout] = {}

        def keep(rollout: Rollout) -> None:
            on_rollout(rollout)
            finished[rollout.id] = rollout

        async def play(endpoint: Endpoint) -> None:
            async with Client(endpoint, retries=1) as client:
                assignment = Assignment(
                    campaign=campaign,
                    iteration=iteration,
                    purpose=purpose,
                    policy_id=policy.policy_id,
                    model=await self._load(client, policy),
                )
                await collect(
                    tasks,
                    environments,
                    client,
                    self.tokenizer,
                    assignment,
                    config,
                    done={*done, *finished},
                    on_rollout=keep,
                )

        def restart(state: RetryCallState) -> None:
            assert state.outcome is not None
            logger.warning(
                "the engine failed (%s); restarting it, %d rollouts kept", state.outcome.exception(), len(finished)
            )
            server.stop()

        trying = Retrying(
            retry=retry_if_exception_type(EndpointError),
            stop=stop_after_attempt(ENGINE_STARTS),
            before_sleep=restart,
            reraise=True,
        )
        with self.serving(policy) as server:
            trying(lambda: asyncio.run(play(server.start())))
        return sorted(finished.values(), key=lambda rollout: rollout.id)

    async def _load(self, client: Client, policy: ServedPolicy) -> str:
        """Have the engine serve this policy; the name to ask for."""
        if self.merge or policy.engine_name is None or policy.adapter_path is None:
            return client.endpoint.model
        if policy.engine_name not in await client.models():
            await client.load_adapter(policy.engine_name, Path(policy.adapter_path))
        return policy.engine_name

    def _trainer_logprobs(self, policy: ServedPolicy, conversation: Conversation) -> tuple[float, ...]:
        """By a process of its own: the one that collects never imports torch."""
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
        folder = self.folders.jobs / f"canary-{content_id(job.model_dump(mode='json'))[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RESULT).exists():  # the same job on the same weights has the same answer
            (folder / "job.json").write_bytes(job.canonical())
            command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
            run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
            if run.returncode:
                raise RuntimeError(f"the canary's trainer side failed:\n{run.stderr[-2000:]}")
        return CanaryResult.model_validate_json((folder / RESULT).read_bytes()).logprobs
