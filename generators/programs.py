"""Golden programs, sampled by executing tools: what cannot be executed never becomes a task.

A step reads a field, counts or adds up what a search finds, compares two rows, writes, first looks up the
row to write to by something else than its id, or finds that a request is not allowed. Nothing here knows a domain or
words a request.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from envs.environment import Environment
from envs.episode import Episode
from envs.spec import Tool
from envs.task import Fact, FactKind, ToolCall
from generators.arguments import Arguments, source
from generators.names import either, label, measure, measured, noun, plural, words
from generators.operations import Kind, Operation
from generators.phrases import answers, is_drawn, is_lookup
from generators.read_tools import DIFFERENCE
from generators.recompilation import operations_of, reader_of
from generators.steps import Step

ATTEMPTS = 12
MAX_FOUND = 6
EXTREMES = {"date": ("earliest", "latest"), "integer": ("lowest", "highest"), "cents": ("lowest", "highest")}
FACT_KINDS: dict[str, FactKind] = {
    "text": "text", "enum": "text", "integer": "integer", "cents": "cents", "boolean": "boolean", "date": "date",
    "datetime": "datetime", "real": "number",
}  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """Rows that a search finds, and how a user would say what was searched for."""

    table: str
    what: str
    """`pending order of customer C-7`."""
    search: ToolCall
    rows: list[dict[str, JsonValue]]
    named: bool
    """Whether it was searched by a name or an address, which only one is expected to have."""


@dataclass
class Sampler:
    """Draws executable steps in one environment."""

    environment: Environment
    rng: random.Random = field(init=False)
    uses: Counter[str] = field(init=False)
    arguments: Arguments = field(init=False)
    operations: Mapping[str, Operation] = field(init=False)

    def __post_init__(self) -> None:
        self.arguments = Arguments(self.environment)
        self.operations = self.arguments.operations

    def begin(self, seed: int, uses: Counter[str]) -> None:
        """Start a program: draws follow from `seed`, and tools that are in few programs so far are likelier."""
        self.rng, self.uses = random.Random(seed), uses
        self.arguments.begin(self.rng, seed)

    def step(self, kind: str, tools: list[Tool], done: Sequence[ToolCall]) -> Step | None:
        """A step of that kind that executes after the calls `done`, or None after a bounded number of attempts."""
        for _ in range(ATTEMPTS):
            tool = self.rng.choices(tools, [1 / (1 + self.uses[tool.name]) for tool in tools])[0]
            # An attempt that came to nothing may have changed rows: each begins in a state of its own.
            with self.environment.episode() as episode:
                for call in done:
                    episode.attempt(call)
                step = getattr(self, f"_{kind}")(tool, episode)
            if step is not None:
                return replace(step, cents_slots=self._amounts(tool))
        return None

    def _amounts(self, tool: Tool) -> frozenset[str]:
        """The parameters of a tool that take amounts of money."""
        sources = {parameter.name: source(parameter) for parameter in tool.parameters if parameter.source}
        return frozenset(
            name
            for name, (table, column) in sources.items()
            if column != "id" and self.environment.spec.table(table).column(column).type == "cents"
        )

    def _field(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self.arguments.call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, dict):
            return None
        table = self.environment.spec.table(self.operations[tool.name].table)
        # "What is the is-open?" is nobody's question.
        asked = [c for c in table.columns if not c.references and c.type != "boolean"]
        columns = [c for c in asked if result.value.get(c.name) is not None]
        if not columns:
            return None
        column = self.rng.choice(columns)
        what, value = measured(column), result.value[column.name]
        fact = Fact(label=f"{what} of {slots[tool.parameters[0].name]}", kind=FACT_KINDS[column.type], value=value)
        answer = f"{fact.label}: {say(fact)}."
        return Step("field", tool, (call,), {**slots, "field": what}, (fact,), answer, measure(column))

    def _count(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self.arguments.call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, list) or not 1 <= len(result.value) <= MAX_FOUND:
            return None
        what = words(plural(self.operations[tool.name].table))
        fact = Fact(label=f"number of {what}", kind="integer", value=len(result.value))
        return Step("count", tool, (call,), slots, (fact,), f"{fact.label}: {fact.value}.", "number")

    def _total(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self.arguments.call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, dict) or not result.value["sum_cents"]:
            return None
        what = words(plural(self.operations[tool.name].table))
        fact = Fact(label=f"sum of the {what}", kind="cents", value=result.value["sum_cents"])
        return Step("total", tool, (call,), slots, (fact,), f"{fact.label}: {say(fact)}.", "sum")

    def _compare(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self.arguments.call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, dict):
            return None
        operation = self.operations[tool.name]
        kind = self.environment.spec.table(operation.table).column(operation.column).type
        if not (difference := result.value[DIFFERENCE[kind]]):
            return None
        asked = f"difference in {label(operation.column)}"
        fact = Fact(label=asked, kind=FACT_KINDS[kind], value=difference)
        return Step("compare", tool, (call,), slots, (fact,), f"{fact.label}: {say(fact)}.", asked)

    def _own_answer(self, tool: Tool, episode: Episode) -> Step | None:
        """What a tool that a model wrote tells: one value, of the kind that it is."""
        call, slots = self.arguments.call(tool)
        result = episode.attempt(call)
        value = result.value
        if not result.ok or isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
            return None
        kind: FactKind = "text" if isinstance(value, str) else "number" if isinstance(value, float) else "integer"
        subject = slots[tool.parameters[0].name]
        asked = words(tool.name)
        fact = Fact(label=f"{asked} of {subject}", kind=kind, value=value)
        return Step("own_answer", tool, (call,), slots, (fact,), f"{fact.label}: {say(fact)}.", asked)

    def _write(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self.arguments.call(tool)
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        return Step("write", tool, (call,), slots)

    def _lookup_write(self, tool: Tool, episode: Episode) -> Step | None:
        """Find the row by something else first: `the only loan for member M-12`."""
        found = self._found(tool, episode)
        if found is None or len(found.rows) != 1:
            return None
        which = "the" if found.named else "the only"
        return self._write_to(tool, episode, found, found.rows[0], f"{which} {found.what}")

    def _extreme_write(self, tool: Tool, episode: Episode) -> Step | None:
        """Find the row as the latest or highest of several: `the loan for member M-12 that has the latest …`."""
        found = self._found(tool, episode)
        if found is None or not 2 <= len(found.rows) <= MAX_FOUND:
            return None
        table = self.environment.spec.table(found.table)
        columns = [c for c in table.columns if c.type in EXTREMES and c.name in found.rows[0]]
        if not columns:
            return None
        column, least = self.rng.choice(columns), self.rng.random() < 0.5
        values = sorted((row[column.name] for row in found.rows), reverse=not least)  # type: ignore[type-var]
        if values[0] == values[1]:
            return None
        row = next(row for row in found.rows if row[column.name] == values[0])
        word = EXTREMES[column.type][0 if least else 1]
        said = f"the {found.what} that has the {word} {measured(column)}"
        return self._write_to(tool, episode, found, row, said, kind="extreme_write")

    def _refusal(self, tool: Tool, episode: Episode) -> Step | None:
        """A request that the status of its row forbids: the right answer changes nothing and tells the status."""
        operation = self.operations[tool.name]
        reader = reader_of(self.operations, operation.table)
        call, slots = self.arguments.call(tool)
        if reader is None or episode.attempt(call).ok:
            return None
        identity = call.arguments[tool.parameters[0].name]
        look = ToolCall(tool=reader, arguments={f"{operation.table}_id": identity})
        seen = episode.attempt(look)
        if not seen.ok or not isinstance(seen.value, dict) or seen.value["status"] in operation.states:
            return None
        fact = Fact(label=f"status of {identity}", kind="text", value=seen.value["status"])
        allowed = either(operation.states)
        answer = f"That is not possible: {identity} is {say(fact)}, and it is allowed only while {allowed}."
        return Step("refusal", tool, (look,), slots, (fact,), answer, "status")

    def _found(self, tool: Tool, episode: Episode) -> "_Found | None":
        """What a search finds among which is the row that `tool` is to write to."""
        target = tool.parameters[0]
        table, column = source(target)
        finders = [
            other
            for other in self.environment.spec.tools
            if is_drawn(other, self.environment.spec)
            and self.operations[other.name].kind is Kind.FIND
            and self.operations[other.name].table == table
        ]
        if column != "id" or not finders:
            return None
        finder = self.rng.choice(finders)
        search, said = self.arguments.call(finder)
        result = episode.attempt(search)
        if not result.ok or not isinstance(result.value, list):
            return None
        rows = [row for row in result.value if isinstance(row, dict)]
        return _Found(table, found_by(table, finder, said), search, rows, is_lookup(finder))

    def _write_to(
        self,
        tool: Tool,
        episode: Episode,
        found: "_Found",
        row: dict[str, JsonValue],
        said: str,
        kind: str = "lookup_write",
    ) -> Step | None:
        target = tool.parameters[0]
        call, slots = self.arguments.call(tool, {target.name: str(row["id"])})
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        return Step(kind, tool, (found.search, call), {**slots, target.name: said}, row_slots=frozenset({target.name}))


def sort_tools(environment: Environment) -> dict[str, list[Tool]]:
    """Kind of step → the tools that can carry it. A kind no tool can carry is absent."""
    operations = operations_of(environment.spec)
    tools = [tool for tool in environment.spec.tools if is_drawn(tool, environment.spec)]

    def of_kind(kind: Kind) -> list[Tool]:
        return [tool for tool in tools if operations[tool.name].kind is kind]

    kinds = {
        "field": of_kind(Kind.READ),
        "count": [tool for tool in of_kind(Kind.FIND) if not is_lookup(tool)],
        "total": of_kind(Kind.TOTAL),
        "compare": of_kind(Kind.COMPARE),
        "own_answer": [t for t in tools if answers(t, environment.spec)],
        "write": [t for t in tools if t.writes],
        "lookup_write": [t for t in tools if t.writes and not t.mints and t.parameters],
        "extreme_write": [t for t in tools if t.writes and not t.mints and t.parameters],
        "refusal": [t for t in tools if operations[t.name].states],
    }
    return {kind: carriers for kind, carriers in kinds.items() if carriers}


def found_by(table: str, finder: Tool, said: Mapping[str, str]) -> str:
    """What a search finds, as a person speaks of it: `pending order for customer C-7`, `client named Ada Poe`."""
    before, after = [], []
    for parameter in finder.parameters:
        value, column = said[parameter.name], source(parameter)[1]
        if parameter.name == "status":
            before.append(value)
        elif column == "id":
            after.append(f"for {noun(parameter)} {value}")
        elif column in ("name", "title"):
            after.append(f"{'named' if column == 'name' else 'called'} {value}")
        else:
            after.append(f"with {noun(parameter)} {value}")
    return " ".join([*before, words(table), *after])


def say(fact: Fact) -> str:
    """A fact as an answer tells it."""
    if fact.kind == "boolean":
        return "yes" if fact.value else "no"
    if fact.kind == "cents":
        return f"{fact.value} cents"
    return str(fact.value).replace("_", " ") if fact.kind == "text" else str(fact.value)
