"""Golden programs, sampled by executing tools: what cannot be executed never becomes a task.

A program is one or two steps. A step reads a field, counts what a search finds, writes, or first looks up the row to
write to by something else than its id. Nothing here knows a domain or words a request.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from faker import Faker
from pydantic import JsonValue

from envs.environment import Environment
from envs.episode import Episode
from envs.spec import Parameter, Tool
from envs.task import Fact, FactKind, ToolCall
from generators.phrases import is_lookup
from generators.rows import fake_text

ATTEMPTS = 12
MAX_FOUND = 6
FACT_KINDS: dict[str, FactKind] = {
    "text": "text", "enum": "text", "integer": "integer", "cents": "cents", "boolean": "boolean", "date": "date",
    "datetime": "datetime", "real": "number",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One request inside a program: its calls, the values of its wording, and the facts it asks for."""

    kind: str
    """`field`, `count`, `write` or `lookup_write`."""
    tool: Tool
    """The tool whose phrase patterns word this step."""
    calls: tuple[ToolCall, ...]
    slots: dict[str, str]
    """Placeholder → what the user says there."""
    facts: tuple[Fact, ...] = ()
    answer: str = ""


@dataclass
class Sampler:
    """Draws executable steps in one environment."""

    environment: Environment
    rng: random.Random
    faker: Faker = field(init=False)

    def __post_init__(self) -> None:
        self.faker = Faker("en_US")
        self.faker.seed_instance(self.rng.randrange(2**31))
        spec = self.environment.spec
        self.ids = {t.name: [str(row[0]) for row in spec.rows.get(t.name, ())] for t in spec.tables}
        self.today = datetime.fromisoformat(spec.clock).date()

    def step(self, kind: str, tools: list[Tool], episode: Episode) -> Step | None:
        """A step of that kind that executes in the state of `episode`, or None after a bounded number of attempts."""
        for _ in range(ATTEMPTS):
            tool = self.rng.choice(tools)
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
        columns = [c for c in table.columns if not c.references and result.value.get(c.name) is not None]
        if not columns:
            return None
        column = self.rng.choice(columns)
        label = column.name.removesuffix("_cents").replace("_", " ")
        value = result.value[column.name]
        fact = Fact(label=f"{label} of {slots[tool.parameters[0].name]}", kind=FACT_KINDS[column.type], value=value)
        return Step("field", tool, (call,), {**slots, "field": label}, (fact,), f"{fact.label}: {say(fact)}.")

    def _count(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        result = episode.attempt(call)
        if not result.ok or not isinstance(result.value, list) or not 1 <= len(result.value) <= MAX_FOUND:
            return None
        what = tool.name.removeprefix("find_").split("_by_")[0].replace("_", " ")
        fact = Fact(label=f"number of {what}", kind="integer", value=len(result.value))
        return Step("count", tool, (call,), slots, (fact,), f"{fact.label}: {fact.value}.")

    def _write(self, tool: Tool, episode: Episode) -> Step | None:
        call, slots = self._call(tool)
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        return Step("write", tool, (call,), slots)

    def _lookup_write(self, tool: Tool, episode: Episode) -> Step | None:
        """Find the row by something else first: `the only loan of member M-12`, `the member with the e-mail …`."""
        target = tool.parameters[0]
        table, column = _source(target)
        if column != "id":
            return None
        finders = [
            other
            for other in self.environment.spec.tools
            if not other.writes and other.returns and other.shape == "many" and f' "{table}" ' in other.returns.sql
        ]
        if not finders:
            return None
        finder = self.rng.choice(finders)
        search, said = self._call(finder)
        found = episode.attempt(search)
        if not found.ok or not isinstance(found.value, list) or len(found.value) != 1:
            return None
        call, slots = self._call(tool, {target.name: str(found.value[0]["id"])})  # type: ignore[index,call-overload]
        before = episode.changeset()
        if not episode.attempt(call).ok or episode.changeset() == before:
            return None
        by = finder.parameters[0]
        slots[target.name] = f"the only {table.replace('_', ' ')} with {by.description} {said[by.name]}"
        return Step("lookup_write", tool, (search, call), slots)

    def _call(self, tool: Tool, fixed: dict[str, str] | None = None) -> tuple[ToolCall, dict[str, str]]:
        """A call with arguments drawn for each parameter, and what the user says for each."""
        arguments: dict[str, JsonValue] = {}
        for parameter in tool.parameters:
            given = (fixed or {}).get(parameter.name)
            arguments[parameter.name] = given if given is not None else self._argument(tool, parameter)
        slots = {p.name: _spoken(p, arguments[p.name]) for p in tool.parameters}
        return ToolCall(tool=tool.name, arguments=arguments), slots

    def _argument(self, tool: Tool, parameter: Parameter) -> JsonValue:
        if parameter.enum:
            return self.rng.choice(parameter.enum)
        if parameter.type == "boolean":
            return self.rng.random() < 0.5
        if parameter.type == "integer":
            low, high = int(parameter.minimum or 1), int(parameter.maximum or 100)
            return self.rng.randint(low, min(high, 12))
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


def sort_tools(environment: Environment) -> dict[str, list[Tool]]:
    """Kind of step → the tools that can carry it. A kind no tool can carry is absent."""
    tools = environment.spec.tools
    kinds = {
        "field": [t for t in tools if not t.writes and t.shape == "one" and len(t.parameters) == 1],
        "count": [t for t in tools if not t.writes and t.shape == "many" and not is_lookup(t)],
        "write": [t for t in tools if t.writes],
        "lookup_write": [t for t in tools if t.writes and not t.mints and t.parameters],
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


def _source(parameter: Parameter) -> tuple[str, str]:
    """(table, column) of a parameter. Raises ValueError for a parameter that takes its values from nowhere."""
    if parameter.source is None:
        raise ValueError(f"parameter {parameter.name} has no source: a program cannot choose its argument")
    table, _, column = parameter.source.partition(".")
    return table, column
