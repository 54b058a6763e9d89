"""How fast environments are: episodes, calls, fresh copies, processes, and whether a hundred thousand leave a trace.

The baseline is what tool-use benchmarks do that compare whole databases (τ²-bench among them): for every episode load
the database from JSON and validate it, once for the episode and twice for its evaluation, replay the policy's calls and
the golden ones, and hash both ends. It runs in the same call, interleaved, on three shapes: ten flat tables of 200 rows
with five short cells, the same with twenty sentences more in a row, and documents as many and as nested as those of
τ²-bench's retail (`bench.documents`). Its time grows with the database, ours with what an episode touches.
Run: `python bench/envs_episodes.py [--quick]`.
"""

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from pydantic import BaseModel, TypeAdapter, create_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.desk import ROWS, TABLES, desk_spec, desk_task, seconds_each
from bench.documents import Documents, documents
from bench.figures import Figure, tell
from bench.retail import retail_spec, retail_task
from envs.environment import Environment
from envs.state import open_state
from envs.task import Task, ToolCall
from envs.verdict import Outcome

NOTES = 20


class Ticket(BaseModel):
    """A row of the baseline's database."""

    id: str
    title: str
    state: str
    price_cents: int
    opened_on: str


_notes: dict[str, Any] = {f"note_{number}": (str, ...) for number in range(NOTES)}
NotedTicket = create_model("NotedTicket", __base__=Ticket, **_notes)
DATABASE = TypeAdapter(dict[str, dict[str, Ticket]])
NOTED = TypeAdapter(dict[str, dict[str, NotedTicket]])  # type: ignore[valid-type]
DOCUMENTS = TypeAdapter(Documents)


def as_json(environment: Environment) -> bytes:
    """The base state as the baseline keeps it: a JSON file."""
    tables = {
        table.name: {
            row[0]: dict(zip(["id", *(column.name for column in table.columns)], row, strict=True))
            for row in environment.spec.rows[table.name]
        }
        for table in environment.spec.tables
    }
    return json.dumps(tables).encode()


def play_ticket(tables: dict[str, dict[str, Ticket]], call: ToolCall) -> None:
    """One call of the flat task in the baseline."""
    verb, _, table = call.tool.partition("_")
    ticket = tables[table][str(call.arguments["ticket_id"])]
    if verb == "close":
        ticket.state = "closed"


def reload_validate_and_hash(
    content: bytes, database: TypeAdapter[Any], play_call: Callable[[Any, ToolCall], None], task: Task
) -> None:
    """One episode of the baseline."""
    database.validate_python(json.loads(content))
    hashes = []
    for _ in ("the policy's", "the golden"):
        loaded = database.validate_python(json.loads(content))
        for call in task.golden:
            play_call(loaded, call)
        dumped = json.dumps(database.dump_python(loaded, mode="json"), sort_keys=True)
        hashes.append(hashlib.sha256(dumped.encode()).hexdigest())
    assert hashes[0] == hashes[1]


def call_seconds(environment: Environment, tool: str, seconds: float, **arguments: str) -> float:
    """Seconds of one call inside a running episode."""
    with environment.episode() as episode:
        return seconds_each(lambda: episode.call(tool, **arguments), seconds)


def play(episodes: int) -> float:
    """Wall seconds that a process of its own needs for so many episodes, once it is warm."""
    if not _LOADED:
        _LOADED.append(Environment.load(desk_spec()))
    environment = _LOADED[0]
    task = desk_task(environment)
    began = time.perf_counter()
    for _ in range(episodes):
        environment.judge(task, task.golden, "")
    return time.perf_counter() - began


_LOADED: list[Environment] = []


def scaling(pool: ProcessPoolExecutor, episodes: int) -> float:
    """Throughput of two warm processes at once over that of one, which is timed before and after them."""
    before = pool.submit(play, episodes).result()
    together = max(pool.map(play, [episodes, episodes]))
    after = pool.submit(play, episodes).result()
    return (before + after) / together


def long_run(environment: Environment, task: Task, episodes: int) -> tuple[float, int]:
    """(growth of resident memory in MiB, verdicts that were not `solved`) over many episodes."""
    process = psutil.Process()
    for _ in range(1000):
        environment.judge(task, task.golden, "")
    before, wrong = process.memory_info().rss, 0
    for _ in range(episodes):
        wrong += environment.judge(task, task.golden, "").outcome is not Outcome.SOLVED
    after = process.memory_info().rss
    print(f"resident memory: {before / 2**20:.1f} MiB, after {episodes:,} episodes {after / 2**20:.1f} MiB")
    return (after - before) / 2**20, wrong


