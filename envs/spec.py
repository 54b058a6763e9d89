"""What an environment is, as data: tables, rows, tools, policy and clock. `envs.environment` brings it to life.

A specification is plain JSON: a synthesiser writes it, a person reads it, `EnvironmentSpec.id` names it.
"""

from typing import Literal, TypeAlias

from pydantic import JsonValue, StrictBool, StrictFloat, StrictInt, StrictStr

from envs import display
from envs.display import Shown, count, one_line
from envs.record import Record

ColumnType: TypeAlias = Literal["text", "integer", "real", "boolean", "cents", "date", "datetime", "enum"]
ParameterType: TypeAlias = Literal["string", "integer", "number", "boolean"]


class Column(Record):
    """One column. Money is integer cents; dates are ISO text; an enum lists its values."""

    name: str
    type: ColumnType
    description: str = ""
    values: tuple[str, ...] = ()
    """The allowed values of an enum, in their natural order (for a status: the order of its life)."""
    references: str | None = None
    """`table` whose primary key this column holds."""
    nullable: StrictBool = False
    unique: StrictBool = False


class Table(Record):
    """One table. Its primary key is always the text column `id`, filled as `<id_prefix>-<number>`."""

    name: str
    id_prefix: str
    description: str = ""
    columns: tuple[Column, ...]
    """The columns after `id`."""
    full_text: tuple[str, ...] = ()
    """Columns to be searched by their words. SQL then has `<table>_fts`, joined by rowid, to be asked with
    `<table>_fts MATCH :query` and ranked by `bm25(<table>_fts)`; the table itself can no longer be written."""

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name}.{name}")


class Parameter(Record):
    """One argument of a tool, a subset of JSON Schema."""

    name: str
    type: ParameterType
    description: str = ""
    enum: tuple[str, ...] = ()
    minimum: StrictFloat | None = None
    maximum: StrictFloat | None = None
    format: Literal["date", "datetime", "query"] | None = None
    """A `query` is words, or phrases in double quotes, to search a full-text index for."""
    source: str | None = None
    """`table.column` whose values this argument takes: how programs are chained and mutants chosen."""


class Guard(Record):
    """A precondition. `sql` is one SELECT over the arguments; a first column that is not truthy stops the call."""

    sql: str
    message: str
    """What the caller reads; `{parameter}` stands for the argument."""


class Returns(Record):
    """What a tool answers: one SELECT, and what it stands for.

    `one` is a row as an object, `many` a list of the first 50 of them, `scalar` the only column of the only row.
    """

    sql: str
    shape: Literal["one", "many", "scalar"] = "one"


class Program(Record):
    """What a tool does where SQL alone cannot say it: Python, run in a sandbox (`envs.python_tools`).

    The parameters, `today` and `now` are its variables, `db_query(sql, params)` its way to the rows; one that writes
    also has `db_exec(sql, params)` and `new_id(table)`. It answers with the value it ends with or returns, and refuses
    a call with `raise ValueError("what to do differently")`.
    """

    code: str
    writes: StrictBool = False


class Tool(Record):
    """A tool, declared in SQL, or with a program where logic needs one.

    SQL binds `:parameter`, `:today`, `:now` and, when it mints, `:new_id`.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()
    guards: tuple[Guard, ...] = ()
    effects: tuple[str, ...] = ()
    """INSERT, UPDATE or DELETE statements, in order. A tool without effects is a read."""
    mints: str | None = None
    """The table whose next id the host mints and binds as `:new_id`."""
    returns: Returns | None = None
    """What the tool answers; None exactly where a program answers."""
    program: Program | None = None
    """Takes the place of `effects` and `returns`. Guards are asked before it."""

    @property
    def writes(self) -> bool:
        return bool(self.effects) or (self.program is not None and self.program.writes)

    @property
    def shape(self) -> Literal["one", "many", "scalar"] | None:
        """What the answer stands for; None for a program, which declares no shape."""
        return self.returns.shape if self.returns is not None else None


class Rule(Record):
    """A rule of the policy that the tool itself does not enforce: whoever calls must see to it."""

    tool: str
    sql: str
    """One SELECT over the tool's arguments, asked before a call; a first column that is not truthy breaks the rule."""
    text: str
    """The rule as the policy words it."""


class Constant(Record):
    """A number or word of the domain that SQL binds as `:name` and the policy tells, such as a limit or a fee."""

    name: str
    value: StrictStr | StrictInt | StrictFloat
    description: str
    """What it means, in one line of the policy."""


class Handmade(Record):
    """What the domain's own Python did for a specification, beside what follows from the brief."""

    source: str
    """The hash of that Python."""
    tools: tuple[str, ...] = ()
    """The tools it declared."""


class EnvironmentSpec(Shown, Record):
    """An environment as data: tables, rows, tools, policy and clock, closed over everything it needs.

    The same specification behaves the same on every machine, and `id` (32 hex digits) is the hash of its content.
    `Environment.load(spec)` compiles it. Raises pydantic's ValidationError for a field of the wrong type.
    """

    domain: str
    title: str
    policy: str
    """Markdown: the rules the orchestrator must follow."""
    tables: tuple[Table, ...]
    rows: dict[str, tuple[tuple[JsonValue, ...], ...]]
    """Per table its rows: `id`, then the columns in order."""
    tools: tuple[Tool, ...]
    rules: tuple[Rule, ...] = ()
    constants: tuple[Constant, ...] = ()
    clock: str
    """The frozen present, ISO 8601 without zone: `2026-03-02T09:00:00`."""
    seed: StrictInt
    made_from: tuple[str, ...] = ()
    """Ids of the LLM calls whose answers are in this specification."""
    handmade: Handmade | None = None
    proposed: tuple[str, ...] = ()
    """The tools whose SQL or Python a model wrote; all others follow from the tables or are the domain's own."""

    def table(self, name: str) -> Table:
        """The table of that name. Raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    def tool(self, name: str) -> Tool:
        """The tool of that name. Raises KeyError."""
        for tool in self.tools:
            if tool.name == name:
                return tool
        raise KeyError(name)

    def __repr__(self) -> str:
        rows = sum(len(rows) for rows in self.rows.values())
        counts = count(len(self.tables), "table"), count(rows, "row"), count(len(self.tools), "tool")
        return one_line("EnvironmentSpec", self.domain, self.title, *counts)

    def _repr_html_(self) -> str:
        tables = [
            (each.name, len(self.rows.get(each.name, ())), ", ".join(column.name for column in each.columns))
            for each in self.tables
        ]
        tools = [(tool.name, "yes" if tool.writes else "no", tool.description) for tool in self.tools]
        of_tools = display.table(f"Tools of {self.domain}", ("tool", "writes", "description"), tools)
        return display.table(repr(self), ("table", "rows", "columns"), tables) + of_tools
