"""Rollouts and pairs of rollouts as rows of datasets, streamed in the order campaign, iteration, group, sample."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, Literal

from envs.fates import MASKED
from envs.record import Record
from envs.task import Preference, Task, Toolbox
from serving.amounts import levels, same
from warehouse.export.rollout_columns import TOKEN_COLUMNS
from warehouse.export.shared import preference_row, toolbox_row
from warehouse.export.staging import rows, stage, staged
from warehouse.warehouse import Warehouse

SPLITS = {"training": "train", "evaluation": "evaluation", "difficulty": "difficulty"}
"""The split of each purpose; loaders expect the first name."""

_ROLLOUTS = """
WITH chosen AS (
  SELECT DISTINCT ON (r.id) r.* EXCLUDE (batch_id, position) FROM batch_rollouts r
  WHERE r.batch_id IN (SELECT unnest($batches)) AND r.id NOT IN (SELECT unnest($left_out))
  ORDER BY r.id, r.batch_id
), rewarded AS (
  SELECT w.* EXCLUDE (position, batch_id), w.batch_id AS rewarded_by
  FROM batch_rewards w JOIN batches b USING (batch_id)
  WHERE w.rollout_id IN (SELECT id FROM chosen)
  QUALIFY row_number() OVER (PARTITION BY w.rollout_id ORDER BY b.created_at DESC, w.update_id) = 1
)
SELECT row_number() OVER (ORDER BY c.campaign, c.iteration, c.purpose, c.group_id, c.sample, c.id) AS place,
  c.*, w.rewarded_by, w.update_id, w.components, w.reward, w.advantage, w.status, p.kind AS policy_kind, p.base_model,
  t.record AS task
FROM chosen c JOIN tasks t ON t.id = c.task_id LEFT JOIN rewarded w ON w.rollout_id = c.id
LEFT JOIN (SELECT id, any_value(kind) AS kind, any_value(base_model) AS base_model FROM checkpoints GROUP BY id) p
  ON p.id = c.policy_id
ORDER BY place
"""
_TURNS = """
SELECT c.place, t.* FROM {chosen} c JOIN turns t ON t.rollout_id = c.id ORDER BY c.place, t.turn
"""


@dataclass(frozen=True)
class StoredRollout:
    """A row of `rollouts` with its reward, and its rows of `turns` in order."""

    row: Mapping[str, Any]
    turns: Sequence[Mapping[str, Any]]

    @property
    def task(self) -> Task:
        return Task.model_validate_json(self.row["task"])

    @property
    def preference(self) -> Preference:
        return Preference.model_validate_json(self.row["preference"])

    @property
    def toolbox(self) -> Toolbox:
        return Toolbox.model_validate_json(self.row["toolbox"])


class Talk(Record):
    """A rollout as chat: messages (`shared.MESSAGE`) before the policy's first words and from them on, and tools."""

    opening: tuple[dict[str, Any], ...]
    rest: tuple[dict[str, Any], ...]
    tools: tuple[str, ...]


Told = Callable[[StoredRollout], Talk]
"""Tells a rollout as chat: dialects are not known in this room."""


def stage_rollouts(
    warehouse: Warehouse, batch_ids: Sequence[str], left_out: Sequence[str], folder: Path
) -> tuple[list[str], list[str]]:
    """Copy the rollouts of these batches, but for those of `left_out`, to `folder`, which `stored_rollouts` reads.

    Returns the batches that their rewards come from, and the ids of their tasks.
    """
    asked = {"batches": list(batch_ids), "left_out": list(left_out)}
    stage(warehouse, _ROLLOUTS, asked, folder / "rollouts.parquet")
    stage(warehouse, _TURNS.format(chosen=staged(folder / "rollouts.parquet")), {}, folder / "turns.parquet")
    found = warehouse.query(f"SELECT DISTINCT rewarded_by, task_id FROM {staged(folder / 'rollouts.parquet')}")
    return sorted(found["rewarded_by"].drop_nulls().unique()), sorted(found["task_id"].unique())


def stored_rollouts(folder: Path) -> Iterator[StoredRollout]:
    """Staged rollouts with their turns, in order, one at a time."""
    turns = groupby(rows(folder / "turns.parquet"), key=lambda turn: turn["place"])
    place, waiting = next(turns, (None, iter(())))
    for row in rows(folder / "rollouts.parquet"):
        own = list(waiting) if place == row["place"] else []
        if own:
            place, waiting = next(turns, (None, iter(())))
        yield StoredRollout(row, own)


_AS_STORED = (
    *("id", "campaign", "iteration", "purpose", "group_id", "sample", "seed", "task_id", "environment_id", "domain"),
    *("policy_id", "policy_kind", "base_model", "outcome", "reasons", "stop_reason", "answer", "reward", "advantage"),
    *("update_id", "n_turns", "n_calls", "n_malformed", "prompt_tokens", "completion_tokens", "cost_usd", "latency_s"),
    "simulated_experts",
)
_OF_A_TURN = (
    *("text", "finish_reason", "prompt_tokens", "completion_tokens", "latency_s", "cost_usd", "extends"),
    *TOKEN_COLUMNS,
)


