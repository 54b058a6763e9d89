"""Arguments of calls that are sampled: drawn from where their parameters say they come from, with the user's words."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

from faker import Faker
from pydantic import JsonValue

from envs.environment import Environment
from envs.spec import Parameter, Tool
from envs.task import ToolCall
from generators.names import singular, words
from generators.operations import Kind
from generators.recompilation import operations_of
from generators.rows import fake_text

ROUND = 50
"""Cents: nobody transfers 164,733 of them."""


class Arguments:
    """Draws calls in one environment."""

    def __init__(self, environment: Environment) -> None:
        spec = environment.spec
        self.environment = environment
        self.operations = operations_of(spec)
        self.ids = {t.name: [str(row[0]) for row in spec.rows.get(t.name, ())] for t in spec.tables}
        self.today = datetime.fromisoformat(spec.clock).date()
        self.rng = random.Random(0)
        self.faker = Faker("en_US")

    def begin(self, rng: random.Random, seed: int) -> None:
        """Draw from `rng` from now on; invented texts follow from `seed`."""
        self.rng = rng
        self.faker.unique.clear()
        self.faker.seed_instance(seed)

    def call(self, tool: Tool, fixed: Mapping[str, JsonValue] | None = None) -> tuple[ToolCall, dict[str, str]]:
        """A call with arguments drawn for each parameter, and what the user says for each."""
        arguments: dict[str, JsonValue] = {}
        fixed = fixed or (self._of_some_row(tool) if self.operations[tool.name].kind is Kind.FIND else {})
        for parameter in tool.parameters:
            given = fixed.get(parameter.name)
            arguments[parameter.name] = given if given is not None else self._drawn(tool, parameter)
        slots = {p.name: _spoken(p, arguments[p.name]) for p in tool.parameters}
        return ToolCall(tool=tool.name, arguments=arguments), slots

    def _of_some_row(self, tool: Tool) -> dict[str, JsonValue]:
        """Arguments with which a search finds at least one row."""
        table = self.environment.spec.table(self.operations[tool.name].table)
        row = self.rng.choice(self.environment.spec.rows[table.name])
        values = dict(zip((column.name for column in table.columns), row[1:], strict=True))
        return {parameter.name: values[parameter.name] for parameter in tool.parameters if parameter.name in values}

    def _drawn(self, tool: Tool, parameter: Parameter) -> JsonValue:
        if parameter.enum:
            return self.rng.choice(parameter.enum)
        if parameter.type == "boolean":
            return self.rng.random() < 0.5
        if parameter.type == "integer":
            return self._number(parameter)
        if parameter.format == "date":
            return (self.today + timedelta(days=self.rng.randint(1, 60))).isoformat()
        table, column = source(parameter)
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
        table, column = source(parameter) if parameter.source else ("", "")
        is_money = False
        if column and column != "id":
            columns = self.environment.spec.table(table).columns
            position = [c.name for c in columns].index(column) + 1
            is_money = columns[position - 1].type == "cents"
            found = [value for row in self.environment.spec.rows[table] if isinstance(value := row[position], int)]
            least = int(parameter.minimum) if parameter.minimum is not None else min(found, default=low)
            low, high = max(min(found, default=low), least), min(max(found, default=high), high)
        last = words(column).split(" ")[-1]
        if last != singular(last):
            low = max(low, 2)  # "1 seats" is nobody's request
        number = self.rng.randint(low, max(low, high))
        return number - number % ROUND if is_money and number > ROUND else number


def _spoken(parameter: Parameter, value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ") if parameter.enum else str(value)


def source(parameter: Parameter) -> tuple[str, str]:
    """(table, column) of a parameter. Raises ValueError for a parameter that takes its values from nowhere."""
    if parameter.source is None:
        raise ValueError(f"parameter {parameter.name} has no source: a program cannot choose its argument")
    table, _, column = parameter.source.partition(".")
    return table, column
