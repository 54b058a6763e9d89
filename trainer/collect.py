"""Collecting rollouts: many conversations between one policy and many episodes, at once, each handed over when done.

The engine is anything with `complete`; environments run in this process. What a rollout is worth is decided elsewhere.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Protocol

from envs.environment import Environment
from envs.episode import Episode
from envs.errors import EnvironmentBroken
from envs.record import Record, content_id, derive_seed
from envs.task import Task, Toolbox, ToolCall
from envs.tools import ToolResult
from envs.verdict import Outcome, Verdict
from serving.endpoint import Completion
from trainer.conversation import Conversation, Tokenizer
from trainer.dialect import parse_turn, render_results, system_prompt, user_message
from trainer.jobs import RolloutConfig
from trainer.rollout import Purpose, Rollout, StopReason, Turn, rollout_identity


class Policy(Protocol):
    """What writes the turns: `serving.client.Client`, or anything that answers tokens with tokens."""

    async def complete(
        self,
        prompt_ids: Sequence[int],
        *,
        model: str | None = None,
        max_tokens: int,
        seed: int,
        stop_token_ids: Sequence[int] = (),
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> Completion: ...


class Assignment(Record):
    """Which policy acts, and on whose account. Part of every rollout's identity, except the engine's name for it."""

    campaign: str
    iteration: int
    purpose: Purpose
    policy_id: str
    """Checkpoint id, or the base model's fingerprint."""
    model: str
    """What the engine calls this policy: an adapter's name or the base model's."""


