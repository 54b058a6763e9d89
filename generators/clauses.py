"""What tools are made of: parameters, guards and answers, in SQL compiled from tables and columns."""

from envs.schema import quoted
from envs.spec import Column, Guard, Parameter, ParameterType, Returns, Table
from generators.names import either, label, words
from generators.quantities import quantity_of, scale, stock_of
from generators.tables import Schema

PARAMETER_TYPES: dict[str, ParameterType] = {"integer": "integer", "cents": "integer", "boolean": "boolean"}
ONLY_WHILE = ": allowed only while "
"""Before the states in the message of a guard on the state of a row; the policy reads its rules from there."""
ONLY_IF = ": allowed only if "
"""Before any other condition in the message of a guard; the policy reads it there too."""


def identity(table: Table) -> Parameter:
    """The argument that says which row."""
    return Parameter(
        name=f"{table.name}_id", type="string", description=f"{words(table.name)} id", source=f"{table.name}.id"
    )


def value_of(table: Table, column: Column) -> Parameter:
    """The argument that is a value of the column."""
    number = column.type in ("integer", "cents")
    low, high = (column.type == "integer" and scale(column)) or (1, 10_000_000 if column.type == "cents" else 3000)
    return Parameter(
        name=column.name,
        type=PARAMETER_TYPES.get(column.type, "string"),
        description=f"{label(column.name)} in cents" if column.type == "cents" else label(column.name),
        enum=column.values if column.type == "enum" else (),
        minimum=low if number else None,
        maximum=high if number else None,
        format="date" if column.type == "date" else None,
        source=f"{column.references}.id" if column.references else f"{table.name}.{column.name}",
    )


def exists(table: Table) -> Guard:
    """That there is such a row."""
    return Guard(
        sql=f"SELECT 1 FROM {quoted(table.name)} WHERE id = :{table.name}_id",
        message=f"there is no {words(table.name)} {{{table.name}_id}}",
    )


def in_state(table: Table, states: tuple[str, ...], what: str) -> Guard:
    """That the row is in one of these states; `what` completes `it cannot …`."""
    among = ", ".join(f"'{state}'" for state in states)
    return Guard(
        sql=f"SELECT status IN ({among}) FROM {quoted(table.name)} WHERE id = :{table.name}_id",
        message=f"{words(table.name)} {{{table.name}_id}} cannot {what}{ONLY_WHILE}{either(states)}",
    )


def in_stock(target: Table, table: Table, schema: Schema) -> tuple[Guard, ...]:
    """That as much is left as a new row takes; what names no quantity, such as a complaint, takes nothing."""
    stock, quantity = stock_of(target, schema.kinds), quantity_of(table)
    if stock is None or quantity is None:
        return ()
    enough = f"{quoted(stock.name)} >= :{quantity.name}"
    needed = f"the {label(stock.name)} of the {words(target.name)} is at least {{{quantity.name}}}"
    return (
        Guard(
            sql=f"SELECT {enough} FROM {quoted(target.name)} WHERE id = :{target.name}_id",
            message=f"there is not enough left of {words(target.name)} {{{target.name}_id}}{ONLY_IF}{needed}",
        ),
    )


def whole_row(table: Table) -> Returns:
    """The row as an answer, with its id first."""
    names = listed(["id", *(column.name for column in table.columns)])
    return Returns(sql=f"SELECT {names} FROM {quoted(table.name)} WHERE id = :{table.name}_id")


def listed(names: list[str]) -> str:
    """SQL identifiers, separated by commas."""
    return ", ".join(map(quoted, names))
