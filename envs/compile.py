"""Everything that can be wrong with a specification, found before its first episode and named by its place.

Structure first (names, references, enums), then each tool's SQL, prepared under the seal that episodes run under, and
each program, read here and compiled in the sandbox it runs in.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable

from envs.cells import check_range, text_problem
from envs.errors import EnvironmentBroken, SpecError
from envs.program import GIVEN, ProgramRefused, read_program
from envs.python_tools import PythonBody
from envs.record import problems
from envs.schema import IDENTIFIER, quoted
from envs.search import MAX_WORDS, index_name, match_expression
from envs.spec import Column, EnvironmentSpec, Program, Rule, Table, Tool
from envs.state import State, Statement
from envs.statements import StatementRefused, check_statement
from envs.tools import CompiledTool, placeholders, value_problem

RESERVED = ("today", "now", "new_id")
"""Names the engine binds itself."""
_NO_SUCH = re.compile(r"no such (?:column|table): (?:\w+\.)?(\w+)")


def check_structure(spec: EnvironmentSpec) -> None:
    """Texts, numbers, names, references and enums of all but the rows. Raises SpecError."""
    for place, problem in problems(spec.model_dump(exclude={"rows"}), problem_of=text_problem):
        raise SpecError(place, problem, "Give a finite number up to 2**53 - 1, or Unicode text without NUL")
    if not spec.tables:
        raise SpecError("tables", "there is none", "Declare at least one table")
    _distinct("tables", (table.name for table in spec.tables), "name")
    _distinct("tables", (table.id_prefix for table in spec.tables), "id_prefix")
    _distinct("tools", (tool.name for tool in spec.tools), "name")
    _check_constants(spec)
    known = {table.name for table in spec.tables}
    for name in spec.rows:
        if name not in known:
            raise SpecError(f"rows.{name!a}", "there is no such table", f"Use one of {', '.join(sorted(known))}")
    for table in spec.tables:
        place = f"tables.{table.name}"
        _named(place, table.name)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", table.id_prefix):
            raise SpecError(f"{place}.id_prefix", f"{table.id_prefix!r} is no prefix", "Use letters, such as ORD")
        _distinct(f"{place}.columns", (column.name for column in table.columns), "name")
        for column in table.columns:
            _check_column(f"{place}.columns.{column.name}", column, known)
        for name in table.full_text:
            texts = [column.name for column in table.columns if column.type == "text" and not column.references]
            if name not in texts:
                raise SpecError(f"{place}.full_text", f"{name} is no text column", _did_you_mean(name, texts))
        if table.full_text and index_name(table.name) in known:
            raise SpecError(f"tables.{index_name(table.name)}", "is what an index is called", "Rename the table")


def _check_constants(spec: EnvironmentSpec) -> None:
    _distinct("constants", (constant.name for constant in spec.constants), "name")
    for constant in spec.constants:
        place = f"constants.{constant.name}"
        _named(place, constant.name)
        if constant.name in RESERVED:
            raise SpecError(place, "the engine binds this name itself", "Choose another name")
        if not constant.description.strip():
            raise SpecError(f"{place}.description", "it is empty", "Say what the constant means")
        taken = [tool.name for tool in spec.tools if constant.name in {p.name for p in tool.parameters}]
        if taken:
            raise SpecError(place, f"is also a parameter of {taken[0]}", "Rename one of them")


def compile_tool(tool: Tool, spec: EnvironmentSpec, state: State) -> CompiledTool:
    """Check a tool's declaration and prepare its SQL and program against the tables.

    Raises SpecError, and PythonToolsRefused for a program on a machine that cannot confine one.
    """
    place = f"tools.{tool.name}"
    _named(place, tool.name)
    _check_parameters(place, tool, spec)
    _check_kind(place, tool, state)
    guards = []
    for number, guard in enumerate(tool.guards):
        guard_place = f"{place}.guards[{number}]"
        guards.append(_check_sql(guard_place, guard.sql, tool, spec, state, may_write=False))
        unknown = set(placeholders(guard)) - {parameter.name for parameter in tool.parameters}
        if unknown:
            raise SpecError(f"{guard_place}.message", f"no parameter {min(unknown)}", "Name a parameter in the braces")
    if tool.program is not None:
        used = {name for guard in guards for name in guard.names_bound}
        return _compile_program(f"{place}.program", tool, tool.program, state, used)
    return _compile_sql(place, tool, spec, state, guards)


def check_rule(number: int, rule: Rule, spec: EnvironmentSpec, state: State) -> None:
    """Prepare a rule's SQL over the arguments of its tool. Raises SpecError."""
    place = f"rules[{number}]"
    names = [tool.name for tool in spec.tools]
    if rule.tool not in names:
        raise SpecError(f"{place}.tool", f"there is no tool {rule.tool}", _did_you_mean(rule.tool, names))
    if not rule.text.strip():
        raise SpecError(f"{place}.text", "it is empty", "Word the rule as the policy does")
    _check_sql(f"{place}.sql", rule.sql, spec.tool(rule.tool), spec, state, may_write=False)


