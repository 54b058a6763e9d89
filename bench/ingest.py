"""How fast waiting parts of a million turns enter the warehouse, beside a bare Arrow insert into DuckDB.

Turns are as long as those of a campaign: a first prompt of some hundred tokens, later ones of some forty, completions
with their logprobs, calls and results as JSON. The baseline inserts the very same rows from memory, in the pieces in
which the parts hold them, into a table without a key, in one transaction, with DuckDB's settings as they come: it reads
no files, checks neither schema nor hash, and looks for no duplicates. Two ratios are told: of processor time, which a
busy neighbour changes less, and of wall time. An ingest hands DuckDB its rows in batches of one row group, which is
cheaper for DuckDB; a third ratio is to a baseline that does so too, so that nothing hides in that difference.
Run: `python bench/ingest.py [--quick]`.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import pyarrow as pa
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

TURNS_A_ROLLOUT = 5
PART_ROWS = 10_000
_ROW_GROUP = 122_880
_VOCABULARY = 49_152
_CALL = '[{"arguments":{"ticket_id":"T1-%d"},"tool":"close_desk_1"}]'
_RESULT = '[{"error":null,"ok":true,"value":{"id":"T1-%d","price_cents":700,"state":"closed","title":"ticket %d"}}]'
_CHARGE = (
    '[{"input_tokens":0,"kind":"tool","latency_s":0.000%03d,"output_tokens":0,"simulated":false,"tool":"close_desk_1"}]'
)


def lists(lengths: np.ndarray, values: pa.Array) -> pa.ListArray:
    """A list column of these lengths out of a flat one."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def turns(first_rollout: int, rows: int, rng: np.random.Generator) -> pa.Table:
    """`rows` turns of rollouts from `first_rollout` on, in the table's columns."""
    place = np.arange(rows)
    number, turn = first_rollout + place // TURNS_A_ROLLOUT, place % TURNS_A_ROLLOUT
    context = np.where(turn == 0, rng.integers(350, 500, rows), rng.integers(30, 60, rows))
    completion = rng.integers(12, 40, rows)
    tokens = pa.array(rng.integers(0, _VOCABULARY, int(context.sum()), dtype=np.int32))
    written = pa.array(rng.integers(0, _VOCABULARY, int(completion.sum()), dtype=np.int32))
    logprobs = pa.array(-rng.exponential(0.5, int(completion.sum())).astype(np.float32))
    drawn = rng.integers(1, 200, rows).tolist()
    columns = {
        "rollout_id": [f"{each * 0x9E3779B97F4A7C15 % 2**64:016x}{each:016x}" for each in number.tolist()],
        "turn": turn,
        "context_ids": lists(context, tokens),
        "completion_ids": lists(completion, written),
        "logprobs": lists(completion, logprobs),
        "extends": np.ones(rows, dtype=bool),
        "finish_reason": ["stop"] * rows,
        "prompt_tokens": context,
        "completion_tokens": completion,
        "latency_s": rng.uniform(0.1, 3.0, rows).round(3),
        "cost_usd": rng.uniform(0, 0.01, rows),
        "calls": [_CALL % each for each in drawn],
        "results": [_RESULT % (each, each) for each in drawn],
        "charges": [_CHARGE % each for each in drawn],
        "text": [f'close_desk_1(ticket_id="T1-{each}")' for each in drawn],
        "message": [None] * rows,
        "reply": [None] * rows,
    }
    schema = TABLES["turns"].schema
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in schema}, schema=schema)


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def ingest_seconds(parts: list[pa.Table], folder: Path) -> tuple[float, float]:
    """Wall and processor seconds. Writing the parts is not counted: collectors do it while they wait for engines."""
    warehouse = Warehouse(folder / "warehouse.duckdb", folder / "parts")
    for number, rows in enumerate(parts):
        warehouse.write_part("turns", rows, f"part-{number:04d}")
    warehouse.query("SELECT 1")  # makes the file
    clock = Clock()
    report = warehouse.ingest()
    elapsed = clock.read()
    assert report.inserted["turns"] == sum(rows.num_rows for rows in parts) and not report.quarantined
    return elapsed


def bare_seconds(parts: list[pa.Table], folder: Path, *, batched: bool = False) -> tuple[float, float]:
    """The same rows from memory into a table of the same columns; `batched`: first copied into whole row groups."""
    with duckdb.connect(str(folder / f"bare-{batched}.duckdb")) as connection:
        connection.execute(TABLES["turns"].create_sql)
        clock = Clock()
        rows = pa.concat_tables(parts)
        if batched:
            rows = pa.Table.from_batches(rows.combine_chunks().to_batches(max_chunksize=_ROW_GROUP))
        connection.register("candidates", rows)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO turns SELECT * FROM candidates")
        connection.execute("COMMIT")
        return clock.read()


def main(quick: Annotated[bool, typer.Option(help="A quarter of the rows.")] = False) -> None:
    """Print how fast turns are ingested, with the targets."""
    rows, repeats = (250_000, 3) if quick else (1_000_000, 3)
    rng = np.random.default_rng(0)
    parts = [turns(start // TURNS_A_ROLLOUT, PART_ROWS, rng) for start in range(0, rows, PART_ROWS)]
    wall: dict[str, list[float]] = {"ingest": [], "bare": [], "batched": []}
    processor: dict[str, list[float]] = {"ingest": [], "bare": [], "batched": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            took = {
                "ingest": ingest_seconds(parts, folder),
                "bare": bare_seconds(parts, folder),
                "batched": bare_seconds(parts, folder, batched=True),
            }
        for each, (wall_s, processor_s) in took.items():
            wall[each].append(wall_s)
            processor[each].append(processor_s)

    def ratio(seconds: dict[str, list[float]], baseline: str) -> float:
        return statistics.median(b / i for b, i in zip(seconds[baseline], seconds["ingest"], strict=True))

    rates = {each: rows / statistics.median(seconds) for each, seconds in wall.items()}
    tell(
        f"Ingest of {rows:,} turns, {sum(part.nbytes for part in parts) / 2**20:,.0f} MiB in Arrow",
        [
            Figure("ingest_rows_per_s", rates["ingest"], "rows/s", 150_000),
            Figure("ingest_of_bare_insert", ratio(processor, "bare"), "x a bare Arrow insert, processor time", 0.7),
            Figure("ingest_of_bare_insert_wall", ratio(wall, "bare"), "x a bare Arrow insert, wall time", 0.7),
            Figure("ingest_of_batched_insert", ratio(processor, "batched"), "x an insert of whole row groups", 0.7),
        ],
        f"median of {repeats}, parts of {PART_ROWS:,} rows; bare {rates['bare']:,.0f} and batched "
        f"{rates['batched']:,.0f} rows/s",
    )


if __name__ == "__main__":
    typer.run(main)
