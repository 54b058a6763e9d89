"""Golden programs, sampled by executing tools: what cannot be executed never becomes a task.

A program is one to three steps. A step reads a field, counts or adds up what a search finds, writes, first looks up the
row to write to by something else than its id, or finds that a request is not allowed. Nothing here knows a domain or
words a request.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from faker import Faker
from pydantic import JsonValue

from envs.environment import Environment
from envs.episode import Episode
from envs.spec import Parameter, Tool
from envs.task import Fact, FactKind, ToolCall
from generators.clauses import ONLY_WHILE
from generators.phrases import is_drawn, is_lookup
from generators.rows import fake_text
from generators.tools import FIND, TOTAL, label

ATTEMPTS = 12
MAX_FOUND = 6
EXTREMES = {"date": ("earliest", "latest"), "integer": ("lowest", "highest"), "cents": ("lowest", "highest")}
FACT_KINDS: dict[str, FactKind] = {
    "text": "text", "enum": "text", "integer": "integer", "cents": "cents", "boolean": "boolean", "date": "date",
    "datetime": "datetime", "real": "number",
}  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """A sentence that an evolution adds to a step: what for, and the values of its placeholders."""

    purpose: str
    slots: dict[str, str]


@dataclass(frozen=True)
class Step:
    """One request inside a program: its calls, the values of its wording, and the facts it asks for."""

    kind: str
    """`field`, `count`, `total`, `write`, `lookup_write`, `extreme_write` or `refusal`."""
    tool: Tool
    """The tool whose phrase patterns word this step."""
    calls: tuple[ToolCall, ...]
    slots: dict[str, str]
    """Placeholder → what the user says there."""
    facts: tuple[Fact, ...] = ()
    answer: str = ""
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True)
class _Found:
    """Rows that a search finds, and how a user would say what was searched for."""

    table: str
    what: str
    said: str
    search: ToolCall
    rows: list[dict[str, JsonValue]]


@dataclass
class Sampler:
    """Draws executable steps in one environment."""

    environment: Environment
    rng: random.Random = field(init=False)
    uses: Counter[str] = field(init=False)
    faker: Faker = field(default_factory=lambda: Faker("en_US"))

    def __post_init__(self) -> None:
        spec = self.environment.spec
        self.ids = {t.name: [str(row[0]) for row in spec.rows.get(t.name, ())] for t in spec.tables}
        self.today = datetime.fromisoformat(spec.clock).date()

    def begin(self, seed: int, uses: Counter[str]) -> None:
        """Start a program: draws follow from `seed`, and tools that are in few programs so far are likelier."""
        self.rng = random.Random(seed)
        self.faker.unique.clear()
        self.faker.seed_instance(seed)
        self.uses = uses

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
                return step
        return None

    def _field(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, dict):
            return None
        table = self.environment.spec.table(_source(tool.parameters[0])[0])
        # "What is the is-open?" is nobody's question.
        asked = [c for c in table.columns if not c.references and c.type != "boolean"]
        columns = [c for c in asked if result.value.get(c.name) is not None]
        if not columns:
            return None
        column = self.rng.choice(columns)
        what, value = label(column.name), result.value[column.name]
        fact = Fact(label=f"{what} of {slots[tool.parameters[0].name]}", kind=FACT_KINDS[column.type], value=value)
        return Step("field", tool, (call,), {**slots, "field": what}, (fact,), f"{fact.label}: {say(fact)}.")

    def _count(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, list) or not 1 <= len(result.value) <= MAX_FOUND:
            return None
        what = tool.name.removeprefix(FIND).split("_by_")[0].replace("_", " ")
        fact = Fact(label=f"number of {what}", kind="integer", value=len(result.value))
        return Step("count", tool, (call,), slots, (fact,), f"{fact.label}: {fact.value}.")

    def _total(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, dict) or not result.value["sum_cents"]:
            return None
        what = tool.name.removeprefix(TOTAL).split("_by_")[0].replace("_", " ")
        fact = Fact(label=f"sum of the {what}", kind="cents", value=result.value["sum_cents"])
        return Step("total", tool, (call,), slots, (fact,), f"{fact.label}: {say(fact)}.")

    def _write(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        return Step("write", tool, (call,), slots)

    def _lookup_write(self, tool: Tool, episode: Episode) -> Step | None:
        """Find the row by something else first: `the only loan with member M-12`."""
        found = self._found(tool, episode)
        if found is None or len(found.rows) != 1:
            return None
        return self._write_to(tool, episode, found, found.rows[0], f"the only {found.what} with {found.said}")

    def _extreme_write(self, tool: Tool, episode: Episode) -> Step | None:
        """Find the row as the latest or highest of several: `the loan with member M-12 that has the latest …`."""
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
        said = f"the {found.what} with {found.said} that has the {word} {label(column.name)}"
        return self._write_to(tool, episode, found, row, said, kind="extreme_write")

    def _refusal(self, tool: Tool, episode: Episode) -> Step | None:
        """A request that the status of its row forbids: the right answer changes nothing and tells the status."""
        table, _ = _source(tool.parameters[0])
        call, slots = self._call(tool)
        refused = episode.attempt(call)
        if refused.ok or ONLY_WHILE not in (refused.error or ""):
            return None
        identity = call.arguments[tool.parameters[0].name]
        look = ToolCall(tool=f"get_{table}", arguments={f"{table}_id": identity})
        seen = episode.attempt(look)
        if not seen.ok or not isinstance(seen.value, dict):
            return None
        fact = Fact(label=f"status of {identity}", kind="text", value=seen.value["status"])
        allowed = (refused.error or "").split(ONLY_WHILE)[1]
        answer = f"That is not possible: {identity} is {say(fact)}, and it is allowed only while {allowed}."
        return Step("refusal", tool, (look,), slots, (fact,), answer)

    def _found(self, tool: Tool, episode: Episode) -> "_Found | None":
        """What a search finds among which is the row that `tool` is to write to."""
        target = tool.parameters[0]
        table, column = _source(target)
        finders = [
            other
            for other in self.environment.spec.tools
            if is_drawn(other, self.environment.spec)
            and not other.writes
            and other.shape == "many"
            and _searched(other) == table
        ]
        if column != "id" or not finders:
            return None
        finder = self.rng.choice(finders)
        search, said = self._call(finder)
        result = episode.attempt(search)
        if not result.ok or not isinstance(result.value, list):
            return None
        rows = [row for row in result.value if isinstance(row, dict)]
        by = " and ".join(f"{parameter.description} {said[parameter.name]}" for parameter in finder.parameters)
        return _Found(table, table.replace("_", " "), by, search, rows)

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
        call, slots = self._call(tool, {target.name: str(row["id"])})
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        return Step(kind, tool, (found.search, call), {**slots, target.name: said})

    def _of_some_row(self, tool: Tool) -> dict[str, JsonValue]:
        """Arguments with which a search finds at least one row."""
        table = self.environment.spec.table(_searched(tool))
        row = self.rng.choice(self.environment.spec.rows[table.name])
        values = dict(zip((column.name for column in table.columns), row[1:], strict=True))
        return {parameter.name: values[parameter.name] for parameter in tool.parameters if parameter.name in values}

    def _call(self, tool: Tool, fixed: Mapping[str, JsonValue] | None = None) -> tuple[ToolCall, dict[str, str]]:
        """A call with arguments drawn for each parameter, and what the user says for each."""
        arguments: dict[str, JsonValue] = {}
        fixed = fixed or (self._of_some_row(tool) if tool.shape == "many" else {})
        for parameter in tool.parameters:
            given = fixed.get(parameter.name)
            arguments[parameter.name] = given if given is not None else self._argument(tool, parameter)
        slots = {p.name: _spoken(p, arguments[p.name]) for p in tool.parameters}
        return ToolCall(tool=tool.name, arguments=arguments), slots

    def _argument(self, tool: Tool, parameter: Parameter) -> JsonValue:
        if parameter.enum:
            return self.rng.choice(parameter.enum)
        if parameter.type == "boolean":
            return self.rng.random() < 0.5
        if parameter.type == "integer":
            return self._number(parameter)
        if parameter.format == "date":
            return (self.today + timedelta(days=self.rng.randint(1, 60))).isoformat()
        table, column = _source(parameter)
        if column == "id":
            return self.rng.choice(self.ids[table])
        if tool.writes:
            return fake_text(self.faker, column)
        rows = self.environment.spec.rows[table]
        position = [c.name for c in self.environment.spec.table(table).columns].index(column) + 1
        return self.rng.choice(rows)[position]

    def _number(self, parameter: Parameter) -> int:
        """A number as they stand in the rows: an altitude is no quantity."""
        low, high = int(parameter.minimum or 1), int(parameter.maximum or 100)
        table, _, column = (parameter.source or "").partition(".")
        if column and column != "id":
            position = [c.name for c in self.environment.spec.table(table).columns].index(column) + 1
            found = [value for row in self.environment.spec.rows[table] if isinstance(value := row[position], int)]
            least = int(parameter.minimum) if parameter.minimum is not None else min(found, default=low)
            low, high = max(min(found, default=low), least), min(max(found, default=high), high)
        return self.rng.randint(low, max(low, high))


def sort_tools(environment: Environment) -> dict[str, list[Tool]]:
    """Kind of step → the tools that can carry it. A kind no tool can carry is absent."""
    tools = [tool for tool in environment.spec.tools if is_drawn(tool, environment.spec)]
    kinds = {
        "field": [t for t in tools if not t.writes and t.name.startswith("get_")],
        "count": [t for t in tools if not t.writes and t.shape == "many" and not is_lookup(t)],
        "total": [t for t in tools if not t.writes and t.name.startswith(TOTAL)],
        "write": [t for t in tools if t.writes],
        "lookup_write": [t for t in tools if t.writes and not t.mints and t.parameters],
        "extreme_write": [t for t in tools if t.writes and not t.mints and t.parameters],
        "refusal": [t for t in tools if any(ONLY_WHILE in guard.message for guard in t.guards)],
    }
    return {kind: carriers for kind, carriers in kinds.items() if carriers}


def say(fact: Fact) -> str:
    """A fact as an answer tells it."""
    if fact.kind == "boolean":
        return "yes" if fact.value else "no"
    if fact.kind == "cents":
        return f"{fact.value} cents"
    return str(fact.value).replace("_", " ") if fact.kind == "text" else str(fact.value)


def _spoken(parameter: Parameter, value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ") if parameter.enum else str(value)


def _searched(tool: Tool) -> str:
    """The table that a search looks through."""
    found = re.search(r'\bFROM "?(\w+)', tool.returns.sql if tool.returns else "")
    return found.group(1) if found else ""


def _source(parameter: Parameter) -> tuple[str, str]:
    """(table, column) of a parameter. Raises ValueError for a parameter that takes its values from nowhere."""
    if parameter.source is None:
        raise ValueError(f"parameter {parameter.name} has no source: a program cannot choose its argument")
    table, _, column = parameter.source.partition(".")
    return table, column