def _compile_sql(place: str, tool: Tool, spec: EnvironmentSpec, state: State, guards: "list[_Checked]") -> CompiledTool:
    from envs.references import check_references
    from envs.sql_text import is_ordered

    used = {name for guard in guards for name in guard.names_bound}
    for number, effect in enumerate(tool.effects):
        used.update(_check_sql(f"{place}.effects[{number}]", effect, tool, spec, state, may_write=True).names_bound)
        check_references(f"{place}.effects[{number}]", effect, guards, spec)
    if tool.returns is None:
        raise SpecError(place, "it answers nothing", "Write `returns`, or a program")
    returns = _check_sql(f"{place}.returns", tool.returns.sql, tool, spec, state, may_write=False)
    used.update(returns.names_bound)
    names = tuple(name for name, _, _ in returns.columns)
    _distinct(f"{place}.returns", names, "column; give one of them another name with AS,")
    if tool.returns.shape == "scalar" and len(names) != 1:
        raise SpecError(f"{place}.returns", f"a scalar of {len(names)} columns", "Select one, or make it `one`")
    if tool.returns.shape == "many" and not is_ordered(tool.returns.sql):
        raise SpecError(f"{place}.returns", "many rows without an order", "Add ORDER BY with the id as the last key")
    _check_used(place, tool, used, "no SQL of the tool uses it")
    if tool.mints is not None and "new_id" not in used:
        raise SpecError(f"{place}.mints", "no SQL of the tool uses :new_id", "Bind it or remove `mints`")
    booleans = frozenset(
        position
        for position, (_, table, origin) in enumerate(returns.columns)
        if (table, origin) in state.base.booleans
    )
    constants = {constant.name: constant.value for constant in spec.constants}
    _try_search(f"{place}.returns", tool, returns, state, constants)
    return CompiledTool(
        tool=tool, result_columns=names, boolean_columns=booleans, constants=constants, queries=_queries(tool)
    )


def _try_search(
    place: str, tool: Tool, returns: Statement, state: State, constants: dict[str, str | int | float]
) -> None:
    """Search once: where bm25 or snippet cannot be computed shows only when a row is found."""
    if not (queries := _queries(tool)) or tool.returns is None:
        return
    state.begin_call()
    table = next(table for table in state.base.searched if index_name(table) in returns.reads)
    text = " ".join(map(str, next(iter(state.run(f"SELECT * FROM {quoted(table)}", {}, rows=1)), ("a",))))
    words = match_expression(" ".join(text.split()[:MAX_WORDS]))
    bindings = dict.fromkeys((parameter.name for parameter in tool.parameters), None)
    try:
        state.run(tool.returns.sql, {**constants, **bindings, **dict.fromkeys(queries, words)}, rows=1)
    except EnvironmentBroken as broken:
        raise SpecError(place, str(broken), "Use bm25 and snippet in the SELECT that has the MATCH") from broken


def _compile_program(place: str, tool: Tool, program: Program, state: State, used: set[str]) -> CompiledTool:
    try:
        text = read_program(program, tool.parameters)
    except ProgramRefused as refused:
        raise SpecError(place, refused.what, refused.remedy) from refused
    for literal in text.literals:
        statement = _statement(place, literal.sql, state, literal.may_write, where=f"line {literal.line}: ")
        unbound = {name for name in statement.names if name} - {*GIVEN, *(literal.bound or ())}
        if literal.bound is not None and unbound:
            what = f"line {literal.line}: binds :{min(unbound)}, which is not given"
            raise SpecError(place, what, "Give it in `params`")
    body = PythonBody(program=text, writes=program.writes)
    for line, what in body.check():
        raise SpecError(place, f"line {line}: {what}", "Correct the Python")
    _check_used(place.removesuffix(".program"), tool, used | text.names, "neither the program nor a guard uses it")
    return CompiledTool(tool=tool, body=body)


def _check_kind(place: str, tool: Tool, state: State) -> None:
    if tool.program is not None and (tool.effects or tool.returns is not None):
        what = "both a program and " + ("`effects`" if tool.effects else "`returns`")
        raise SpecError(place, what, "Leave one of them out: a program does and answers all by itself")
    if tool.program is not None and tool.mints is not None:
        raise SpecError(f"{place}.mints", "a program mints by itself", "Call new_id(table) and remove `mints`")
    if tool.mints is not None and tool.mints not in state.base.tables:
        raise SpecError(f"{place}.mints", f"no such table: {tool.mints}", f"Use one of {', '.join(state.base.tables)}")
    if tool.mints is not None and not tool.effects:
        raise SpecError(f"{place}.mints", "a read mints an id", "Add the INSERT to `effects` or remove `mints`")


