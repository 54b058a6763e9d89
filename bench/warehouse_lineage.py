"""Ten million turns in one warehouse: how soon it tells which prompts trained a step, and where a checkpoint is from.

Sixteen campaigns of 125 iterations of 1,000 rollouts are built through parts and ingests, in the order in which they
would be played, with their tasks, checks, LLM calls, rewards, updates, checkpoints and batches. Then, each time from
opening the file on: the lineage question (`TRAINED_STEP_SQL`) for random steps, and what `envloom lineage` asks for
random checkpoints (up) and LLM calls (down). Token ids are random, which is the worst case for the file's size.
Run: `python bench/warehouse_lineage.py [--quick]`.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.ingest import TURNS_A_ROLLOUT, turns
from warehouse.lineage import TRAINED_STEP_SQL, made_in, trace
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

CAMPAIGNS, ITERATIONS, ROLLOUTS, GROUP = 16, 125, 1_000, 8
TASKS, ENVIRONMENTS, CALLS, CHECKS_A_TASK, CALLS_A_TASK = 40_000, 40, 20_000, 13, 3
_TOOLBOX = '{"experts":[{"input_usd_per_mtok":%d,"name":"expert_a","output_usd_per_mtok":%d}],"tools":[%s]}'
_TOOLS = ",".join(
    f'{{"description":"What tool {n} does with a ticket, in a sentence.","name":"t{n}"}}' for n in range(9)
)
_DAY = datetime(2026, 1, 1)


def ids(kind: str, numbers: Any) -> pa.Array:
    """Ids as hashes look, 32 hex digits each, of the records of a kind with these numbers."""
    numbers = np.asarray(numbers, dtype=np.uint64)
    salt = np.uint64(int.from_bytes(kind.encode()[:8].ljust(8), "little"))
    with np.errstate(over="ignore"):
        mixed = ((numbers + salt) * np.uint64(0x9E3779B97F4A7C15)) ^ salt
        halves = np.stack([mixed, (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)], axis=1)
    octets = np.ascontiguousarray(halves).view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = np.stack([digits[octets >> 4], digits[octets & 15]], axis=2).reshape(len(numbers), 32)
    return pa.array(np.ascontiguousarray(text).view("S32").ravel(), pa.binary()).cast(pa.string())


def rows(table: str, count: int, **columns: Any) -> pa.Table:
    """Rows with these columns, arrays or one value for all; the others are null."""
    schema = TABLES[table].schema
    arrays = []
    for field in schema:
        given = columns.get(field.name)
        if not isinstance(given, (pa.Array, pa.ChunkedArray, np.ndarray, list)):
            given = pa.nulls(count, field.type) if given is None else pa.repeat(given, count)
        arrays.append((given if isinstance(given, (pa.Array, pa.ChunkedArray)) else pa.array(given)).cast(field.type))
    return pa.table(arrays, schema=schema)


def synthesis() -> dict[str, pa.Table]:
    """What all campaigns share: environments, tools, tasks, their checks, and the calls that worded them."""
    tasks, checks = np.arange(TASKS), np.arange(TASKS * CHECKS_A_TASK)
    worded = np.arange(TASKS * CALLS_A_TASK)
    environments, task_ids = ids("environment", tasks % ENVIRONMENTS), ids("task", tasks)
    calls = np.arange(CALLS)
    by = [f"phrases-{number % 12}" for number in calls.tolist()]
    return {
        "llm_calls": rows("llm_calls", CALLS, id=ids("call", calls), model="synthesist", template=by,
                          template_sha256=ids("prompt", calls % 12), seed=calls, seconds=1.0),
        "environments": rows("environments", ENVIRONMENTS, id=ids("environment", np.arange(ENVIRONMENTS)),
                             domain=[f"domain-{number}" for number in range(ENVIRONMENTS)]),
        "tasks": rows("tasks", TASKS, id=task_ids, environment_id=environments, difficulty=tasks % 5, record="{}",
                      instruction=[f"Close ticket T1-{number} and tell me its price." for number in tasks.tolist()]),
        "checks": rows("checks", len(checks), id=ids("check", checks), task_id=ids("task", checks // CHECKS_A_TASK),
                       environment_id=ids("environment", checks // CHECKS_A_TASK % ENVIRONMENTS), outcome="passed"),
        "lineage_edges": rows("lineage_edges", len(worded), parent_kind="llm_call", child_kind="task",
                              parent_id=ids("call", (worded * 7 + worded // CALLS) % CALLS), relation="worded",
                              child_id=ids("task", worded // CALLS_A_TASK)),
    }  # fmt: skip


def iterations(first: int, count: int, template: pa.Table) -> dict[str, pa.Table]:
    """The rollouts, rewards, updates and checkpoints of iterations from `first` on, of one campaign after another."""
    number = np.arange(first, first + count)
    step, campaign = number % ITERATIONS, number // ITERATIONS
    names = np.array([f"campaign-{each}" for each in range(CAMPAIGNS)])
    made, before = ids("checkpoint", number), pc.if_else(pa.array(step > 0), ids("checkpoint", number - 1), "base")
    rollout = np.arange(first * ROLLOUTS, (first + count) * ROLLOUTS)
    rollout_ids, owner = ids("rollout", rollout), rollout // ROLLOUTS
    turn = np.repeat(np.arange(len(rollout)), TURNS_A_ROLLOUT)
    task = (rollout // GROUP * 2_654_435_761) % TASKS
    toolboxes = pa.array([_TOOLBOX % (each % 7, each, _TOOLS) for each in range(1000)])
    played = template.slice(0, len(turn)).set_column(0, template.schema.field(0), rollout_ids.take(pa.array(turn)))
    batch = ids("batch", number)
    advantage = np.random.default_rng(first).normal(size=len(rollout))
    members = pa.concat_tables(
        [
            _members("rollouts", ids("batch", owner), rollout % ROLLOUTS, rollout_ids),
            _members("turns", ids("batch", owner[turn]), np.arange(len(turn)) % (ROLLOUTS * TURNS_A_ROLLOUT),
                     pc.binary_join_element_wise(played["rollout_id"].combine_chunks(),
                                                 played["turn"].combine_chunks().cast(pa.string()), "/")),
            _members("checkpoints", ids("made", number), np.zeros(count), made),
        ]
    )  # fmt: skip
    batches = {"n_rows": ROLLOUTS * (1 + TURNS_A_ROLLOUT), "run_id": ids("run", number), "code_version": "bench",
               "created_at": [_DAY + timedelta(minutes=int(each)) for each in number],
               "partition": ids("part", number)}  # fmt: skip
    return {
        "turns": played,
        "rollouts": rows("rollouts", len(rollout), id=rollout_ids, campaign=names[owner // ITERATIONS],
                         iteration=owner % ITERATIONS, purpose="train", task_id=ids("task", task),
                         environment_id=ids("environment", task % ENVIRONMENTS), domain="domain",
                         policy_id=before.take(pa.array(owner - first)), group_id=ids("group", rollout // GROUP),
                         sample=rollout % GROUP, seed=rollout, outcome="solved", n_turns=TURNS_A_ROLLOUT,
                         toolbox=toolboxes.take(pa.array(rollout % 1000))),
        "rewards": rows("rewards", len(rollout), update_id=ids("update", owner), rollout_id=rollout_ids,
                        reward=advantage, advantage=advantage,
                        status=np.where(rollout // GROUP % 3 > 0, "trained", "zero_variance")),
        "updates": rows("updates", count, id=ids("update", number), campaign=names[campaign], iteration=step,
                        kind="grpo", parent_checkpoint=before, checkpoint_id=made),
        "checkpoints": rows("checkpoints", count, id=made, parent_id=before, kind="grpo", campaign=names[campaign],
                            iteration=step, rollouts_batch_id=batch, config="{}"),
        "batches": pa.concat_tables([rows("batches", count, batch_id=batch, asset="rollouts", **batches),
                                     rows("batches", count, batch_id=ids("made", number), asset="checkpoint",
                                          **batches | {"n_rows": 1})]),
        "batch_members": members,
    }  # fmt: skip


def _members(table: str, batch: pa.Array, position: Any, record: Any) -> pa.Table:
    return rows("batch_members", len(batch), batch_id=batch, position=position, table_name=table, record_id=record)


def build(warehouse: Warehouse, total: int, at_once: int = 50) -> float:
    """Ingest the synthesis and `total` iterations; return the seconds that writing parts and ingesting took."""
    template = turns(0, at_once * ROLLOUTS * TURNS_A_ROLLOUT, np.random.default_rng(0))
    seconds = 0.0
    for first in range(-at_once, total, at_once):
        tables = synthesis() if first < 0 else iterations(first, min(at_once, total - first), template)
        began = time.perf_counter()
        warehouse.write_bundle(f"from-{first + at_once}", tables)
        report = warehouse.ingest()
        seconds += time.perf_counter() - began
        assert not report.quarantined and not report.already_present
    return seconds


def milliseconds(ask: Callable[[], object]) -> float:
    """How long an answer takes."""
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def main(quick: Annotated[bool, typer.Option(help="A twentieth of the turns.")] = False) -> None:
    """Print how soon a warehouse of ten million turns answers."""
    total, random = CAMPAIGNS * ITERATIONS // (20 if quick else 1), Random(0)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb", Path(folder) / "parts")
        seconds = build(warehouse, total)
        size = warehouse.path.stat().st_size
        drawn = random.sample(range(total), 10)

        def step(number: int) -> None:
            asked = {"campaign": f"campaign-{number // ITERATIONS}", "iteration": number % ITERATIONS}
            answer = warehouse.query(TRAINED_STEP_SQL, asked)
            trained = sum(rollout // GROUP % 3 > 0 for rollout in range(number * ROLLOUTS, (number + 1) * ROLLOUTS))
            assert answer.height == trained * CALLS_A_TASK, answer.height

        def checkpoint(number: int) -> None:
            found = trace(
                warehouse, ids("checkpoint", [number])[0].as_py(), up=True, depth=12,
                until=("checkpoint",), without=("check",),
            )  # fmt: skip
            assert len(found.of_kind("rollout")) == ROLLOUTS and found.of_kind("prompt"), found.root
            assert len(made_in(warehouse, *found.root)) == 1

        def call(number: int) -> None:
            found = trace(warehouse, ids("call", [number])[0].as_py(), up=False, depth=3, without=("check",))
            assert found.of_kind("task") and found.of_kind("update"), found.root

        asked = {"trained_step": step, "checkpoint_up": checkpoint, "call_down": call}
        took = {name: [milliseconds(lambda n=n, ask=ask: ask(n)) for n in drawn] for name, ask in asked.items()}  # type: ignore[misc]
        rows_a_table = warehouse.query("SELECT count(*) FROM turns").item()
    for name, each in took.items():
        print(f"{name}: " + " ".join(f"{ms:.0f}" for ms in each) + " ms")
    tell(
        f"Lineage among {rows_a_table:,} turns",
        [
            *(Figure(f"lineage_{name}_ms", statistics.median(each), "ms", 200, "lower") for name, each in took.items()),
            Figure("warehouse_gib", size / 2**30, f"GiB of {rows_a_table:,} turns", 10 * total / 2000, "lower"),
            Figure("warehouse_build_s", seconds, "s to write parts and ingest them", total / 2, "lower"),
        ],
        f"median of {len(drawn)}, each from opening the file on; {os.cpu_count()} threads",
    )


if __name__ == "__main__":
    typer.run(main)