async def collect(
    tasks: Sequence[Task],
    environments: Mapping[str, Environment],
    policy: Policy,
    tokenizer: Tokenizer,
    assignment: Assignment,
    config: RolloutConfig,
    *,
    done: Collection[str] = frozenset(),
    on_rollout: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """Roll the policy out `config.samples_per_task` times on each task; the new rollouts, sorted by id.

    `environments` is by environment id. Rollouts whose id is in `done` are not repeated. `on_rollout` is called with
    each rollout as it ends; what it has been called with survives an engine that dies, whose error
    (`serving.errors.EndpointError`) ends the collection: restart the engine and call again with `done`.
    Raises KeyError for a task whose environment is missing.
    """
    conversation = Conversation(tokenizer)
    room = asyncio.Semaphore(config.concurrency)
    finished: list[Rollout] = []

    async def play(task: Task, sample: int, seed: int) -> None:
        async with room:
            player = _Player(task, environments[task.environment_id], policy, conversation, assignment, config, seed)
            rollout = await player.play(sample)
        finished.append(rollout)
        if on_rollout is not None:
            on_rollout(rollout)

    try:
        async with asyncio.TaskGroup() as group:
            for rollout_id, (task, sample, seed) in planned(tasks, assignment, config).items():
                if rollout_id not in done:
                    group.create_task(play(task, sample, seed))
    except BaseExceptionGroup as several:
        # All of them met the same dying engine or the same bug: the first names it.
        raise several.exceptions[0] from None
    return sorted(finished, key=lambda rollout: rollout.id)


def planned(tasks: Sequence[Task], assignment: Assignment, config: RolloutConfig) -> dict[str, tuple[Task, int, int]]:
    """Rollout id → (task, sample, seed) of every rollout of a collection, in order.

    Seeds, and so ids, follow from all settings that shape a rollout: under other settings it is another rollout.
    """
    identity = assignment.model_dump(include={"campaign", "iteration", "purpose", "policy_id"})
    shaping = content_id(config.model_dump(mode="json", exclude={"concurrency", "samples_per_task"}))
    plan = {}
    for task in tasks:
        for sample in range(config.samples_per_task):
            seed = derive_seed(shaping, assignment.campaign, assignment.iteration, assignment.purpose, task.id, sample)
            plan[rollout_identity(**identity, task_id=task.id, sample=sample, seed=seed)] = (task, sample, seed)
    return plan


class _Player:
    """One rollout in the making."""

    def __init__(
        self,
        task: Task,
        environment: Environment,
        policy: Policy,
        conversation: Conversation,
        assignment: Assignment,
        config: RolloutConfig,
        seed: int,
    ) -> None:
        self.task = task
        self.environment = environment
        self.policy = policy
        self.conversation = conversation
        self.assignment = assignment
        self.config = config
        self.seed = seed
        self.history: list[int] = []
        self.turns: list[Turn] = []
        self.n_malformed = 0
        self.answer: str | None = None

    async def play(self, sample: int) -> Rollout:
        with self.environment.episode(self.task) as episode:
            stop_reason = await self._converse(episode)
            verdict = self._verdict(episode, stop_reason)
        return Rollout(
            **self.assignment.model_dump(exclude={"model"}),
            task_id=self.task.id,
            environment_id=self.task.environment_id,
            domain=self.task.domain,
            sample=sample,
            seed=self.seed,
            turns=tuple(self.turns),
            outcome=verdict.outcome,
            reasons=verdict.reasons,
            stop_reason=stop_reason,
            answer=self.answer,
            n_malformed=self.n_malformed,
        )

    async def _converse(self, episode: Episode) -> StopReason:
        """Turns until something ends them."""
        prompt = system_prompt(self.environment.spec, self.task.toolbox)
        context = self.conversation.opening(prompt, user_message(self.task))
        while len(self.turns) < self.config.max_turns:
            if len(self.history) + len(context) + self.config.max_tokens_per_turn > self.config.max_context_tokens:
                return StopReason.CONTEXT_FULL
            results, stop_reason = await self._turn(context, episode)
            if stop_reason is not None:
                return stop_reason
            shown = render_results(results, self.config.result_limit_chars)
            context = self.conversation.bridge(self.turns[-1].completion_ids, shown)
        return StopReason.MAX_TURNS

    async def _turn(self, context: list[int], episode: Episode) -> tuple[list[ToolResult], StopReason | None]:
        """One completion and what it does. Appends the turn; gives the results to show, or why the rollout ends."""
        began = perf_counter()
        completion = await self._complete(context)
        text = self.conversation.text(completion.token_ids)
        calls: tuple[ToolCall, ...] = ()
        results: list[ToolResult] = []
        stop_reason: StopReason | None = None
        if completion.finish_reason == "length":
            stop_reason = StopReason.MAX_TOKENS
        else:
            parsed = parse_turn(text)
            calls, self.answer = parsed.calls, parsed.answer
            if parsed.answer is not None:
                stop_reason = StopReason.ANSWERED
            elif parsed.malformed is not None:
                self.n_malformed += 1
                results = [ToolResult(ok=False, error=parsed.malformed)]
                stop_reason = StopReason.MALFORMED_LIMIT if self.n_malformed >= self.config.max_malformed else None
            else:
                results, broken = _attempt(episode, self.task.toolbox, calls)
                stop_reason = StopReason.ENVIRONMENT_ERROR if broken else None
        self.turns.append(
            Turn(
                index=len(self.turns),
                context_ids=tuple(context),
                completion_ids=completion.token_ids,
                logprobs=completion.logprobs,
                text=text,
                calls=calls,
                results=tuple(results),
                finish_reason=completion.finish_reason,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=len(completion.token_ids),
                latency_s=round(perf_counter() - began, 3),
                cost_usd=_cost_usd(self.task.toolbox, completion, calls),
            )
        )
        self.history += [*context, *completion.token_ids]
        return results, stop_reason

    async def _complete(self, context: list[int]) -> Completion:
        return await self.policy.complete(
            [*self.history, *context],
            model=self.assignment.model,
            max_tokens=self.config.max_tokens_per_turn,
            seed=derive_seed(self.seed, len(self.turns)),
            stop_token_ids=self.conversation.stop_token_ids,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
        )

    def _verdict(self, episode: Episode, stop_reason: StopReason) -> Verdict:
        verdict = episode.verdict(self.answer or "")
        if self.answer is None and verdict.outcome is not Outcome.ENVIRONMENT_ERROR:
            # The right state without a word to the user is not a solution: nobody told them it was done.
            return Verdict(outcome=Outcome.FAILED, reasons=(f"no answer: {stop_reason}", *verdict.reasons))
        return verdict


def _attempt(episode: Episode, toolbox: Toolbox, calls: Sequence[ToolCall]) -> tuple[list[ToolResult], bool]:
    """Results of the calls in order, and whether the environment broke on the way."""
    results: list[ToolResult] = []
    for call in calls:
        if call.tool not in toolbox.tools:
            error = f"there is no tool {call.tool}; there are {', '.join(toolbox.tools)}"
            results.append(ToolResult(ok=False, error=error))
            continue
        try:
            results.append(episode.attempt(call))
        except EnvironmentBroken as broken:
            return [*results, ToolResult(ok=False, error=f"environment broken: {broken}")], True
    return results, False


def _cost_usd(toolbox: Toolbox, completion: Completion, calls: Sequence[ToolCall]) -> float:
    """Tokens at the toolbox's prices per million, plus each call's price. The whole prompt is paid for every turn."""
    tokens = completion.prompt_tokens * toolbox.input_usd_per_mtok
    tokens += len(completion.token_ids) * toolbox.output_usd_per_mtok
    return tokens / 1e6 + sum(toolbox.call_prices_usd.get(call.tool, 0.0) for call in calls)