def _check_used(place: str, tool: Tool, used: set[str], what: str) -> None:
    unused = [parameter.name for parameter in tool.parameters if parameter.name not in used]
    if unused:
        raise SpecError(f"{place}.parameters.{unused[0]}", what, "Bind it or remove it")


def _check_column(place: str, column: Column, tables: set[str]) -> None:
    _named(place, column.name)
    if column.name == "id":
        raise SpecError(place, "every table has `id` already", "Remove it")
    if column.name in ("rowid", "oid"):
        raise SpecError(place, "SQLite calls the place of a row by this name", "Rename it")
    _distinct(f"{place}.values", column.values, "value")
    if column.type == "enum" and not column.values:
        raise SpecError(place, "an enum without values", "List them in `values`")
    if column.type != "enum" and column.values:
        raise SpecError(place, f"`values` on a column of type {column.type}", "Make it an enum or remove `values`")
    if column.references is not None:
        if column.references not in tables:
            what = f"references {column.references}, which is not a table"
            raise SpecError(place, what, _did_you_mean(column.references, tables))
        if column.type != "text":
            raise SpecError(place, f"a reference of type {column.type}", "Ids are text: make it text")


def _check_parameters(place: str, tool: Tool, spec: EnvironmentSpec) -> None:
    _distinct(f"{place}.parameters", (parameter.name for parameter in tool.parameters), "name")
    for parameter in tool.parameters:
        where = f"{place}.parameters.{parameter.name}"
        _named(where, parameter.name)
        if parameter.name in RESERVED:
            raise SpecError(where, "the engine binds this name itself", "Choose another name")
        if (parameter.enum or parameter.format) and parameter.type != "string":
            raise SpecError(where, f"`enum` or `format` on a {parameter.type}", "Only a string has them")
        _distinct(f"{where}.enum", parameter.enum, "value")
        check_range(where, parameter)
        free = parameter.model_copy(update={"enum": ()})
        for value in parameter.enum:
            if problem := value_problem(free, value):
                raise SpecError(f"{where}.enum", f"{value[:40]!r}: a call's value {problem}", "Change it or remove it")
        if parameter.source is not None:
            table, _, column = parameter.source.partition(".")
            columns = {f"{t.name}.{name}" for t in spec.tables for name in _column_names(t)}
            if f"{table}.{column}" not in columns:
                what = f"source {parameter.source} is not a column"
                raise SpecError(where, what, _did_you_mean(parameter.source, columns))


class _Checked(Statement):
    @property
    def names_bound(self) -> set[str]:
        return {name for name in self.names if name is not None}


def _check_sql(place: str, sql: str, tool: Tool, spec: EnvironmentSpec, state: State, may_write: bool) -> _Checked:
    seen = _statement(place, sql, state, may_write, _queries(tool))
    allowed = {parameter.name for parameter in tool.parameters} | {"today", "now"}
    allowed |= {constant.name for constant in spec.constants}
    allowed |= {"new_id"} if tool.mints is not None else set()
    for name in seen.names:
        if name not in allowed:
            raise SpecError(place, f"binds :{name}, which is not declared", f"Use {', '.join(sorted(allowed))}")
    return _Checked(**vars(seen))


def _queries(tool: Tool) -> tuple[str, ...]:
    """The parameters that SQL matches with an index; a program is given their text as it came."""
    asked = (parameter.name for parameter in tool.parameters if parameter.format == "query")
    return tuple(asked) if tool.program is None else ()


def _statement(
    place: str, sql: str, state: State, may_write: bool, queries: tuple[str, ...] = (), where: str = ""
) -> Statement:
    try:
        return check_statement(sql, state, may_write, queries)
    except StatementRefused as refused:
        remedy = refused.remedy or _sql_remedy(refused.what, state)
        raise SpecError(place, where + refused.what, remedy) from refused


def _sql_remedy(what: str, state: State) -> str:
    missing = _NO_SUCH.search(what)
    if not missing:
        return "Correct the SQL"
    known = {name for names in state.base.columns.values() for name in names} | set(state.base.tables)
    return _did_you_mean(missing.group(1), known)


def _column_names(table: Table) -> list[str]:
    return ["id", *(column.name for column in table.columns)]


def _named(place: str, name: str) -> None:
    if not IDENTIFIER.fullmatch(name) or name.startswith("sqlite_"):
        rule = "at most 63 lower-case letters, digits and underscores, a letter first"
        raise SpecError(place, f"{name!r} is no name", f"Rename it: {rule}")


def _distinct(place: str, names: Iterable[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SpecError(place, f"{twice[0]!r} is there twice", f"Every {what} must differ")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(known))}"
