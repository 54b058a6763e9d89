"""The shop of `bench.documents` in tables, with a task of five calls in it."""

import json

from pydantic import JsonValue

from bench.documents import Documents
from envs.environment import Environment
from envs.spec import Column, ColumnType, EnvironmentSpec, Parameter, Returns, Table, Tool
from envs.task import Goal, Task, Toolbox, ToolCall


def retail_spec(made: Documents) -> EnvironmentSpec:
    """The same database in eight tables, with the five tools of the task."""
    rows = _rows(made)
    return EnvironmentSpec(
        domain="retail",
        title="A shop",
        policy="",
        tables=tuple(
            Table(name=name, id_prefix=f"T{number}", columns=columns)
            for number, (name, columns) in enumerate(_TABLES.items())
        ),
        rows=rows,
        tools=_TOOLS,
        clock="2026-03-02T09:00:00",
        seed=7,
    )


def retail_task(environment: Environment, made: Documents) -> Task:
    """Five calls: three reads, two writes."""
    order = made.orders["O-7"]
    item = order.items[0]
    other = next(key for key in made.products[item.product_id].variants if key != item.variant_id)
    change: dict[str, JsonValue] = {
        "order_id": order.id,
        "item_id": item.id,
        "product_id": item.product_id,
        "variant_id": other,
    }
    golden = (
        ToolCall(tool="get_user", arguments={"user_id": order.user_id}),
        ToolCall(tool="get_order", arguments={"order_id": order.id}),
        ToolCall(tool="list_variants", arguments={"product_id": item.product_id}),
        ToolCall(tool="change_item", arguments=change),
        ToolCall(tool="cancel_order", arguments={"order_id": "O-8"}),
    )
    return Task(
        environment_id=environment.id,
        domain="retail",
        instruction="",
        golden=golden,
        golden_answer="",
        goal=Goal(changeset=environment.replay(golden).changeset),
        difficulty=len(golden),
        toolbox=Toolbox(
            tools=tuple(call.tool for call in golden), call_prices_usd={}, input_usd_per_mtok=0, output_usd_per_mtok=0
        ),
    )


def _columns(*names: str, **types: ColumnType) -> tuple[Column, ...]:
    """Columns of those names: text, or of the type given; `product_id` and the like refer to their table."""
    references = {f"{table[:-1]}_id": table for table in ("users", "products", "variants", "orders")}
    return tuple(
        Column(name=name, type=types.get(name, "text"), references=references.get(name), nullable=name == "sent_in")
        for name in (*names, *types)
    )


_PLACE = ("street", "city", "zip")
_TABLES = {
    "users": _columns("name", "email", *_PLACE),
    "payment_methods": _columns("user_id", "source", "last_four"),
    "products": _columns("name"),
    "variants": _columns("product_id", "options", available="boolean", price_cents="cents"),
    "orders": _columns("user_id", *_PLACE, "status"),
    "fulfilments": _columns("order_id", "tracking"),
    "items": _columns("order_id", "product_id", "variant_id", "sent_in", "options", price_cents="cents"),
    "payments": _columns("order_id", "method_id", amount_cents="cents"),
}


def _rows(made: Documents) -> dict[str, tuple[tuple[JsonValue, ...], ...]]:
    rows: dict[str, list[tuple[JsonValue, ...]]] = {name: [] for name in _TABLES}
    for user in made.users.values():
        rows["users"].append((user.id, user.name, user.email, *user.address.model_dump().values()))
        for method in user.payment_methods.values():
            rows["payment_methods"].append((method.id, user.id, method.source, method.last_four))
    for product in made.products.values():
        rows["products"].append((product.id, product.name))
        for variant in product.variants.values():
            options = json.dumps(variant.options)
            rows["variants"].append((variant.id, product.id, options, variant.available, variant.price_cents))
    for order in made.orders.values():
        rows["orders"].append((order.id, order.user_id, *order.address.model_dump().values(), order.status))
        for sent in order.fulfilments:
            rows["fulfilments"].append((sent.id, order.id, sent.tracking))
        sent_in = {item: sent.id for sent in order.fulfilments for item in sent.items}
        for item in order.items:
            place = (item.id, order.id, item.product_id, item.variant_id, sent_in.get(item.id))
            rows["items"].append((*place, json.dumps(item.options), item.price_cents))
        for paid in order.payments:
            rows["payments"].append((paid.id, order.id, paid.method_id, paid.amount_cents))
    return {name: tuple(found) for name, found in rows.items()}


def _tool(name: str, answer: str, *effects: str, shape: str = "one", takes: tuple[str, ...]) -> Tool:
    return Tool(
        name=name,
        description="",
        parameters=tuple(Parameter(name=parameter, type="string") for parameter in takes),
        effects=effects,
        returns=Returns.model_validate({"sql": answer, "shape": shape}),
    )


_TOOLS = (
    _tool("get_user", "SELECT * FROM users WHERE id = :user_id", takes=("user_id",)),
    _tool("get_order", "SELECT * FROM orders WHERE id = :order_id", takes=("order_id",)),
    _tool(
        "list_variants",
        "SELECT * FROM variants WHERE product_id = :product_id ORDER BY id",
        shape="many",
        takes=("product_id",),
    ),
    _tool(
        "cancel_order",
        "SELECT id, status FROM orders WHERE id = :order_id",
        "UPDATE orders SET status = 'cancelled' WHERE id = :order_id",
        takes=("order_id",),
    ),
    _tool(
        "change_item",
        "SELECT * FROM items WHERE id = :item_id",
        "UPDATE items SET (variant_id, options, price_cents) = "
        "(SELECT id, options, price_cents FROM variants WHERE id = :variant_id AND product_id = :product_id) "
        "WHERE id = :item_id AND order_id = :order_id",
        takes=("order_id", "item_id", "product_id", "variant_id"),
    ),
)
