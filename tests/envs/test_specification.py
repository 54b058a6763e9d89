"""A wrong specification is refused before its first episode, with its place, what is wrong, and a remedy."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from envs.environment import Environment
from envs.errors import SpecError
from envs.spec import Column, Constant, EnvironmentSpec, Guard, Parameter, Returns, Rule, Table, Tool
from tests.fixtures import shop_spec

ORDER_ID = Parameter(name="order_id", type="string")
ONE = Returns(sql="SELECT id FROM orders WHERE id = :order_id")


def with_tool(**fields: object) -> EnvironmentSpec:
    """The shop with one more tool, `extra`."""
    tool = Tool.model_validate(
        {"name": "extra", "description": "", "parameters": (ORDER_ID,), "returns": ONE, **fields}
    )
    return shop_spec(tools=(*shop_spec().tools, tool))


def with_column(**fields: object) -> EnvironmentSpec:
    """The shop with one more, empty table, `notes`, of one column, `body`."""
    column = Column.model_validate({"name": "body", "type": "text", **fields})
    return shop_spec(tables=(*shop_spec().tables, Table(name="notes", id_prefix="NOT", columns=(column,))))


def with_row(table: str, *row: JsonValue) -> EnvironmentSpec:
    """The shop with one more row."""
    rows = shop_spec().rows
    return shop_spec(rows={**rows, table: (*rows[table], row)})


WRONG: dict[str, tuple[Callable[[], EnvironmentSpec], str, str]] = {
    "unknown column": (
        lambda: with_tool(effects=("UPDATE orders SET stauts = 'paid' WHERE id = :order_id",)),
        "tools.extra.effects[0]",
        "no such column: stauts. Did you mean status?",
    ),
    "unknown table": (
        lambda: with_tool(returns=Returns(sql="SELECT id FROM order_lines WHERE id = :order_id")),
        "tools.extra.returns",
        "no such table: order_lines",
    ),
    "undeclared name": (
        lambda: with_tool(guards=(Guard(sql="SELECT :customer", message=""),)),
        "tools.extra.guards[0]",
        "binds :customer",
    ),
    "unused parameter": (
        lambda: with_tool(parameters=(ORDER_ID, Parameter(name="reason", type="string"))),
        "tools.extra.parameters.reason",
        "no SQL of the tool uses it",
    ),
    "message names nothing": (
        lambda: with_tool(guards=(Guard(sql="SELECT :order_id", message="{order}"),)),
        "tools.extra.guards[0].message",
        "no parameter order",
    ),
    "many without order": (
        lambda: with_tool(returns=Returns(sql="SELECT id FROM orders WHERE id > :order_id", shape="many")),
        "tools.extra.returns",
        "Add ORDER BY",
    ),
    "order only inside": (
        lambda: with_tool(
            returns=Returns(sql="SELECT id FROM (SELECT id FROM orders ORDER BY id) WHERE id > :order_id", shape="many")
        ),
        "tools.extra.returns",
        "Add ORDER BY",
    ),
    "write in a guard": (
        lambda: with_tool(guards=(Guard(sql="DELETE FROM orders WHERE id = :order_id", message=""),)),
        "tools.extra.guards[0]",
        "only a SELECT",
    ),
    "write in returns": (
        lambda: with_tool(returns=Returns(sql="DELETE FROM orders WHERE id = :order_id RETURNING id")),
        "tools.extra.returns",
        "only a SELECT",
    ),
    "read as effect": (
        lambda: with_tool(effects=("SELECT id FROM orders",)),
        "tools.extra.effects[0]",
        "an effect that changes nothing",
    ),
    "column twice": (
        lambda: with_tool(returns=Returns(sql="SELECT id, id FROM orders WHERE id = :order_id")),
        "tools.extra.returns",
        "'id' is there twice",
    ),
    "tool twice": (lambda: shop_spec(tools=shop_spec().tools * 2), "tools", "is there twice"),
    "mints and does not use it": (
        lambda: with_tool(mints="orders", effects=("DELETE FROM orders WHERE id = :order_id",)),
        "tools.extra.mints",
        ":new_id",
    ),
    "mints in a read": (lambda: with_tool(mints="orders"), "tools.extra.mints", "a read mints an id"),
    "mints elsewhere": (lambda: with_tool(mints="order_lines"), "tools.extra.mints", "no such table"),
    "unknown source": (
        lambda: with_tool(parameters=(Parameter(name="order_id", type="string", source="orders.key"),)),
        "tools.extra.parameters.order_id",
        "orders.key is not a column",
    ),
    "reserved parameter": (
        lambda: with_tool(parameters=(Parameter(name="today", type="string"),)),
        "tools.extra.parameters.today",
        "the engine binds this name",
    ),
    "unknown reference": (
        lambda: with_column(references="customer"),
        "tables.notes.columns.body",
        "Did you mean customers?",
    ),
    "empty enum": (lambda: with_column(type="enum"), "tables.notes.columns.body", "an enum without values"),
    "column named id": (lambda: with_column(name="id"), "tables.notes.columns.id", "has `id` already"),
    "row too short": (lambda: with_row("customers", "CUS-9"), "rows.customers[3]", "1 values for 4 columns"),
    "row refers to nothing": (
        lambda: with_row("orders", "ORD-9", "CUS-77", "PRD-1", 1, "paid", "2026-03-01"),
        "rows.orders[5].customer_id",
        "a row of customers that does not exist",
    ),
    "row of another type": (
        lambda: with_row("products", "PRD-9", "Stool", "cheap", 1, True),
        "rows.products[4].price_cents",
        "is 'cheap', and the column holds integers",
    ),
    "row with another status": (
        lambda: with_row("orders", "ORD-9", "CUS-1", "PRD-1", 1, "lost", "2026-03-01"),
        "rows.orders[5].status",
        "is 'lost', which is not allowed. Use one of",
    ),
    "row with no such day": (
        lambda: with_row("orders", "ORD-9", "CUS-1", "PRD-1", 1, "paid", "2026-02-30"),
        "rows.orders[5].placed_on",
        "is '2026-02-30', which is no day of the calendar",
    ),
    "row twice": (
        lambda: with_row("customers", "CUS-1", "A", "a@b.c", "X"),
        "rows.customers[3].id",
        "already has this id",
    ),
    "clock": (lambda: shop_spec(clock="Monday"), "clock", "is no instant"),
    "clock without a time": (lambda: shop_spec(clock="2026-03-02"), "clock", "is no instant"),
    "clock with a zone": (lambda: shop_spec(clock="2026-03-02T09:00:00+01:00"), "clock", "is no instant"),
    "clock on no day": (lambda: shop_spec(clock="2026-02-30T09:00:00"), "clock", "is no instant"),
    "clock at hour 24": (lambda: shop_spec(clock="2026-03-02T24:00:00"), "clock", "is no instant"),
    "clock at the end of time": (lambda: shop_spec(clock="9999-12-31T23:59:59"), "clock", "leaves no room"),
    "seed": (lambda: shop_spec(seed=2**53), "seed", "integer beyond 2**53 - 1"),
    "half a letter in the policy": (lambda: shop_spec(policy="a\ud800"), "policy", "surrogate without its pair"),
    "half a letter in a description": (
        lambda: with_tool(description="\udfff"),
        "tools.extra.description",
        "surrogate without its pair",
    ),
    "NUL in a message": (
        lambda: with_tool(guards=(Guard(sql="SELECT :order_id", message="\x00"),)),
        "tools.extra.guards[0].message",
        "holds NUL",
    ),
    "NUL in an enum": (
        lambda: with_column(type="enum", values=("a\x00b",)),
        "tables.notes.columns.body.values[0]",
        "holds NUL",
    ),
    "enum value twice": (
        lambda: with_column(type="enum", values=("a", "a")),
        "tables.notes.columns.body.values",
        "'a' is there twice",
    ),
    "endless bound": (
        lambda: with_tool(parameters=(Parameter(name="order_id", type="number", maximum=float("inf")),)),
        "tools.extra.parameters.order_id.maximum",
        "is inf, which is not JSON",
    ),
    "bounds that nothing meets": (
        lambda: with_tool(parameters=(Parameter(name="order_id", type="integer", minimum=2, maximum=1),)),
        "tools.extra.parameters.order_id",
        "no integer is at least 2 and at most 1",
    ),
    "constant beyond JSON": (
        lambda: shop_spec(constants=(Constant(name="fee", value=2**53, description="x"),)),
        "constants.fee.value",
        "integer beyond 2**53 - 1",
    ),
    "column that hides the rowid": (lambda: with_column(name="rowid"), "tables.notes.columns.rowid", "Rename it"),
}


CELLS = (
    Column(name="n", type="integer", nullable=True),
    Column(name="cents", type="cents", nullable=True),
    Column(name="km", type="real", nullable=True),
    Column(name="paid", type="boolean", nullable=True),
    Column(name="city", type="text", nullable=True),
    Column(name="day", type="date", nullable=True),
    Column(name="at", type="datetime", nullable=True),
    Column(name="class", type="enum", values=("first", "second"), nullable=True),
)


def trip_spec(*row: JsonValue, tools: tuple[Tool, ...] = ()) -> EnvironmentSpec:
    """One table with a column of every type, and a row after a good one."""
    table = Table(name="trip", id_prefix="T", columns=CELLS)
    good = ("T-1", 2**53 - 1, -(2**53) + 1, 1, True, "\u2028😀", "0001-01-01", "9999-12-31T23:59:59", "first")
    return shop_spec(tables=(table,), rows={"trip": (good, row)}, tools=tools)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        *((column, 2**53, "integer beyond 2**53 - 1") for column in ("n", "cents", "km")),
        *((column, -(2**70), "integer beyond 2**53 - 1") for column in ("n", "cents", "km")),
        *((column, value, "holds integers") for column in ("n", "cents") for value in ("5", True, 5.0, float("nan"))),
        *(("km", value, "which is not JSON") for value in (float("inf"), float("-inf"), float("nan"))),
        *(("km", value, "holds numbers") for value in ("1.5", False)),
        *(("paid", value, "holds true or false") for value in (1, 0, "true")),
        *(("city", value, "holds text") for value in (2, 1.5, True)),
        ("city", "a\ud800", "surrogate without its pair"),
        ("city", "a\x00b", "holds NUL"),
        ("city", "é" * 50_001, "has 100002 bytes"),
        ("city", ["a"], "holds text"),
        *(("day", value, "no day of the calendar") for value in ("2026-02-29", "0000-01-01", "2026-1-1", "now")),
        ("day", "٢٠٢٦-٠١-٠١", "no day of the calendar"),
        *(("at", value, "is no instant") for value in ("2026-03-02", "2026-03-02T24:00:00", "2026-03-02 09:00:00")),
        ("class", "third", "Use one of first, second"),
        ("id", 2, "holds text"),
        ("id", None, "has no value"),
        ("id", "T-1", "already has this id"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_carried_is_named_by_row_and_column(column: str, value: JsonValue, problem: str) -> None:
    cells: dict[str, JsonValue] = {"id": "T-2", **dict.fromkeys(c.name for c in CELLS), column: value}
    with pytest.raises(SpecError) as refused:
        Environment.load(trip_spec(*cells.values()))
    assert refused.value.place == f"rows.trip[1].{column}"
    assert problem in str(refused.value) and refused.value.remedy
    str(refused.value).encode()


def test_values_at_the_edges_are_carried_to_the_answer() -> None:
    get = Tool(name="list", description="", returns=Returns(sql="SELECT * FROM trip ORDER BY id", shape="many"))
    spec = trip_spec("T-2", *[None] * len(CELLS), tools=(get,))
    with Environment.load(spec).episode() as episode:
        rows = episode.call("list").value
    assert isinstance(rows, list) and isinstance(rows[0], dict)
    assert [*rows[0].values()] == [*spec.rows["trip"][0]]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ("SET n = n + :step", 1),
        ("SET n = n * :step", 2),
        ("SET cents = cents - :step", 1),
        ("SET km = 1e308 * 10 * :step", 1),
        ("SET day = date(day, '-' || :step || ' days')", 1),
        ("SET at = strftime('%Y-%m-%dT%H:%M:%S', day, '-' || :step || ' days')", 1),
    ],
)
def test_a_write_that_cannot_be_carried_is_refused_as_any_other_value(change: str, argument: int) -> None:
    """The caller reads a reason, and the episode goes on: nothing in it has no JSON."""
    step = Parameter(name="step", type="integer")
    returns = Returns(sql="SELECT 1 AS done")
    tool = Tool(name="grow", description="", parameters=(step,), effects=(f"UPDATE trip {change}",), returns=returns)
    spec = trip_spec("T-2", *[None] * len(CELLS), tools=(tool,))
    with Environment.load(spec).episode() as episode:
        result = episode.call("grow", step=argument)
        assert not result.ok and "this value is not allowed for" in str(result.error)
        assert episode.changeset() == ()


NO_NAMES = [
    "get order",
    "get-order",
    "get.order",
    "1st",
    "Order",
    "ﬁle",
    "straße",
    "",
    "_x",
    "x" * 64,
    "x\n",
    "x\ud800",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_some_reader_cannot_read_is_refused_with_the_rule(name: str) -> None:
    for spec in (
        with_tool(name=name),
        with_tool(parameters=(Parameter(name=name, type="string"),)),
        with_column(name=name),
    ):
        with pytest.raises(SpecError) as refused:
            Environment.load(spec)
        str(refused.value).encode()
        assert refused.value.remedy


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_specification_is_refused_with_its_place_and_a_remedy(case: str) -> None:
    spec, place, said = WRONG[case]
    with pytest.raises(SpecError) as refused:
        Environment.load(spec())
    assert refused.value.place == place
    assert said in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"enum": ("x" * 4_001,)}, ".enum", "text of at most 4000 characters"),
        ({"format": "date", "enum": ("2026-02-30",)}, ".enum", "must be a date like"),
        ({"format": "datetime", "enum": ("2026-03-02T24:00:00",)}, ".enum", "must be a date and time like"),
        ({"type": "integer", "minimum": 2**53}, ".minimum", "beyond every argument"),
        ({"type": "number", "maximum": -1e300}, ".maximum", "beyond every argument"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "", "no integer is at least 0.2 and at most 0.8"),
        ({"minimum": 1}, ".minimum", "a bound on a string"),
    ],
)
def test_an_argument_that_no_call_can_carry_is_named_at_load(fields: dict, field: str, problem: str) -> None:
    parameter = Parameter.model_validate({"name": "order_id", "type": "string", **fields})
    with pytest.raises(SpecError) as refused:
        Environment.load(with_tool(parameters=(parameter,)))
    assert refused.value.place == f"tools.extra.parameters.order_id{field}"
    assert problem in str(refused.value) and refused.value.remedy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed",), "5"),
        (("seed",), True),
        (("seed",), 1e5),
        (("tables", 0, "columns", 0, "nullable"), "yes"),
        (("tables", 0, "columns", 0, "unique"), 1),
        (("tools", 0, "parameters", 0, "minimum"), "1"),
        (("tools", 0, "parameters", 0, "maximum"), True),
    ],
)
def test_no_value_of_a_file_is_converted(path: tuple[str | int, ...], value: JsonValue, tmp_path: Path) -> None:
    content = shop_spec().model_dump(mode="json")
    parent = content
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    (tmp_path / "spec.json").write_text(json.dumps(content))
    with pytest.raises(SpecError) as refused:
        Environment.open(tmp_path / "spec.json")
    assert refused.value.place.endswith(": " + ".".join(map(str, path)))


ESCAPES = {
    "attach": "ATTACH DATABASE '/tmp/x.db' AS x",
    "pragma": "PRAGMA foreign_keys = OFF",
    "a pragma the engine needs itself": "PRAGMA table_xinfo(orders)",
    "pragma as a table": "SELECT name FROM pragma_table_info('orders')",
    "schema": "SELECT sql FROM sqlite_master",
    "schema, counted": "SELECT count(*) FROM sqlite_schema",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "the engine's own savepoint": "RELEASE call",
    "definition": "CREATE TABLE t (x)",
    "drop": "DROP TABLE orders",
    "temporary table": "CREATE TEMP TABLE t (x)",
    "extension": "SELECT load_extension('/tmp/x.so')",
    "chance": "SELECT random()",
    "chance in order": "SELECT id FROM orders ORDER BY random()",
    "what other episodes did": "SELECT total_changes()",
    "two statements": "SELECT 1; DELETE FROM orders",
    "explain": "EXPLAIN SELECT 1",
    "a virtual table": "SELECT * FROM dbstat",
    "local time": "SELECT datetime('now', 'localtime')",
    "nothing": "-- nothing",
}


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("place", ["guard", "effect", "returns"])
def test_no_sql_of_a_tool_reaches_beyond_its_tables(escape: str, place: str) -> None:
    sql = ESCAPES[escape]
    spec = {
        "guard": lambda: with_tool(guards=(Guard(sql=sql, message=""),)),
        "effect": lambda: with_tool(effects=(sql,)),
        "returns": lambda: with_tool(returns=Returns(sql=sql)),
    }[place]()
    with pytest.raises(SpecError):
        Environment.load(spec)


def test_a_changed_copy_has_an_id_of_its_own() -> None:
    spec = shop_spec()
    first = spec.id
    assert spec.model_copy(update={"seed": 8}).id != first
    assert spec.model_copy().id == first


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        (Rule(tool="cancel_ordr", sql="SELECT 1", text="x"), r"rules\[0\].tool.*Did you mean cancel_order"),
        (Rule(tool="cancel_order", sql="SELECT 1 FROM ordrs", text="x"), r"rules\[0\].sql.*Did you mean orders"),
        (Rule(tool="cancel_order", sql="SELECT :why", text="x"), r"rules\[0\].sql.*:why"),
        (Rule(tool="cancel_order", sql="DELETE FROM orders", text="x"), r"rules\[0\].sql.*only a SELECT"),
        (Rule(tool="cancel_order", sql="SELECT 1", text=" "), r"rules\[0\].text"),
    ],
)
def test_a_wrong_rule_is_named(rule: Rule, place: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){place}"):
        Environment.load(shop_spec(rules=(rule,)))


def without_guards(tool: str) -> EnvironmentSpec:
    spec = shop_spec()
    return shop_spec(tools=tuple(t.model_copy(update={"guards": ()}) if t.name == tool else t for t in spec.tools))


def test_a_reference_that_no_guard_asks_for_is_named() -> None:
    with pytest.raises(SpecError, match=r"tools.place_order.effects\[1\].*orders.customer_id from :customer_id.*guard"):
        Environment.load(without_guards("place_order"))
    give = Tool(
        name="give_order",
        description="",
        parameters=(ORDER_ID, Parameter(name="customer_id", type="string")),
        effects=("UPDATE orders SET quantity = max(1, 2), customer_id = :customer_id WHERE id = :order_id",),
        returns=ONE,
    )
    with pytest.raises(SpecError, match=r"give_order.effects\[0\].*SELECT 1 FROM customers WHERE id = :customer_id"):
        Environment.load(shop_spec(tools=(give,)))
    asked = Guard(sql="SELECT 1 FROM customers WHERE id = :customer_id", message="there is no {customer_id}")
    environment = Environment.load(shop_spec(tools=(give.model_copy(update={"guards": (asked,)}),)))
    with environment.episode() as episode:
        assert (
            episode.call("give_order", order_id="ORD-1", customer_id="CUS-9").error == "give_order: there is no CUS-9"
        )


def test_a_scalar_is_the_value_itself() -> None:
    stock = Tool(
        name="total_stock", description="", returns=Returns(sql="SELECT sum(stock) AS n FROM products", shape="scalar")
    )
    with Environment.load(shop_spec(tools=(stock,))).episode() as episode:
        assert episode.call("total_stock").value == 23
    wide = stock.model_copy(update={"returns": Returns(sql="SELECT 1 AS a, 2 AS b", shape="scalar")})
    with pytest.raises(SpecError, match="a scalar of 2 columns"):
        Environment.load(shop_spec(tools=(wide,)))


FEE = Constant(name="late_fee", value=250, description="The late fee in cents")


def test_a_constant_is_bound_by_its_name() -> None:
    fee = Tool(name="fee", description="", returns=Returns(sql="SELECT :late_fee * 2 AS cents", shape="scalar"))
    with Environment.load(shop_spec(tools=(fee,), constants=(FEE,))).episode() as episode:
        assert episode.call("fee").value == 500
    with pytest.raises(SpecError, match="binds :late_fee, which is not declared"):
        Environment.load(shop_spec(tools=(fee,)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "today"}, "constants.today: the engine binds"),
        ({"name": "order_id"}, "constants.order_id: is also a parameter of"),
        ({"name": "Late fee"}, "is no name"),
        ({"description": " "}, "constants.late_fee.description: it is empty"),
    ],
)
def test_a_wrong_constant_is_named(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        Environment.load(shop_spec(constants=(FEE.model_copy(update=changes),)))
