"""What one rollout was, token by token: turns, verdict, costs, and how it is stored as warehouse rows and read back.

No torch, no engine and no reward here: `collect` makes these records, `rewards` and `rows` read them.
"""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeAlias

from pydantic import field_validator, model_validator

from envs.record import Record, canonical_json, content_id
from envs.task import ToolCall
from envs.tools import ToolResult
from envs.verdict import Outcome

Purpose: TypeAlias = Literal["training", "evaluation"]


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    """A completion hit the per-turn token limit."""
    CONTEXT_FULL = "context_full"
    """The next turn would not fit in the context."""
    MALFORMED_LIMIT = "malformed_limit"
    ENVIRONMENT_ERROR = "environment_error"


TRUNCATED = frozenset({StopReason.MAX_TURNS, StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL})


class Turn(Record):
    """One completion of the policy, with the tokens the environment put before it."""

    index: int
    context_ids: tuple[int, ...]
    """Tokens added before this completion: for turn 0 the whole prompt."""
    completion_ids: tuple[int, ...]
    """The engine's own ids, the end-of-turn token included when it was sampled."""
    logprobs: tuple[float, ...]
    """Behaviour logprob of each completion token, in nats; float32, as engines compute and the warehouse stores it."""
    extends: bool = True
    """Whether prompt and history continue the previous turn's tokens; if not, `context_ids` is a whole new prompt."""
    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    """One per call; for a malformed turn the one error the policy was shown."""
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    """Wall clock of the completion and its calls, as measured."""
    cost_usd: float

    @field_validator("logprobs")
    @classmethod
    def _as_float32(cls, logprobs: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(array("f", logprobs))

    @model_validator(mode="after")
    def _aligned(self) -> "Turn":
        if len(self.logprobs) != len(self.completion_ids):
            raise ValueError(f"turn {self.index}: {len(self.completion_ids)} tokens, {len(self.logprobs)} logprobs")
        return self


def rollout_identity(
    *, campaign: str, iteration: int, purpose: str, policy_id: str, task_id: str, sample: int, seed: int
) -> str:
    """The id of a rollout before it has run: a resumed collection recognises finished ones by it."""
    return content_id([campaign, iteration, purpose, policy_id, task_id, sample, seed])


class Rollout(Record):
    """One attempt of a policy at a task. Its `id` names who tried what, not how it went."""

    campaign: str
    iteration: int
    purpose: Purpose
    task_id: str
    environment_id: str
    domain: str
    policy_id: str
    sample: int
    """Which of its group, from 0."""
    seed: int
    turns: tuple[Turn, ...]
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    stop_reason: StopReason
    answer: str | None
    n_malformed: int = 0

    @cached_property
    def id(self) -> str:
        return rollout_identity(
            campaign=self.campaign,
            iteration=self.iteration,
            purpose=self.purpose,
            policy_id=self.policy_id,
            task_id=self.task_id,
            sample=self.sample,
            seed=self.seed,
        )

    @property
    def group_id(self) -> str:
        """Shared by all samples of one policy at one task in one iteration."""
        return content_id([self.campaign, self.iteration, self.purpose, self.policy_id, self.task_id])

    @property
    def solved(self) -> bool:
        return self.outcome is Outcome.SOLVED

    @property
    def cost_usd(self) -> float:
        return sum(turn.cost_usd for turn in self.turns)

    @property
    def latency_s(self) -> float:
        """Wall clock, as measured. Rewards use tokens unless told otherwise (`RewardConfig.latency`)."""
        return sum(turn.latency_s for turn in self.turns)

    @property
    def prompt_tokens(self) -> int:
        return sum(turn.prompt_tokens for turn in self.turns)

    @property
    def completion_tokens(self) -> int:
        return sum(turn.completion_tokens for turn in self.turns)

    def calls_per_tool(self) -> dict[str, int]:
        """How often each tool was called, failed calls included."""
        return dict(Counter(call.tool for turn in self.turns for call in turn.calls))

    def rows(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The row of table `rollouts` and the rows of table `turns`; `from_rows` gives an equal rollout back."""
        stored = self.model_dump(mode="json", exclude={"turns"})
        row = {
            "id": self.id,
            "group_id": self.group_id,
            **stored,
            "solved": self.solved,
            "n_turns": len(self.turns),
            "n_calls": sum(len(turn.calls) for turn in self.turns),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
        }
        return row, [_turn_row(self.id, turn) for turn in self.turns]


def _turn_row(rollout_id: str, turn: Turn) -> dict[str, Any]:
    stored = turn.model_dump(mode="json", exclude={"index"})
    return {
        "rollout_id": rollout_id,
        "turn": turn.index,
        **stored,
        "calls": canonical_json(stored["calls"]).decode(),
        "results": canonical_json(stored["results"]).decode(),
    }


def from_rows(row: Mapping[str, Any], turn_rows: Iterable[Mapping[str, Any]]) -> Rollout:
    """The rollout stored as `row` and `turn_rows` (in any order; columns it does not know are ignored).

    Raises pydantic.ValidationError when a column is missing, ValueError when the turns or the id do not fit the row.
    """
    turns = [_turn_from(turn_row) for turn_row in sorted(turn_rows, key=lambda found: found["turn"])]
    if len(turns) != row["n_turns"]:
        raise ValueError(f"rollout {row['id']}: {row['n_turns']} turns announced, {len(turns)} found; ingest again.")
    fields = {name: row[name] for name in Rollout.model_fields if name != "turns" and name in row}
    rollout = Rollout.model_validate({**fields, "turns": turns})
    if rollout.id != row["id"]:
        raise ValueError(
            f"rollout {row['id']}: its content says {rollout.id}; the row was altered after it was written."
        )
    return rollout


def rollouts_from(rows: Sequence[Mapping[str, Any]], turn_rows: Iterable[Mapping[str, Any]]) -> list[Rollout]:
    """All rollouts of `rows`, each with its turns out of `turn_rows`, sorted by id."""
    turns: dict[str, list[Mapping[str, Any]]] = {}
    for turn_row in turn_rows:
        turns.setdefault(turn_row["rollout_id"], []).append(turn_row)
    return sorted((from_rows(row, turns.get(row["id"], [])) for row in rows), key=lambda rollout: rollout.id)


def _turn_from(turn_row: Mapping[str, Any]) -> Turn:
    fields = {
        name: turn_row[name] for name in Turn.model_fields if name in turn_row and name not in ("calls", "results")
    }
    return Turn.model_validate(
        {
            **fields,
            "index": turn_row["turn"],
            "calls": [ToolCall.model_validate(call) for call in _json(turn_row["calls"])],
            "results": [ToolResult.model_validate(result) for result in _json(turn_row["results"])],
        }
    )


def _json(column: Any) -> Any:
    """JSON columns come back as text or, through some readers, already parsed."""
    return json.loads(column) if isinstance(column, str) else column
