"""Tools that read: one row, a search, a sum, a comparison."""

from envs.schema import quoted
from envs.spec import Column, Guard, Returns, Table, Tool
from generators.clauses import exists, identity, listed, value_of, whole_row
from generators.lifecycles import status_of
from generators.names import label, plural, words
from generators.operations import Compiled, Kind, Operation
from generators.tables import Schema

LISTED_COLUMNS = 5
DIFFERENCE = {"cents": "difference_cents", "integer": "difference"}
"""By the type of what is compared: the name under which a comparison tells how far two rows are apart."""


def get(table: Table) -> Compiled:
    """Read one row by its id."""
    tool = Tool(
        name=f"get_{table.name}",
        description=f"Read one {words(table.name)}.",
        parameters=(identity(table),),
        guards=(exists(table),),
        returns=whole_row(table),
    )
    return Compiled(tool, Operation(kind=Kind.READ, table=table.name))


def searches_and_sums(table: Table) -> list[Compiled]:
    """Searches by one column, search by owner and status, total over an owner's rows."""
    searches = [_find(table, (column,)) for column in table.columns if _findable(column)]
    owner = next((column for column in table.columns if column.references), None)
    if owner is None:
        return searches
    status = status_of(table)
    amount = next((column for column in table.columns if column.type == "cents"), None)
    return [
        *searches,
        *([_find(table, (owner, status))] if status else []),
        *([_total(table, owner, amount)] if amount else []),
    ]


def _find(table: Table, columns: tuple[Column, ...]) -> Compiled:
    """A search by the values of these columns; what is searched by is not shown again."""
    plain = [column.name.removesuffix("_id") for column in columns]
    searched = {column.name for column in columns}
    shown = ["id", *(c.name for c in table.columns if c.name not in searched)][:LISTED_COLUMNS]
    parameters = tuple(value_of(table, column) for column in columns)
    where = " AND ".join(f"{quoted(c.name)} = :{p.name}" for c, p in zip(columns, parameters, strict=True))
    tool = Tool(
        name=f"find_{plural(table.name)}_by_{'_and_'.join(plain)}",
        description=f"List the {words(plural(table.name))} with this {' and this '.join(map(words, plain))}.",
        parameters=parameters,
        returns=Returns(
            sql=f"SELECT {listed(shown)} FROM {quoted(table.name)} WHERE {where} ORDER BY id", shape="many"
        ),
    )
    return Compiled(tool, Operation(kind=Kind.FIND, table=table.name, by=tuple(column.name for column in columns)))


def _findable(column: Column) -> bool:
    return bool(column.references) or column.type == "enum" or column.name in ("email", "name", "title", "full_name")


def _total(table: Table, owner: Column, amount: Column) -> Compiled:
    parameter = value_of(table, owner)
    several, whose = plural(table.name), words(owner.name.removesuffix("_id"))
    tool = Tool(
        name=f"total_{several}_by_{owner.name.removesuffix('_id')}",
        description=f"Add up the {label(amount.name)} of all {words(several)} with this {whose}.",
        parameters=(parameter,),
        returns=Returns(
            sql=f"SELECT count(*) AS {quoted(several)}, coalesce(sum({quoted(amount.name)}), 0) AS sum_cents "
            f"FROM {quoted(table.name)} WHERE {quoted(owner.name)} = :{parameter.name}"
        ),
    )
    return Compiled(tool, Operation(kind=Kind.TOTAL, table=table.name, column=amount.name, by=(owner.name,)))


def comparison(schema: Schema) -> list[Compiled]:
    """How far two rows are apart in an amount: of what is offered rather than of what is recorded, of money first."""
    offered = sorted(schema.tables, key=lambda table: any(column.references for column in table.columns))
    return [
        compare(table, column)
        for kind in DIFFERENCE
        for table in offered
        for column in table.columns
        if column.type == kind and not column.nullable
    ][:1]


def compare(table: Table, column: Column) -> Compiled:
    """How far two rows are apart in one column."""
    one, what, several = identity(table), label(column.name), words(plural(table.name))
    other = one.model_copy(update={"name": f"other_{one.name}", "description": f"other {one.description}"})
    name, kept = quoted(column.name), quoted(table.name)
    tool = Tool(
        name=f"compare_{plural(table.name)}_by_{column.name.removesuffix('_cents')}",
        description=f"Compare the {what} of two {several}.",
        parameters=(one, other),
        guards=(
            exists(table),
            Guard(
                sql=f"SELECT 1 FROM {kept} WHERE id = :{other.name}",
                message=f"there is no {words(table.name)} {{{other.name}}}",
            ),
            Guard(sql=f"SELECT :{one.name} <> :{other.name}", message=f"these are not two {several}"),
        ),
        returns=Returns(
            sql=f"SELECT CASE WHEN a.{name} > b.{name} THEN a.id WHEN a.{name} < b.{name} THEN b.id END AS higher, "
            f"abs(a.{name} - b.{name}) AS {DIFFERENCE[column.type]} "
            f"FROM {kept} AS a, {kept} AS b WHERE a.id = :{one.name} AND b.id = :{other.name}"
        ),
    )
    return Compiled(tool, Operation(kind=Kind.COMPARE, table=table.name, column=column.name))
