"""The policy behind its engine: serve a checkpoint, check that it is the right one, collect rollouts with it.

An engine that dies in the middle of a collection is restarted a bounded number of times; finished rollouts are kept
and never repeated. Which rollouts, and where they are stored, is the caller's.
"""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from envs.environment import Environment
from envs.record import Record, content_id
from envs.task import Task
from serving.client import Client
from serving.endpoint import Endpoint
from serving.errors import EndpointError
from serving.models import ResolvedModel
from serving.vllm import VllmServer
from trainer.canary import CanaryReport, canary_tokens, compare, engine_logprobs
from trainer.collect import Assignment, collect
from trainer.conversation import Conversation, Tokenizer
from trainer.jobs import CanaryJob, CanaryResult, RolloutConfig
from trainer.process import RESULT
from trainer.rollout import Purpose, Rollout

logger = logging.getLogger(__name__)
ENGINE_STARTS = 3


class ServedPolicy(Record):
    """A checkpoint to be served: the base model, or an adapter on it."""

    policy_id: str
    """Checkpoint id, or the base model's fingerprint."""
    adapter_path: str | None = None

    @property
    def engine_name(self) -> str | None:
        """A name of its own for each adapter: under an old name the engine may answer from a stale prefix cache."""
        return f"policy-{self.policy_id}" if self.adapter_path else None


class PolicyEngine:
    """One base model on one vLLM server, with adapters loaded as they are asked for."""

    def __init__(self, server: VllmServer, model: ResolvedModel, tokenizer: Tokenizer, jobs_dir: Path) -> None:
        self.server = server
        self.model = model
        self.tokenizer = tokenizer
        self.jobs_dir = jobs_dir

    def check(self, policy: ServedPolicy) -> CanaryReport:
        """Compare engine and trainer on a fixed text. Raises CanaryFailed: then nothing it says can be trained on."""
        conversation = Conversation(self.tokenizer)
        trainer = self._trainer_logprobs(policy, conversation)

        async def ask() -> Sequence[float]:
            async with Client(self._start()) as client:
                model = await self._load(client, policy)
                return await engine_logprobs(client, conversation, model)

        return compare(asyncio.run(ask()), trainer)

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

        async def play() -> None:
            async with Client(self._start(), retries=1) as client:
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
            self.server.stop()

        trying = Retrying(
            retry=retry_if_exception_type(EndpointError),
            stop=stop_after_attempt(ENGINE_STARTS),
            before_sleep=restart,
            reraise=True,
        )
        trying(lambda: asyncio.run(play()))
        return sorted(finished.values(), key=lambda rollout: rollout.id)

    def _start(self) -> Endpoint:
        return self.server.start()

    async def _load(self, client: Client, policy: ServedPolicy) -> str:
        """Have the engine serve this policy; the name to ask for."""
        if policy.engine_name is None or policy.adapter_path is None:
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
        folder = self.jobs_dir / f"canary-{content_id(job.model_dump(mode='json'))[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RESULT).exists():  # the same job on the same weights has the same answer
            (folder / "job.json").write_bytes(job.canonical())
            command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
            run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
            if run.returncode:
                raise RuntimeError(f"the canary's trainer side failed:\n{run.stderr[-2000:]}")
        return CanaryResult.model_validate_json((folder / RESULT).read_bytes()).logprobs