def rollout_row(rollout: StoredRollout, told: Told) -> dict[str, Any]:
    """The row of `rollout_columns.ROLLOUTS`; columns that are not wanted are not written."""
    talk = told(rollout)
    return {
        **{name: rollout.row[name] for name in _AS_STORED},
        "training_status": rollout.row["status"],
        "messages": [*talk.opening, *talk.rest],
        "tools": list(talk.tools),
        "reward_components": [{"name": name, "value": value} for name, value in rollout.row["components"] or ()],
        "preference": preference_row(rollout.preference),
        "toolbox": toolbox_row(rollout.toolbox),
        "turns": [
            {**{name: turn[name] for name in _OF_A_TURN}, "charges": json.loads(turn["charges"])}
            for turn in rollout.turns
        ],
    }


@dataclass
class Pairing:
    """How pairs are taken out of groups, and what became of the groups."""

    pairs: Literal["best", "all"] = "best"
    min_margin: float = 0.0
    groups: int = 0
    without_pair: int = 0
    """Groups in which no two rollouts that can be compared have different rewards."""

    def of(self, rollouts: Iterable[StoredRollout]) -> Iterator[tuple[StoredRollout, StoredRollout]]:
        """(chosen, rejected): of each group the highest and the lowest reward, or all pairs of unlike rewards.

        Equal rewards are ordered by id, so that the same history gives the same pairs. Rollouts without a reward, and
        those that training masked, are never compared. `rollouts` come group by group.
        """
        for _, group in groupby(rollouts, key=lambda rollout: rollout.row["group_id"]):
            rewarded = [one for one in group if one.row["reward"] is not None and one.turns]
            if not rewarded:
                continue
            by_id = {one.row["id"]: one for one in rewarded}
            level_of = levels([one.row["reward"] for one in rewarded])
            level = {identity: level_of[one.row["reward"]] for identity, one in by_id.items()}
            compared = sorted(identity for identity, one in by_id.items() if one.row["status"] not in MASKED)
            ranked = sorted(compared, key=level.__getitem__, reverse=True)
            pairs = [(level[better] - level[worse], better, worse) for better, worse in combinations(ranked, 2)]
            unlike = [pair for pair in pairs if self._is_wide(pair[0])]
            self.groups += 1
            self.without_pair += not unlike
            if self.pairs == "best":  # the widest margin is that of the best against the worst
                unlike = sorted(unlike, key=lambda pair: (-pair[0], *pair[1:]))[:1]
            yield from ((by_id[better], by_id[worse]) for _, better, worse in unlike)

    def _is_wide(self, margin: float) -> bool:
        return margin > self.min_margin and not same(margin, self.min_margin)


def margin(chosen: StoredRollout, rejected: StoredRollout) -> float:
    """How much more reward the chosen rollout got."""
    return float(chosen.row["reward"] - rejected.row["reward"])


def pair_row(chosen: StoredRollout, rejected: StoredRollout, told: Told) -> dict[str, Any]:
    """The row of `rollout_columns.PAIRS`."""
    better, worse = told(chosen), told(rejected)
    shared = ("campaign", "iteration", "group_id", "task_id", "environment_id", "domain", "policy_id", "update_id")
    figures = ("id", "reward", "outcome", "cost_usd", "latency_s", "completion_tokens")
    return {
        "prompt": list(better.opening),
        "chosen": _as_written(better),
        "rejected": _as_written(worse),
        "tools": list(better.tools),
        "margin": margin(chosen, rejected),
        **{name: chosen.row[name] for name in shared},
        "preference": preference_row(chosen.preference),
        "chosen_rollout": {name: chosen.row[name] for name in figures},
        "rejected_rollout": {name: rejected.row[name] for name in figures},
    }


def _as_written(talk: Talk) -> list[dict[str, Any]]:
    """The rest of a talk up to the policy's last words: what it never heard is no reason to prefer it."""
    rest = list(talk.rest)
    while rest and rest[-1]["role"] != "assistant":
        rest.pop()
    return rest


class Wishes:
    """The preferences met among rollouts, counted: rows of `rollout_columns.INSTRUCTIONS`."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[Preference, dict[str, set[str]]]] = {}

    def met(self, rollouts: Iterable[StoredRollout]) -> Iterator[StoredRollout]:
        """The same rollouts, each looked at in passing."""
        for rollout in rollouts:
            preference = rollout.preference
            if preference.text:
                _, counted = self._met.setdefault(preference.id, (preference, {}))
                for name, column in (("tasks", "task_id"), ("groups", "group_id"), ("domains", "domain")):
                    counted.setdefault(name, set()).add(rollout.row[column])
            yield rollout

    def rows(self) -> Iterator[dict[str, Any]]:
        """Sorted by their words."""
        for identity, (preference, counted) in sorted(self._met.items(), key=lambda met: (met[1][0].text, met[0])):
            yield {
                "id": identity,
                **preference_row(preference),
                "domains": sorted(counted["domains"]),
                "n_tasks": len(counted["tasks"]),
                "n_groups": len(counted["groups"]),
            }
