"""One rollout in the making: turns of one policy in one episode until something ends them, and the verdict.

Every token that the policy did not write stands in a turn's `context_ids`: what tools, experts and the user say is
never trained on. Which rollouts are played, and how many at once, is `collect`'s affair.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from envs.environment import Environment
from envs.episode import Episode
from envs.errors import EnvironmentBroken
from envs.record import Record, derive_seed
from envs.task import Preference, Task, Toolbox, ToolCall
from envs.tools import ToolResult
from envs.verdict import Outcome, Verdict
from serving.amounts import total
from serving.endpoint import Completion, CompletionRequest
from trainer.budget import Budget
from trainer.calling import Caller
from trainer.conversation import Conversation, Speaker
from trainer.dialect import user_message
from trainer.experts import Experts
from trainer.rollout import Charge, Purpose, Rollout, StopReason, Turn
from trainer.settings import RolloutConfig
from trainer.users import User, UserFailed


class Policy(Protocol):
    """What writes the turns: `serving.client.Client`, or anything that answers tokens with tokens."""

    async def complete(self, request: CompletionRequest) -> Completion: ...


class Assignment(Record):
    """Which policy acts, and the campaign, iteration and purpose of its rollouts.

    Part of every rollout's identity, except `model`, the vLLM server's name for the policy.
    """

    campaign: str
    iteration: int
    purpose: Purpose
    policy_id: str
    """Checkpoint id, or the base model's fingerprint."""
    model: str
    """What the engine calls this policy: an adapter's name or the base model's."""


@dataclass(frozen=True)
class Instance:
    """What is rolled out: one sample of a task, with the toolbox and preference that its whole group has."""

    task: Task
    toolbox: Toolbox
    preference: Preference
    sample: int
    seed: int


@dataclass(frozen=True)
class Stage:
    """What all rollouts of a collection share."""

    environments: Mapping[str, Environment]
    """By id: those of the tasks and those of the distractors."""
    policy: Policy
    conversation: Conversation
    experts: Experts
    user: User
    assignment: Assignment
    config: RolloutConfig
    openings: dict[str, list[int]] = field(default_factory=dict)
    """By task id: what all samples of a group are told first, tokenised for the first of them."""


@dataclass
class _Deed:
    """What one completion meant and brought about."""

    calls: tuple[ToolCall, ...] = ()
    results: list[ToolResult] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    message: str | None = None
    reply: str | None = None
    stop_reason: StopReason | None = None
    heard: Sequence[str] = ()
    """What the policy is shown next, as messages."""
    speaker: Speaker = "tool"

    @property
    def declared_s(self) -> float:
        """Latency of simulated experts: nobody waited for it."""
        return total(charge.latency_s for charge in self.charges if charge.simulated)


