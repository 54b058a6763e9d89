"""A rollout and its rows."""

import asyncio

import pyarrow as pa
import pytest

from envs.environment import Environment
from envs.task import Task
from trainer.advantages import Advantage
from trainer.collect import Assignment, Collection, collect
from trainer.rollout import Rollout, from_rows, rollout_identity, rollouts_from
from trainer.rows import read_training_rows, training_rows, write_training_rows
from trainer.settings import RolloutConfig
from warehouse.tables import table_named


@pytest.fixture
def rollouts(shop: Environment, tasks: list[Task], tokenizer, assignment: Assignment, scripted, golden_script):
    config = RolloutConfig(samples_per_task=2)
    return asyncio.run(
        collect(Collection(tasks, {shop.id: shop}, assignment, config), scripted(golden_script), tokenizer)
    )


def advantages(rollouts: list[Rollout]) -> list[Advantage]:
    return [Advantage(rollout_id=r.id, group_id=r.group_id, reward=1.0, advantage=0.5) for r in rollouts]


def test_the_warehouse_gives_equal_rollouts_back(rollouts: list[Rollout]) -> None:
    rows, turn_rows = [], []
    for rollout in rollouts:
        row, turns = rollout.rows()
        rows.append(row)
        turn_rows += turns
    tables = table_named("rollouts"), table_named("turns")
    assert set(rows[0]) == set(tables[0].columns) and set(turn_rows[0]) == set(tables[1].columns)
    stored = [pa.Table.from_pylist(found, schema=table.schema).to_pylist() for found, table in
              zip((rows, turn_rows), tables, strict=True)]  # fmt: skip
    assert rollouts_from(stored[0], reversed(stored[1])) == rollouts


def test_a_rollout_is_known_before_it_has_run(rollouts: list[Rollout]) -> None:
    one = rollouts[0]
    identity = one.model_dump(include={"campaign", "iteration", "purpose", "policy_id", "task_id", "sample", "seed"})
    assert rollout_identity(**identity) == one.id
    assert rollout_identity(**{**identity, "policy_id": "another"}) != one.id


def test_samples_of_one_task_share_a_group(rollouts: list[Rollout], tasks: list[Task]) -> None:
    assert len({rollout.group_id for rollout in rollouts}) == len(tasks)


def test_missing_turns_and_altered_rows_are_noticed(rollouts: list[Rollout]) -> None:
    row, turns = rollouts[0].rows()
    with pytest.raises(ValueError, match="turns announced"):
        from_rows(row, turns[1:])
    with pytest.raises(ValueError, match="altered"):
        from_rows({**row, "sample": 99}, turns)


def test_training_rows_survive_the_file_and_do_not_depend_on_the_order_of_completion(rollouts, tmp_path) -> None:
    rows = training_rows(rollouts, advantages(rollouts))
    assert training_rows(reversed(rollouts), advantages(rollouts)) == rows
    write_training_rows(tmp_path / "rows.parquet", rows)
    assert read_training_rows(tmp_path / "rows.parquet") == rows


def test_a_rewritten_history_forks_a_new_row(rollouts: list[Rollout]) -> None:
    long = max(rollouts, key=lambda rollout: len(rollout.turns))
    turns = [turn.model_copy(update={"extends": turn.index != 2}) for turn in long.turns]
    forked = long.model_copy(update={"turns": tuple(turns)})
    rows = training_rows([forked], advantages([forked]))
    assert [row.part for row in rows] == [0, 1]
    assert rows[1].token_ids[: len(turns[2].context_ids)] == turns[2].context_ids
    assert sum(sum(row.trained) for row in rows) == long.completion_tokens
