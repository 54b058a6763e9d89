"""Engines for a history that is made again: one that samples nothing and writes the recorded tokens, or the real one.

With recorded tokens everything of a rollout is done again but the sampling: prompts are rendered, calls are read and
made, results are told, the verdict is reached. What comes out is compared with what was stored, turn by turn.
"""

from pathlib import Path
from typing import Any

from dagster_project import stored
from dagster_project.campaign import Campaign
from dagster_project.home import Home
from dagster_project.resources import Engines
from envs.record import derive_seed
from serving.blocking import run_blocking
from serving.endpoint import Completion, CompletionRequest
from serving.models import ResolvedModel, resolve_model
from trainer.canary import TOLERANCE_NATS, CanaryReport
from trainer.collect import Collection, collect, planned
from trainer.conversation import Tokenizer, load_tokenizer
from trainer.engine import PolicyEngine, ServedPolicy
from trainer.fanout import Ended, Hear, Sink
from trainer.rollout import Rollout, StopReason, Turn
from warehouse.warehouse import Warehouse

_CLOCK = ("latency_s",)


class NotRecorded(RuntimeError):
    """The present code plans rollouts that the history does not have: other settings, seeds or tasks."""


class RecordedEngines(Engines):
    """Engines that write what a history's policies wrote."""

    recorded: str
    """The home of that history."""
    recorded_lake: str = ""
    """The setting of its lake, if its warehouse is one."""

    def policy(self, campaign: Campaign, home: Home) -> Any:
        """Stands for `PolicyEngine`: nothing is served, no canary is asked."""
        model = resolve_model(campaign.policy, home.models, campaign.revision)
        there = Home.at(self.recorded, self.recorded_lake)
        return RecordedEngine(model, load_tokenizer(model.path), Warehouse(there.warehouse, there.parts))


class SharedEngines(Engines):
    """Real engines, with the servers that a project has running."""

    shared: str
    """The home of that project."""

    def policy(self, campaign: Campaign, home: Home) -> PolicyEngine:  # noqa: ARG002 (its servers are elsewhere)
        return super().policy(campaign, Home(Path(self.shared)))  # not prepared: the scratch home stays the one here


class RecordedEngine:
    """Collects with recorded tokens as `trainer.engine.PolicyEngine` does with a model."""

    def __init__(self, model: ResolvedModel, tokenizer: Tokenizer, history: Warehouse) -> None:
        self.model, self.tokenizer, self.history = model, tokenizer, history

    def check(self, policy: ServedPolicy) -> CanaryReport:  # noqa: ARG002 (nothing is served)
        """No token is compared."""
        return CanaryReport(tokens=0, largest_difference_nats=0.0, tolerance_nats=TOLERANCE_NATS)

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        """Play every rollout with its recorded tokens. Where all but the clock agrees the recorded one is kept.

        Raises NotRecorded.
        """
        plan = planned(collection.tasks, collection.assignment, collection.config)
        recorded = {rollout.id: rollout for rollout in stored.rollouts_by_id(self.history, list(plan))}
        if missing := [task.id for identity, (task, _, _) in plan.items() if identity not in recorded]:
            raise NotRecorded(
                f"{len(missing)} of {len(plan)} rollouts that are planned now were not made then; the first is of "
                f"task {missing[0]}"
            )

        def end(rollout: Rollout) -> None:
            kept = recorded[rollout.id] if _timeless(rollout) == _timeless(recorded[rollout.id]) else rollout
            sink.keep(kept)
            hear(Ended.of(kept))

        taken = {identity for identity, rollout in recorded.items() if by_the_clock(rollout)}
        for identity in sorted(taken - set(collection.done)):
            end(recorded[identity])
        left = collection.without(taken).served_as(policy.policy_id)
        run_blocking(collect(left, _Tokens(recorded.values()), self.tokenizer, end))


def by_the_clock(rollout: Rollout) -> bool:
    """Whether something took part that no seed decides: a time limit, an expert or a user that is a served model."""
    charges = [charge for turn in rollout.turns for charge in turn.charges]
    served = any(charge.kind == "user" or (charge.kind == "expert" and not charge.simulated) for charge in charges)
    return served or rollout.stop_reason is StopReason.TIME_LIMIT


class _Tokens:
    """A policy that says at every turn what it said then; at turns that there were not, nothing."""

    def __init__(self, rollouts: Any) -> None:
        self._turns: dict[int, Turn] = {
            derive_seed(rollout.seed, turn.index): turn for rollout in rollouts for turn in rollout.turns
        }

    async def complete(self, request: CompletionRequest) -> Completion:
        turn = self._turns.get(request.seed)
        return Completion(
            token_ids=turn.completion_ids if turn else (),
            logprobs=turn.logprobs if turn else (),
            finish_reason=turn.finish_reason if turn else "stop",
            prompt_tokens=len(request.prompt_ids),
            seconds=0.0,
        )


def _timeless(value: Any) -> Any:
    """A rollout as JSON without what a clock measured."""
    if isinstance(value, Rollout):
        return _timeless(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if name not in _CLOCK}
    return [_timeless(inner) for inner in value] if isinstance(value, list | tuple) else value
