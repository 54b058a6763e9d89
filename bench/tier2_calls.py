"""How long one call of a Python tool takes: a fresh sandbox in a confined worker, one host call, a checked answer.

Caller and worker take turns, about a dozen times a call, and never compute at once. So a call is timed on one core, as
the other figures of `envs` are, and on any: there each turn may wake a core that sleeps, which on a virtual machine can
take longer than the work. The same tool declared in SQL is timed in the same rounds.
Run: `python bench/tier2_calls.py [--quick]`.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from envs import workers
from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Parameter, Program, Returns, Table, Tool
from envs.task import ToolCall

ROWS = 200
TARGET_US = 500.0
TOOLS = {"read": "program, one db_query", "write": "program, one db_exec", "declared": "the read in SQL"}
FIGURES = (
    ("tier2_read_us", "read", "one core"),
    ("tier2_write_us", "write", "one core"),
    ("tier2_read_any_core_us", "read", "any core"),
    ("tier2_write_any_core_us", "write", "any core"),
)
READ = """
rows = db_query("SELECT id, price_cents, quantity FROM lines WHERE id = :line_id", {"line_id": line_id})
if not rows:
    raise ValueError(f"there is no line {line_id}")
total = 0
for row in rows:
    total += row["price_cents"] * row["quantity"]
return {"line": rows[0], "total_cents": total}
"""
WRITE = """
changed = db_exec("UPDATE lines SET quantity = quantity + 1 WHERE id = :line_id", {"line_id": line_id})
return {"changed": changed}
"""


def basket_spec() -> EnvironmentSpec:
    """One table of lines; a read and a write as programs, and the read in SQL."""
    line = (Parameter(name="line_id", type="string"),)
    declared = Returns(
        sql="SELECT id, price_cents, quantity, price_cents * quantity AS total_cents FROM lines WHERE id = :line_id"
    )
    return EnvironmentSpec(
        domain="basket",
        title="A basket",
        policy="",
        tables=(
            Table(
                name="lines",
                id_prefix="L",
                columns=(Column(name="price_cents", type="cents"), Column(name="quantity", type="integer")),
            ),
        ),
        rows={"lines": tuple((f"L-{row}", 100 * row, 1 + row % 5) for row in range(1, ROWS + 1))},
        tools=(
            Tool(name="read", description="", parameters=line, program=Program(code=READ)),
            Tool(name="write", description="", parameters=line, program=Program(code=WRITE, writes=True)),
            Tool(name="declared", description="", parameters=line, returns=declared),
        ),
        clock="2026-03-02T09:00:00",
        seed=1,
    )


def call_times_us(environment: Environment, tool: str, calls: int) -> list[float]:
    """How long each of so many calls takes in one episode, by the clock on the wall: the worker's time counts."""
    call = ToolCall(tool=tool, arguments={"line_id": "L-7"})
    times = []
    with environment.episode() as episode:
        for _ in range(calls):
            start = time.perf_counter()
            result = episode.attempt(call)
            times.append((time.perf_counter() - start) * 1e6)
            assert result.ok, result.error
    return times


def timed_ms(act: Callable[[], object]) -> float:
    """How long it takes, in milliseconds."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1e3


def one_round(calls: int) -> dict[str, list[float]]:
    """Times of so many calls per tool, in the process that this is run in."""
    if not _LOADED:
        _LOADED.append(Environment.load(basket_spec()))
    return {tool: call_times_us(_LOADED[0], tool, calls) for tool in TOOLS}


_LOADED: list[Environment] = []


def main(quick: Annotated[bool, typer.Option(help="A few seconds in all.")] = False) -> None:
    """Print the microseconds of a call, with the target."""
    start_ms = timed_ms(workers.refusal)
    if (reason := workers.refusal()) is not None:
        raise typer.Exit(_refused(reason))
    rounds, calls = (5, 200) if quick else (20, 500)
    cores = sorted(os.sched_getaffinity(0))
    # A worker inherits the cores of the process that starts it.
    places = {"one core": cores[:1], "any core": cores}
    pools = {
        place: ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, each))
        for place, each in places.items()
    }
    times: dict[tuple[str, str], list[float]] = {(tool, place): [] for tool in TOOLS for place in places}
    for _ in range(rounds):
        for place, pool in pools.items():
            for tool, seen in pool.submit(one_round, calls).result().items():
                times[tool, place] += seen
    for pool in pools.values():
        pool.shutdown()
    table = RichTable(title=f"one call, {rounds * calls} of each; the first worker takes {start_ms:.0f} ms to start")
    for heading in ("tool", "on", "median µs", "90 % within µs"):
        table.add_column(heading)
    for (tool, place), seen in times.items():
        within = statistics.quantiles(seen, n=10)[-1]
        table.add_row(TOOLS[tool], place, f"{statistics.median(seen):,.0f}", f"{within:,.0f}")
    Console().print(table)
    print(f"load average {os.getloadavg()[0]:.1f}")
    for figure, tool, place in FIGURES:
        value = round(statistics.median(times[tool, place]), 1)
        line = {"figure": figure, "value": value, "unit": f"µs, {place}", "target": TARGET_US, "better": "lower"}
        print(json.dumps({**line, "met": value <= TARGET_US}, ensure_ascii=False))


def _refused(reason: str) -> int:
    """Say why nothing can be measured; no figure is printed."""
    print(reason)
    return 0


if __name__ == "__main__":
    typer.run(main)
