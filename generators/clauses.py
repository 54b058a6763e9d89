"""What tools are made of: parameters, guards and answers, in SQL compiled from tables and columns."""

from envs.schema import quoted
from envs.spec import Column, Guard, Parameter, ParameterType, Returns, Table
from generators.names import either, label, words
from generators.operations import Stock
from generators.quantities import quantity_of, scale, stock_of
from generators.tables import Schema

PARAMETER_TYPES: dict[str, ParameterType] = {"integer": "integer", "cents": "integer", "boolean": "boolean"}


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
        message=f"{words(table.name)} {{{table.name}_id}} cannot {what}: allowed only while {either(states)}",
    )


def stock_needed(target: Table, table: Table, schema: Schema) -> Stock | None:
    """What a new row of `table` takes from `target`; what names no quantity, such as a complaint, takes nothing."""
    stock, quantity = stock_of(target, schema.kinds), quantity_of(table)
    if stock is None or quantity is None:
        return None
    return Stock(table=target.name, column=stock.name, parameter=quantity.name)


def in_stock(stock: Stock) -> Guard:
    """That as much is left as a new row takes."""
    thing = words(stock.table)
    needed = f"the {label(stock.column)} of the {thing} is at least {{{stock.parameter}}}"
    return Guard(
        sql=f"SELECT {quoted(stock.column)} >= :{stock.parameter} FROM {quoted(stock.table)} "
        f"WHERE id = :{stock.table}_id",
        message=f"there is not enough left of {thing} {{{stock.table}_id}}: allowed only if {needed}",
    )


def whole_row(table: Table) -> Returns:
    """The row as an answer, with its id first."""
    names = listed(["id", *(column.name for column in table.columns)])
    return Returns(sql=f"SELECT {names} FROM {quoted(table.name)} WHERE id = :{table.name}_id")


def listed(names: list[str]) -> str:
    """SQL identifiers, separated by commas."""
    return ", ".join(map(quoted, names))
