"""The canary: before a collection, engine and trainer must give the same logprobs to the same tokens.

It catches a stale adapter, corrupted weights or a wrong logprob mode. The trainer's side is computed in a child
(`CanaryJob`), the engine's by `Client.score`; here is the fixed text and the comparison. No torch.
"""

from collections.abc import Sequence
from typing import Protocol

from envs.record import Record
from trainer.conversation import Conversation

TOLERANCE_NATS = 1e-3
"""For float32 on both sides; measured differences are near 1e-5."""
_SYSTEM = "Library desk. Today is 2026-03-02.\nTools:\nrenew_loan(loan_id: loan id) - Renews a loan for two weeks."
_USER = "Please renew loan L-204 and tell me when it is due."
_COMPLETION = 'renew_loan(loan_id="L-204")'


class CanaryFailed(RuntimeError):
    """Engine and trainer disagree: the engine serves other weights than the ones to be trained."""


class CanaryReport(Record):
    """What was compared."""

    tokens: int
    largest_difference_nats: float
    tolerance_nats: float


class Scorer(Protocol):
    """The engine's side: logprobs of given tokens."""

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], model: str | None = None
    ) -> Sequence[float]: ...


def canary_tokens(conversation: Conversation) -> tuple[list[int], list[int]]:
    """The fixed prompt and completion in the policy's own chat template: (prompt ids, completion ids)."""
    return conversation.opening(_SYSTEM, _USER), conversation.completion(_COMPLETION)


async def engine_logprobs(scorer: Scorer, conversation: Conversation, model: str) -> Sequence[float]:
    """The engine's logprobs of the canary's completion under `model`, in nats."""
    prompt_ids, completion_ids = canary_tokens(conversation)
    return await scorer.score(prompt_ids, completion_ids, model=model)


def compare(engine: Sequence[float], trainer: Sequence[float], tolerance_nats: float = TOLERANCE_NATS) -> CanaryReport:
    """The largest difference between the two. Raises CanaryFailed above the tolerance, naming both numbers."""
    if len(engine) != len(trainer) or not engine:
        raise CanaryFailed(f"the engine scored {len(engine)} tokens, the trainer {len(trainer)}; nothing to compare.")
    # `not <=` so that NaN on either side counts as the largest difference.
    differences = [abs(left - right) for left, right in zip(engine, trainer, strict=True)]
    worst = max(range(len(engine)), key=lambda at: (not differences[at] <= tolerance_nats, differences[at]))
    if not differences[worst] <= tolerance_nats:
        raise CanaryFailed(
            f"token {worst} of {len(engine)}: the engine gives {engine[worst]:.6f} nats, the trainer "
            f"{trainer[worst]:.6f}; they may differ by {tolerance_nats:g}. The engine serves a stale or corrupted "
            "policy, or its logprobs are not processed_logprobs: restart it and load the adapter under a new name."
        )
    return CanaryReport(tokens=len(engine), largest_difference_nats=differences[worst], tolerance_nats=tolerance_nats)
