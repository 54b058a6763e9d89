"""Training rows: token sequences with the policy's tokens marked, derived from rollouts or golden trajectories.

Turns are what is stored; rows are derived. Turns are merged while each prompt extends the previous tokens, and a new
row begins where it does not. No tokenizer and no torch here: ids in, ids out.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError, model_validator

from envs.record import Record
from trainer.advantages import Advantage
from trainer.rollout import Rollout, Turn

SCHEMA = pa.schema(
    [
        ("rollout_id", pa.string()),
        ("group_id", pa.string()),
        ("part", pa.int32()),
        ("token_ids", pa.list_(pa.int32())),
        ("trained", pa.list_(pa.bool_())),
        ("behaviour", pa.list_(pa.float64())),
        ("advantage", pa.float64()),
    ]
)


class RowsUnreadable(ValueError):
    """A file of training rows is missing, or a row in it is not one."""


class TrainingRow(Record):
    """One token sequence as the engine saw it. `rollout_id` is the task's id where the row is a golden trajectory."""

    rollout_id: str
    group_id: str
    part: int = 0
    """Which of the rollout's sequences, or of the task's golden trajectories, from 0."""
    token_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    """True on tokens the policy wrote."""
    behaviour: tuple[float, ...]
    """Behaviour logprob in nats, 0 where not trained."""
    advantage: float

    @model_validator(mode="after")
    def _aligned(self) -> "TrainingRow":
        if not len(self.token_ids) == len(self.trained) == len(self.behaviour):
            raise ValueError(
                f"row {self.name}: {len(self.token_ids)} tokens, {len(self.trained)} marks, "
                f"{len(self.behaviour)} logprobs"
            )
        if not all(map(isfinite, (*self.behaviour, self.advantage))):
            raise ValueError(f"row {self.name}: an advantage or a logprob is not a finite number")
        if self.trained[:1] == (True,):
            raise ValueError(f"row {self.name}: the first token has nothing before it and cannot be trained")
        return self

    @property
    def name(self) -> str:
        """How errors call this row."""
        return f"{self.rollout_id}/{self.part}"


def training_rows(rollouts: Iterable[Rollout], advantages: Iterable[Advantage]) -> list[TrainingRow]:
    """Rows of all rollouts that have an advantage, sorted by group, rollout and part: never by completion."""
    found: Mapping[str, Advantage] = {advantage.rollout_id: advantage for advantage in advantages}
    rows = [
        _row(rollout, part, turns, weight)
        for rollout in rollouts
        if rollout.id in found and (weight := found[rollout.id].advantage) is not None
        for part, turns in enumerate(_merged(rollout.turns))
    ]
    return sorted(rows, key=lambda row: (row.group_id, row.rollout_id, row.part))


def _merged(turns: Sequence[Turn]) -> list[list[Turn]]:
    merged: list[list[Turn]] = []
    for turn in turns:
        if turn.extends and merged:
            merged[-1].append(turn)
        else:
            merged.append([turn])
    return merged


def _row(rollout: Rollout, part: int, turns: Sequence[Turn], advantage: float) -> TrainingRow:
    token_ids: list[int] = []
    trained: list[bool] = []
    behaviour: list[float] = []
    for turn in turns:
        token_ids += [*turn.context_ids, *turn.completion_ids]
        trained += [False] * len(turn.context_ids) + [True] * len(turn.completion_ids)
        behaviour += [0.0] * len(turn.context_ids) + list(turn.logprobs)
    return TrainingRow(
        rollout_id=rollout.id,
        group_id=rollout.group_id,
        part=part,
        token_ids=tuple(token_ids),
        trained=tuple(trained),
        behaviour=tuple(behaviour),
        advantage=advantage,
    )


def write_training_rows(path: Path, rows: Sequence[TrainingRow]) -> None:
    """Write rows as Parquet, through a temporary name."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(pa.Table.from_pylist([row.model_dump() for row in rows], schema=SCHEMA), unfinished)
    unfinished.replace(path)


def read_training_rows(path: Path) -> list[TrainingRow]:
    """The rows of a Parquet file, in its order. Raises RowsUnreadable."""
    remedy = "Write the rows again from the rollouts (trainer.rows.write_training_rows)."
    if not path.is_file():
        raise RowsUnreadable(f"{path}: not there. {remedy}")
    try:
        return [TrainingRow.model_validate(row) for row in pq.read_table(path).to_pylist()]
    except pa.ArrowInvalid as error:
        raise RowsUnreadable(f"{path}: no Parquet file ({error}). {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "row"
        raise RowsUnreadable(f"{path}: {where}: {first['msg']}. {remedy}") from error


def rows_sha256(rows: Iterable[TrainingRow], *, behaviour: bool = True) -> str:
    """The hash of the rows' content, independent of how the file was compressed.

    Without `behaviour`, as if all behaviour logprobs were 0: for training that does not look at them.
    """
    total = hashlib.sha256()
    for row in rows:
        used = row if behaviour else row.model_copy(update={"behaviour": (0.0,) * len(row.behaviour)})
        total.update(used.canonical() + b"\n")
    return total.hexdigest()
