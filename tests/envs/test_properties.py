"""What holds for every specification and every program, tried on random ones."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from envs.environment import Environment
from envs.proof import prove
from envs.proof.alternatives import reordered_calls
from envs.proof.attempt import Subject
from envs.proof.states import StateTree
from envs.spec import Column, EnvironmentSpec, Guard, Parameter, Returns, Table, Tool
from envs.task import Task, ToolCall
from envs.verdict import Outcome
from tests.fixtures import make_task

WORDS = st.text(alphabet="abcdefghij ", min_size=1, max_size=12).map(str.strip).filter(bool)
DATES = st.dates().map(lambda day: day.isoformat()).filter(lambda text: text >= "1900")
VALUES: dict[str, st.SearchStrategy[JsonValue]] = {
    "text": WORDS,
    "integer": st.integers(-1000, 1000),
    "cents": st.integers(0, 10**6),
    "boolean": st.booleans(),
    "date": DATES,
    "enum": st.sampled_from(("open", "held", "closed")),
}
PARAMETERS = {"text": "string", "integer": "integer", "cents": "integer", "boolean": "boolean"}


def parameter_of(column: Column) -> Parameter:
    return Parameter(
        name=column.name,
        type=PARAMETERS.get(column.type, "string"),
        enum=column.values,
        format="date" if column.type == "date" else None,
    )


def tools_of(table: Table) -> list[Tool]:
    """Per table a read, a creation, a removal, and a setter per column."""
    key = Parameter(name="key", type="string", source=f"{table.name}.id")
    exists = Guard(sql=f"SELECT count(*) FROM {table.name} WHERE id = :key", message="there is no {key}")
    whole = Returns(sql=f"SELECT * FROM {table.name} WHERE id = :key")
    names = [column.name for column in table.columns]
    added = f"INSERT INTO {table.name} (id, {', '.join(names)}) VALUES (:new_id, {', '.join(f':{n}' for n in names)})"
    return [
        Tool(name=f"get_{table.name}", description="", parameters=(key,), returns=whole),
        Tool(
            name=f"add_{table.name}",
            description="",
            parameters=tuple(map(parameter_of, table.columns)),
            effects=(added,),
            mints=table.name,
            returns=Returns(sql=f"SELECT * FROM {table.name} WHERE id = :new_id"),
        ),
        Tool(
            name=f"remove_{table.name}",
            description="",
            parameters=(key,),
            guards=(exists,),
            effects=(f"DELETE FROM {table.name} WHERE id = :key",),
            returns=Returns(sql="SELECT 1 AS done"),
        ),
        *(
            Tool(
                name=f"set_{table.name}_{column.name}",
                description="",
                parameters=(key, parameter_of(column)),
                guards=(exists,),
                effects=(f"UPDATE {table.name} SET {column.name} = :{column.name} WHERE id = :key",),
                returns=whole,
            )
            for column in table.columns
        ),
    ]


@st.composite
def tables(draw: st.DrawFn, number: int) -> Table:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    columns = tuple(
        Column(name=f"c{place}", type=kind, values=("open", "held", "closed") if kind == "enum" else ())
        for place, kind in enumerate(kinds)
    )
    return Table(name=f"t{number}", id_prefix=f"T{number}", columns=columns)


@st.composite
def specs(draw: st.DrawFn) -> EnvironmentSpec:
    made = [draw(tables(number)) for number in range(draw(st.integers(1, 3)))]
    rows = {
        table.name: tuple(
            (f"{table.id_prefix}-{row}", *(draw(VALUES[column.type]) for column in table.columns))
            for row in range(1, draw(st.integers(1, 5)) + 1)
        )
        for table in made
    }
    return EnvironmentSpec(
        domain="random",
        title="Random",
        policy="",
        tables=tuple(made),
        rows=rows,
        tools=tuple(tool for table in made for tool in tools_of(table)),
        clock="2026-03-02T09:00:00",
        seed=0,
    )


@dataclass(frozen=True)
class World:
    environment: Environment
    program: tuple[ToolCall, ...]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """An environment and a program in it; some of its calls name rows that are not there."""
    environment = Environment.load(draw(specs()))
    calls = draw(st.lists(st.sampled_from(environment.spec.tools), min_size=1, max_size=6))
    return World(environment, tuple(draw(call_of(tool, environment.spec)) for tool in calls))


@st.composite
def call_of(draw: st.DrawFn, tool: Tool, spec: EnvironmentSpec) -> ToolCall:
    arguments: dict[str, JsonValue] = {}
    for parameter in tool.parameters:
        if parameter.source is not None:
            table = spec.table(parameter.source.partition(".")[0])
            arguments[parameter.name] = f"{table.id_prefix}-{draw(st.integers(1, 7))}"
        else:
            column = spec.table(tool.name.split("_")[1]).column(parameter.name)
            arguments[parameter.name] = draw(VALUES[column.type])
    return ToolCall(tool=tool.name, arguments=arguments)


def accepted_task(world: World) -> Task | None:
    """The program as a task that names every argument, if the proof accepts it."""
    said = "; ".join(
        f"{call.tool} " + ", ".join(f"{name} {_said(value)}" for name, value in call.arguments.items())
        for call in world.program
    )
    task = make_task(world.environment, f"Please do: {said}.", world.program)
    return task if prove(task, world.environment).accepted else None


def _said(value: JsonValue) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


few = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@few
@given(worlds())
def test_leaving_an_episode_restores_every_row(world: World) -> None:
    with world.environment.episode() as episode:
        before = episode.content_hash()
        for call in world.program:
            episode.attempt(call)
    with world.environment.episode() as episode:
        assert episode.content_hash() == before


@few
@given(worlds())
def test_a_program_does_the_same_each_time_and_with_rows_reversed(world: World) -> None:
    first = world.environment.replay(world.program)
    assert world.environment.replay(world.program) == first
    assert world.environment.replay(world.program, reverse_unordered_selects=True) == first
    assert Environment.load(world.environment.spec).replay(world.program) == first


@few
@given(worlds(), st.randoms())
def test_independent_calls_may_come_in_any_order(world: World, random) -> None:
    disjoint = first_call_per_row(world.program)
    shuffled = random.sample(disjoint, len(disjoint))
    assert world.environment.replay(shuffled).changeset == world.environment.replay(disjoint).changeset


def first_call_per_row(program: Sequence[ToolCall]) -> list[ToolCall]:
    """Calls that each name a row of their own, creations left out: their ids follow their order."""
    first: dict[tuple[str, str], ToolCall] = {}
    for call in program:
        if "key" in call.arguments:
            first.setdefault((call.tool.split("_")[1], str(call.arguments["key"])), call)
    return list(first.values())


@few
@given(worlds())
def test_a_refused_call_leaves_no_trace(world: World) -> None:
    results = world.environment.replay(world.program).results
    succeeded = [call for call, result in zip(world.program, results, strict=True) if result.ok]
    assert world.environment.replay(succeeded).changeset == world.environment.replay(world.program).changeset


@settings(few, max_examples=150)
@given(worlds())
def test_an_accepted_task_is_solved_by_its_golden_program_and_not_by_nothing(world: World) -> None:
    task = accepted_task(world)
    if task is None:
        return
    assert world.environment.judge(task, task.golden, task.golden_answer).outcome is Outcome.SOLVED
    assert world.environment.judge(task, (), "").outcome is Outcome.FAILED
    assert world.environment.judge(task, task.golden[:-1], task.golden_answer).outcome is Outcome.FAILED


@settings(few, max_examples=150)
@given(worlds())
def test_what_counts_as_independent_really_ends_alike_up_to_new_ids(world: World) -> None:
    task = make_task(world.environment, "", world.program)
    with closing(Subject(task, world.environment)) as subject:
        for other in reordered_calls(subject, Random(0)):
            kept = [change for change in subject.golden.changeset if change.operation != "insert"]
            reached = world.environment.replay(other.calls).changeset
            assert [change for change in reached if change.operation != "insert"] == kept
            assert len(reached) == len(subject.golden.changeset)


@settings(few, max_examples=100)
@given(worlds(), st.randoms())
def test_a_tree_of_states_answers_like_fresh_episodes(world: World, random) -> None:
    """In any order of programs that share calls, and of the states in between."""
    with closing(StateTree(world.environment)) as states:
        for _ in range(8):
            program = random.choices(world.program, k=random.randint(0, 6))
            assert states.replay(program) == world.environment.replay(program)
        state = states.after(world.program)
        assert states.changeset(state) == world.environment.replay(world.program).changeset
        assert states.changeset(states.root) == ()


def test_the_random_worlds_are_worth_something() -> None:
    """Guards the tests above against passing for lack of cases."""
    from hypothesis import find

    def interesting(world: World) -> bool:
        return len(world.program) > 1 and accepted_task(world) is not None

    assert find(worlds(), interesting, settings=settings(max_examples=2000))
