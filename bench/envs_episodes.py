"""How many episodes a second one core judges: golden replay, canonical changeset, facts, verdict, rollback.

The baseline reloads the database for every episode and compares whole contents, which is what benchmarks that hash
their database do; both run in the same call, interleaved. Run: `python bench/envs_episodes.py [--quick]`.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Parameter, Returns, Table, Tool
from envs.state import open_state
from envs.task import Goal, Task, Toolbox, ToolCall

TABLES, ROWS = 10, 200
TARGET_PER_S = 4_000.0


def desk_spec() -> EnvironmentSpec:
    """Ten tables of 200 tickets; each table has a read and a write."""
    columns = (
        Column(name="title", type="text"),
        Column(name="state", type="enum", values=("open", "closed")),
        Column(name="price_cents", type="cents"),
        Column(name="opened_on", type="date"),
    )
    names = [f"desk_{number}" for number in range(TABLES)]
    ticket = Parameter(name="ticket_id", type="string")
    tools: list[Tool] = []
    for name in names:
        found = Returns(sql=f"SELECT id, title, state, price_cents FROM {name} WHERE id = :ticket_id")
        tools.append(Tool(name=f"get_{name}", description="", parameters=(ticket,), returns=found))
        close = f"UPDATE {name} SET state = 'closed' WHERE id = :ticket_id"
        tools.append(Tool(name=f"close_{name}", description="", parameters=(ticket,), effects=(close,), returns=found))
    return EnvironmentSpec(
        domain="desk",
        title="A desk",
        policy="",
        tables=tuple(Table(name=name, id_prefix=f"T{number}", columns=columns) for number, name in enumerate(names)),
        rows={
            name: tuple(
                (f"T{number}-{row}", f"ticket {row}", "open", 100 * row, "2026-03-02") for row in range(1, ROWS + 1)
            )
            for number, name in enumerate(names)
        },
        tools=tuple(tools),
        clock="2026-03-02T09:00:00",
        seed=1,
    )


def desk_task(environment: Environment) -> Task:
    """Five calls: three reads, two writes."""
    tools = ("get_desk_0", "get_desk_1", "close_desk_1", "get_desk_2", "close_desk_2")
    golden = tuple(ToolCall(tool=tool, arguments={"ticket_id": f"T{tool[-1]}-7"}) for tool in tools)
    return Task(
        environment_id=environment.id,
        domain="desk",
        instruction="",
        golden=golden,
        golden_answer="",
        goal=Goal(changeset=environment.replay(golden).changeset),
        difficulty=len(golden),
        toolbox=Toolbox(tools=tools, call_prices_usd={}, input_usd_per_mtok=0.0, output_usd_per_mtok=0.0),
    )


def reload_and_hash(environment: Environment, task: Task) -> None:
    """The baseline episode: fresh copies of the database for the policy and the golden program, hashed whole."""
    hashes = []
    for _ in range(2):
        state = open_state(environment.base)
        state.begin()
        for call in task.golden:
            environment.tools[call.tool].invoke(state, call.arguments, environment.spec.clock)
        hashes.append(state.content_hash())
        state.close()
    assert hashes[0] == hashes[1]


def per_second(episode: Callable[[], object], seconds: float) -> float:
    """Episodes per second of processor time, so that a neighbour's load does not count as ours."""
    start, count = time.process_time(), 0
    while (elapsed := time.process_time() - start) < seconds:
        episode()
        count += 1
    return count / elapsed


def main(quick: Annotated[bool, typer.Option(help="A few seconds in all.")] = False) -> None:
    """Print episodes per second of the engine and of reloading, with the target."""
    environment = Environment.load(desk_spec())
    task = desk_task(environment)
    repeats, seconds = (3, 0.5) if quick else (7, 2.0)
    engine, baseline = [], []
    for _ in range(repeats):
        engine.append(per_second(lambda: environment.judge(task, task.golden, ""), seconds))
        baseline.append(per_second(lambda: reload_and_hash(environment, task), seconds))
    ours, theirs = statistics.median(engine), statistics.median(baseline)
    table = RichTable(title=f"{TABLES} tables × {ROWS} rows, five calls an episode, one core")
    for heading in ("scheme", "episodes/s"):
        table.add_column(heading)
    table.add_row("savepoints, changeset, rollback (ours)", f"{ours:,.0f}")
    table.add_row("reload and hash", f"{theirs:,.0f}")
    Console().print(table)
    print(f"load average {os.getloadavg()[0]:.1f}, median of {repeats}")
    for figure, value, unit, target in (
        ("envs_episodes_per_s", ours, "episodes/s", TARGET_PER_S),
        ("envs_episodes_speedup", ours / theirs, "x", 20.0),
    ):
        met = value >= target
        line = {"figure": figure, "value": round(value, 2), "unit": unit, "target": target, "better": "higher"}
        print(json.dumps({**line, "met": met}))


if __name__ == "__main__":
    typer.run(main)