class Player:
    """Plays one instance once."""

    def __init__(self, instance: Instance, stage: Stage) -> None:
        self.task, self.toolbox = instance.task, instance.toolbox
        self.instance, self.stage, self.config = instance, stage, stage.config
        self.environment = stage.environments[instance.task.environment_id]
        self.may_ask = instance.task.scenario is not None
        self.history: list[int] = []
        self.turns: list[Turn] = []
        self.talk: list[tuple[str, str]] = []
        self.n_malformed = 0
        self.answer: str | None = None
        self.broken: str | None = None
        """What broke environment or user, if something did."""
        self.budget = Budget(stage.config, instance.toolbox)

    async def play(self) -> Rollout:
        """The whole rollout. What the policy's engine raises ends it without a result."""
        stage = self.stage
        with (
            self.environment.episode(self.task) as episode,
            Caller(self.task, self.toolbox, stage.environments, stage.experts, episode) as caller,
        ):
            stop_reason = await self._converse(caller)
            verdict = self._verdict(episode, stop_reason)
        return Rollout(
            **stage.assignment.model_dump(exclude={"model"}),
            task_id=self.task.id,
            environment_id=self.task.environment_id,
            domain=self.task.domain,
            sample=self.instance.sample,
            seed=self.instance.seed,
            toolbox=self.toolbox,
            preference=self.instance.preference,
            turns=tuple(self.turns),
            outcome=verdict.outcome,
            reasons=verdict.reasons,
            stop_reason=stop_reason,
            answer=self.answer,
            n_malformed=self.n_malformed,
        )

    async def _converse(self, caller: Caller) -> StopReason:
        """Turns until something ends them."""
        context = self._opening(caller)
        while True:
            stop_reason = self._no_turn_left(context) or self.budget.exhausted()
            if stop_reason is not None:
                return stop_reason
            deed = await self._turn(context, caller)
            if deed.stop_reason is not None:
                return deed.stop_reason
            context = self.stage.conversation.bridge(self.turns[-1].completion_ids, deed.heard, deed.speaker)

    def _opening(self, caller: Caller) -> list[int]:
        """The prompt of the first turn."""
        openings, conversation, spec = self.stage.openings, self.stage.conversation, self.environment.spec
        if self.task.id not in openings:
            prompt = conversation.dialect.prompt(spec, self.toolbox, caller.situation.others, may_ask=self.may_ask)
            request = user_message(self.task, self.instance.preference)
            openings[self.task.id] = conversation.opening(prompt.system, request, tools=prompt.tools, clock=spec.clock)
        return openings[self.task.id]

    def _no_turn_left(self, context: Sequence[int]) -> StopReason | None:
        if len(self.turns) >= self.config.max_turns:
            return StopReason.MAX_TURNS
        if len(self.history) + len(context) + self.config.max_tokens_per_turn > self.config.max_context_tokens:
            return StopReason.CONTEXT_FULL
        return None

    async def _turn(self, context: list[int], caller: Caller) -> _Deed:
        """One completion and what it does. Appends the turn, unless time ran out before the completion came."""
        began, max_tokens = perf_counter(), self.budget.tokens_left()
        completion = await self._complete(context, max_tokens)
        if completion is None:
            return _Deed(stop_reason=StopReason.TIME_LIMIT)
        tokens_usd = self.budget.pay_tokens(completion)
        text = self.stage.conversation.text(completion.token_ids)
        if completion.finish_reason == "length":
            cut = max_tokens < self.config.max_tokens_per_turn
            deed = _Deed(stop_reason=StopReason.TOKEN_LIMIT if cut else StopReason.MAX_TOKENS)
        else:
            deed = await self._act(text, caller)
        latency_s = perf_counter() - began + deed.declared_s
        if deed.message is not None:
            await self._ask_user(deed, deed.message)
        self.turns.append(
            Turn(
                index=len(self.turns),
                context_ids=tuple(context),
                completion_ids=completion.token_ids,
                logprobs=completion.logprobs,
                text=text,
                calls=deed.calls,
                results=tuple(deed.results),
                charges=tuple(deed.charges),
                message=deed.message,
                reply=deed.reply,
                finish_reason=completion.finish_reason,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=len(completion.token_ids),
                latency_s=round(latency_s, 3),
                cost_usd=total([tokens_usd, *(charge.cost_usd(self.toolbox) for charge in deed.charges)]),
            )
        )
        self.history += [*context, *completion.token_ids]
        self.budget.completion_tokens += len(completion.token_ids)
        return deed

    async def _complete(self, context: list[int], max_tokens: int) -> Completion | None:
        """The next completion; None if the rollout's time is over first."""
        request = CompletionRequest(
            prompt_ids=(*self.history, *context),
            model=self.stage.assignment.model,
            max_tokens=max_tokens,
            seed=derive_seed(self.instance.seed, len(self.turns)),
            stop_token_ids=tuple(self.stage.conversation.stop_token_ids),
            temperature=self.config.temperature,
            top_p=self.config.top_p,
        )
        timeout = asyncio.timeout(self.budget.seconds_left())
        try:
            async with timeout:
                return await self.stage.policy.complete(request)
        except TimeoutError:
            if timeout.expired():
                return None
            raise

    async def _act(self, text: str, caller: Caller) -> _Deed:
        """Do what a completion says."""
        dialect = self.stage.conversation.dialect
        parsed = dialect.read(text, may_ask=self.may_ask)
        self.answer = parsed.answer
        if parsed.answer is not None:
            return _Deed(stop_reason=StopReason.ANSWERED)
        if parsed.message is not None:
            return _Deed(message=parsed.message, speaker="user")
        if parsed.malformed is not None:
            self.n_malformed += 1
            deed = _Deed(results=[ToolResult(ok=False, error=parsed.malformed)])
            deed.stop_reason = StopReason.MALFORMED_LIMIT if self.n_malformed >= self.config.max_malformed else None
        else:
            deed = await self._make(parsed.calls, caller)
        words = [place for place, call in enumerate(deed.calls) if caller.says_words(call)]
        deed.heard = dialect.results(deed.results, self.config.result_limit_chars, words)
        return deed

    async def _make(self, calls: tuple[ToolCall, ...], caller: Caller) -> _Deed:
        """Make the calls of one turn in order. Once a budget is used up, the others are not made."""
        deed = _Deed(calls=calls)
        for call in calls:
            limit = self.budget.exhausted() if deed.charges else None
            if limit is not None:
                deed.results.append(ToolResult(ok=False, error=f"not made: {limit}"))
                continue
            try:
                result, charge = await caller.call(call)
            except EnvironmentBroken as broken:
                self.broken = str(broken)
                deed.results.append(ToolResult(ok=False, error=f"environment broken: {broken}"))
                deed.stop_reason = StopReason.ENVIRONMENT_ERROR
                break
            deed.results.append(result)
            deed.charges.append(charge)
            self.budget.pay(charge)
        return deed

    async def _ask_user(self, deed: _Deed, message: str) -> None:
        """Pass a message on to the user, whose reply is what the policy hears next."""
        try:
            reply, used = await self.stage.user.reply(self.task, self.environment, self.talk, message)
        except UserFailed as failed:
            deed.charges.append(failed.used)
            self.broken = str(failed)
            deed.stop_reason = StopReason.USER_ERROR
            return
        deed.charges += [used] if used is not None else []
        self.talk.append((message, reply.text))
        deed.reply, deed.heard = reply.text, [reply.text]
        if reply.ends:
            # The user was content with the message: it is what they were told.
            self.answer = message
            deed.stop_reason = StopReason.USER_LEFT

    def _verdict(self, episode: Episode, stop_reason: StopReason) -> Verdict:
        if self.broken is not None:
            return Verdict(outcome=Outcome.ENVIRONMENT_ERROR, reasons=(self.broken,))
        verdict = episode.verdict(self.answer or "")
        if self.answer is None:
            # The right state without a word to the user is not a solution: nobody told them it was done.
            return Verdict(outcome=Outcome.FAILED, reasons=(f"no answer: {stop_reason}", *verdict.reasons))
        return verdict
