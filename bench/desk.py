"""The environment that the benchmarks of `envs` run in: ten tables of 200 rows, and an episode of five calls."""

import time
from collections.abc import Callable

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Parameter, Returns, Table, Tool
from envs.task import Goal, Task, Toolbox, ToolCall

TABLES, ROWS = 10, 200
SENTENCE = "The customer called again and asked for"


def desk_spec(notes: int = 0) -> EnvironmentSpec:
    """Ten tables of 200 tickets; each table has a read, a write of one row and a write of two.

    A ticket has four columns and so many notes, each a sentence; reads tell all of them.
    """
    said = [f"note_{number}" for number in range(notes)]
    columns = (
        Column(name="title", type="text"),
        Column(name="state", type="enum", values=("open", "closed")),
        Column(name="price_cents", type="cents"),
        Column(name="opened_on", type="date"),
        *(Column(name=name, type="text") for name in said),
    )
    names = [f"desk_{number}" for number in range(TABLES)]
    ticket = Parameter(name="ticket_id", type="string")
    other = Parameter(name="other_id", type="string")
    tools: list[Tool] = []
    for name in names:
        found = Returns(
            sql=f"SELECT {', '.join(['id', 'title', 'state', 'price_cents', *said])} FROM {name} WHERE id = :ticket_id"
        )
        close = f"UPDATE {name} SET state = 'closed' WHERE id = :ticket_id"
        raise_price = f"UPDATE {name} SET price_cents = price_cents + 1 WHERE id = :other_id"
        tools += [
            Tool(name=f"get_{name}", description="", parameters=(ticket,), returns=found),
            Tool(name=f"close_{name}", description="", parameters=(ticket,), effects=(close,), returns=found),
            Tool(
                name=f"close_and_raise_{name}",
                description="",
                parameters=(ticket, other),
                effects=(close, raise_price),
                returns=found,
            ),
        ]
    return EnvironmentSpec(
        domain="desk",
        title="A desk",
        policy="",
        tables=tuple(Table(name=name, id_prefix=f"T{number}", columns=columns) for number, name in enumerate(names)),
        rows={
            name: tuple(
                (
                    f"T{number}-{row}",
                    f"ticket {row}",
                    "open",
                    100 * row,
                    "2026-03-02",
                    *(f"{SENTENCE} {n}" for n in said),
                )
                for row in range(1, ROWS + 1)
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


def seconds_each(action: Callable[[], object], seconds: float) -> float:
    """Seconds of processor time that one call takes, so that a neighbour's load does not count as ours."""
    start, count = time.process_time(), 0
    while (elapsed := time.process_time() - start) < seconds:
        action()
        count += 1
    return elapsed / count