def main(quick: Annotated[bool, typer.Option(help="A few seconds in all.")] = False) -> None:
    """Print the figures of the environment engine with their targets."""
    environment = Environment.load(desk_spec())
    task, content = desk_task(environment), as_json(environment)
    noted = Environment.load(desk_spec(NOTES))
    noted_task, noted_content = desk_task(noted), as_json(noted)
    nested = documents()
    retail = Environment.load(retail_spec(nested))
    retail_golden, retail_content = retail_task(retail, nested), nested.model_dump_json().encode()
    repeats, seconds, many = (3, 0.2, 10_000) if quick else (5, 1.0, 100_000)
    names = ("ours", "theirs", "noted", "theirs noted", "retail", "theirs on retail", "fresh", "read", "write", "two")
    median: dict[str, list[float]] = {name: [] for name in names}
    # Begun afresh: what a fork shares with its parent is copied page by page while it runs.
    pool = ProcessPoolExecutor(2, get_context("spawn"))
    list(pool.map(play, [1000, 1000]))
    for _ in range(repeats):
        median["ours"].append(1 / seconds_each(lambda: environment.judge(task, task.golden, ""), seconds))
        median["theirs"].append(
            1 / seconds_each(lambda: reload_validate_and_hash(content, DATABASE, play_ticket, task), seconds)
        )
        median["noted"].append(1 / seconds_each(lambda: noted.judge(noted_task, noted_task.golden, ""), seconds))
        median["theirs noted"].append(
            1 / seconds_each(lambda: reload_validate_and_hash(noted_content, NOTED, play_ticket, noted_task), seconds)
        )
        median["retail"].append(
            1 / seconds_each(lambda: retail.judge(retail_golden, retail_golden.golden, ""), seconds)
        )
        median["theirs on retail"].append(
            1
            / seconds_each(
                lambda: reload_validate_and_hash(retail_content, DOCUMENTS, Documents.play, retail_golden), seconds
            )
        )
        median["fresh"].append(1e6 * seconds_each(lambda: open_state(environment.base).close(), seconds))
        median["read"].append(1e6 * call_seconds(environment, "get_desk_3", seconds, ticket_id="T3-7"))
        median["write"].append(
            1e6 * call_seconds(environment, "close_and_raise_desk_3", seconds, ticket_id="T3-7", other_id="T3-8")
        )
        median["two"].append(scaling(pool, 500 if quick else 10_000))
    pool.shutdown()
    middle = {name: statistics.median(values) for name, values in median.items()}
    growth, wrong = long_run(environment, task, many)
    tell(
        f"{TABLES} tables × {ROWS} rows, five calls an episode, one core",
        [
            Figure("envs_episodes_per_s", middle["ours"], "episodes/s", 8_000),
            Figure("envs_episodes_speedup", middle["ours"] / middle["theirs"], "x reload, validate, hash", 1_000),
            Figure(
                "envs_episodes_speedup_noted",
                middle["noted"] / middle["theirs noted"],
                f"x, {NOTES} sentences in every row",
                1_000,
            ),
            Figure(
                "envs_episodes_speedup_retail",
                middle["retail"] / middle["theirs on retail"],
                "x, as large as τ²-bench retail",
                1_000,
            ),
            Figure("envs_fresh_us", middle["fresh"], "µs", 300, "lower"),
            Figure("envs_read_call_us", middle["read"], "µs", 25, "lower"),
            Figure("envs_two_writes_call_us", middle["write"], "µs", 60, "lower"),
            Figure("envs_two_processes_speedup", middle["two"], "x one process", 1.8),
            Figure("envs_memory_growth_mib", growth, f"MiB in {many:,} episodes", 2.0, "lower"),
            Figure("envs_wrong_verdicts", wrong, f"of {many:,}", 0, "lower"),
        ],
        f"median of {repeats}; the baseline judges {middle['theirs']:,.1f} flat and {middle['theirs on retail']:,.1f} "
        f"retail episodes/s ({len(retail_content) / 1e6:.1f} MB of JSON), ours {middle['retail']:,.0f} of the latter",
    )


if __name__ == "__main__":
    typer.run(main)
