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

from envs.display import Shown, count, one_line, short_id, table
from envs.record import Record, canonical_json, content_id
from envs.task import Preference, Toolbox, ToolCall
from envs.tools import ToolResult
from envs.verdict import Outcome
from serving.amounts import token_cost, total
from serving.answers import is_logprob

Purpose: TypeAlias = Literal["training", "evaluation", "difficulty"]


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    """A completion hit the per-turn token limit."""
    CONTEXT_FULL = "context_full"
    """The next turn would not fit in the context."""
    TOKEN_LIMIT = "token_limit"
    """All completions together reached their limit."""
    TIME_LIMIT = "time_limit"
    COST_LIMIT = "cost_limit"
    MALFORMED_LIMIT = "malformed_limit"
    USER_LEFT = "user_left"
    """The simulated user took a message for the final word."""
    ENVIRONMENT_ERROR = "environment_error"
    USER_ERROR = "user_error"
    """The simulated user broke its scenario or could not be asked: masked like a broken environment."""


TRUNCATED = frozenset(
    {
        StopReason.MAX_TURNS,
        StopReason.MAX_TOKENS,
        StopReason.CONTEXT_FULL,
        StopReason.TOKEN_LIMIT,
        StopReason.TIME_LIMIT,
        StopReason.COST_LIMIT,
    }
)


class Charge(Record):
    """What one call that was made used, or a reply of a model that plays the user, which costs the policy nothing.

    The cost follows from the rollout's toolbox: see `cost_usd`.
    """

    tool: str
    kind: Literal["tool", "distractor", "expert", "user"]
    input_tokens: int = 0
    """Of an expert or the user; estimated where it is simulated, gave no answer, or its endpoint gave no usage. Of a
    tool 0."""
    output_tokens: int = 0
    latency_s: float
    """Measured; of a simulated expert, declared."""
    simulated: bool = False

    def cost_usd(self, toolbox: Toolbox) -> float:
        """The call's price, or an expert's tokens at its prices per million. A tool that does not exist is free."""
        if self.kind == "user":
            return 0.0
        if self.kind != "expert":
            return toolbox.call_prices_usd.get(self.tool, 0.0)
        expert = next(expert for expert in toolbox.experts if expert.name == self.tool)
        prices = expert.input_usd_per_mtok, expert.output_usd_per_mtok
        return token_cost(self.input_tokens, self.output_tokens, *prices)


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
    charges: tuple[Charge, ...] = ()
    """One per call that was made; those that a limit forbade are not charged. One for a model's reply as the user."""
    message: str | None = None
    """What the policy said to the user, if it did."""
    reply: str | None = None
    """What the user answered."""
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    """Wall clock of the completion and its calls, as measured; of simulated experts, as declared. The user's time to
    reply is not the policy's."""
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


class Rollout(Shown, Record):
    """One attempt of a policy at a task, token by token, with its outcome and costs; `collect` returns them.

    `turns` hold token ids and log-probabilities in nats, `cost_usd` and `latency_s` are sums over them. `id` names the
    attempt (campaign, iteration, purpose, policy, task, sample, seed), not how it went. All samples of one policy at
    one task share `group_id`.
    """

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
    toolbox: Toolbox
    """As drawn for this task instance; all rollouts of a group share it."""
    preference: Preference = Preference()
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

    def __repr__(self) -> str:
        turns, cost = count(len(self.turns), "turn"), f"{self.cost_usd:.6g} USD"
        return one_line("Rollout", short_id(self), self.domain, str(self.outcome), turns, cost, *self.reasons)

    def _repr_html_(self) -> str:
        rows = [
            (turn.index, turn.text, [each.value if each.ok else each.error for each in turn.results], turn.cost_usd)
            for turn in self.turns
        ]
        return table(repr(self), ("turn", "words and calls", "results", "USD"), rows)

    @property
    def group_id(self) -> str:
        """Shared by all samples of one policy at one task in one iteration."""
        return content_id([self.campaign, self.iteration, self.purpose, self.policy_id, self.task_id])

    @property
    def solved(self) -> bool:
        return self.outcome is Outcome.SOLVED

    @property
    def trainable(self) -> bool:
        """Whether every log-probability is one. Older collections stored what engines sent."""
        return all(is_logprob(value) for turn in self.turns for value in turn.logprobs)

    @property
    def cost_usd(self) -> float:
        return total(turn.cost_usd for turn in self.turns)

    @property
    def latency_s(self) -> float:
        """Wall clock, as measured. Rewards use tokens unless told otherwise (`RewardConfig.latency`)."""
        return total(turn.latency_s for turn in self.turns)

    @property
    def simulated_experts(self) -> bool:
        """Whether an expert of the toolbox is simulated: tables and plots of such rollouts have to say so."""
        return any(expert.simulated for expert in self.toolbox.experts)

    @property
    def experts_latency_s(self) -> float:
        """What the experts took of it: as measured, of simulated ones as declared."""
        return total(charge.latency_s for turn in self.turns for charge in turn.charges if charge.kind == "expert")

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
            "toolbox": canonical_json(self.toolbox.model_dump(mode="json")).decode(),
            "preference": canonical_json(self.preference.model_dump(mode="json")).decode(),
            "simulated_experts": self.simulated_experts,
            "solved": self.solved,
            "n_turns": len(self.turns),
            "n_calls": sum(len(turn.calls) for turn in self.turns),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
        }
        return row, [_turn_row(self.id, turn) for turn in self.turns]


_JSON_OF_TURN = ("calls", "results", "charges")


def _turn_row(rollout_id: str, turn: Turn) -> dict[str, Any]:
    stored = turn.model_dump(mode="json", exclude={"index"})
    return {
        "rollout_id": rollout_id,
        "turn": turn.index,
        **stored,
        **{name: canonical_json(stored[name]).decode() for name in _JSON_OF_TURN},
    }


def from_rows(row: Mapping[str, Any], turn_rows: Iterable[Mapping[str, Any]]) -> Rollout:
    """The rollout stored as `row` and `turn_rows` (in any order; columns it does not know are ignored).

    Raises pydantic.ValidationError when a column is missing, ValueError when the turns or the id do not fit the row.
    """
    turns = [_turn_from(turn_row) for turn_row in sorted(turn_rows, key=lambda found: found["turn"])]
    if len(turns) != row["n_turns"]:
        raise ValueError(f"rollout {row['id']}: {row['n_turns']} turns announced, {len(turns)} found; ingest again.")
    fields = {name: row[name] for name in Rollout.model_fields if name != "turns" and name in row}
    fields |= {name: _json(fields[name]) for name in ("toolbox", "preference") if name in fields}
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
    fields = {name: turn_row[name] for name in Turn.model_fields if name in turn_row}
    fields |= {name: _json(turn_row[name]) for name in _JSON_OF_TURN}
    return Turn.model_validate({**fields, "index": turn_row["turn"]})


def _json(column: Any) -> Any:
    """JSON columns come back as text or, through some readers, already parsed."""
    return json.loads(column) if isinstance(column, str) else column
