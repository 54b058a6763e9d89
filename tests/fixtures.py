"""A small shop, written by hand, that any room's tests can load: three tables, eight tools, seven proven tasks."""

from collections.abc import Sequence

from pydantic import JsonValue

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Guard, Parameter, Returns, Table, Tool
from envs.task import Fact, Goal, Task, Toolbox, ToolCall

CLOCK = "2026-03-02T09:00:00"
STATUSES = ("pending", "paid", "shipped", "cancelled")

_CUSTOMER = Table(
    name="customers",
    id_prefix="CUS",
    columns=(
        Column(name="name", type="text"),
        Column(name="email", type="text", unique=True),
        Column(name="city", type="text"),
    ),
)
_PRODUCT = Table(
    name="products",
    id_prefix="PRD",
    columns=(
        Column(name="name", type="text"),
        Column(name="price_cents", type="cents"),
        Column(name="stock", type="integer"),
        Column(name="giftable", type="boolean"),
    ),
)
_ORDER = Table(
    name="orders",
    id_prefix="ORD",
    columns=(
        Column(name="customer_id", type="text", references="customers"),
        Column(name="product_id", type="text", references="products"),
        Column(name="quantity", type="integer"),
        Column(name="status", type="enum", values=STATUSES),
        Column(name="placed_on", type="date"),
    ),
)

_ROWS: dict[str, tuple[tuple[JsonValue, ...], ...]] = {
    "customers": (
        ("CUS-1", "Ada Byron", "ada@example.org", "Turin"),
        ("CUS-2", "Ben Okri", "ben@example.org", "Lagos"),
        ("CUS-3", "Chen Li", "chen@example.org", "Wuhan"),
    ),
    "products": (
        ("PRD-1", "Walnut Desk", 34900, 4, False),
        ("PRD-2", "Brass Lamp", 8950, 12, True),
        ("PRD-3", "Linen Chair", 12050, 0, False),
        ("PRD-4", "Wool Rug", 21500, 7, True),
    ),
    "orders": (
        ("ORD-1", "CUS-1", "PRD-1", 1, "pending", "2026-02-20"),
        ("ORD-2", "CUS-1", "PRD-2", 2, "shipped", "2026-02-11"),
        ("ORD-3", "CUS-2", "PRD-4", 1, "pending", "2026-02-27"),
        ("ORD-4", "CUS-3", "PRD-2", 3, "paid", "2026-03-01"),
        ("ORD-5", "CUS-3", "PRD-4", 1, "pending", "2026-03-01"),
    ),
}

_EMAIL = Parameter(name="email", type="string", source="customers.email")
_ORDER_ID = Parameter(name="order_id", type="string", source="orders.id")
_PRODUCT_ID = Parameter(name="product_id", type="string", source="products.id")
_CUSTOMER_ID = Parameter(name="customer_id", type="string", source="customers.id")
_QUANTITY = Parameter(name="quantity", type="integer", minimum=1, maximum=20, source="orders.quantity")
_ORDER_ROW = "SELECT id, customer_id, product_id, quantity, status, placed_on FROM orders"
_EXISTS = Guard(sql="SELECT count(*) FROM orders WHERE id = :order_id", message="there is no order {order_id}")
_PENDING = Guard(
    sql="SELECT status = 'pending' FROM orders WHERE id = :order_id", message="order {order_id} is not pending"
)

_TOOLS = (
    Tool(
        name="find_customer",
        description="Find a customer by email.",
        parameters=(_EMAIL,),
        returns=Returns(sql="SELECT id, name, city FROM customers WHERE email = :email"),
    ),
    Tool(
        name="list_orders",
        description="List the orders of a customer, oldest first.",
        parameters=(_CUSTOMER_ID,),
        returns=Returns(sql=f"{_ORDER_ROW} WHERE customer_id = :customer_id ORDER BY placed_on, id", shape="many"),
    ),
    Tool(
        name="get_product",
        description="Look up a product by name.",
        parameters=(Parameter(name="name", type="string", source="products.name"),),
        returns=Returns(sql="SELECT id, name, price_cents, stock, giftable FROM products WHERE name = :name"),
    ),
    Tool(
        name="get_order",
        description="Look up an order.",
        parameters=(_ORDER_ID,),
        returns=Returns(sql=f"{_ORDER_ROW} WHERE id = :order_id"),
    ),
    Tool(
        name="cancel_order",
        description="Cancel a pending order and put its goods back in stock.",
        parameters=(_ORDER_ID,),
        guards=(_EXISTS, _PENDING),
        effects=(
            "UPDATE products SET stock = stock + (SELECT quantity FROM orders WHERE id = :order_id)"
            " WHERE id = (SELECT product_id FROM orders WHERE id = :order_id)",
            "UPDATE orders SET status = 'cancelled' WHERE id = :order_id",
        ),
        returns=Returns(sql=f"{_ORDER_ROW} WHERE id = :order_id"),
    ),
    Tool(
        name="set_order_status",
        description="Move an order to another status.",
        parameters=(_ORDER_ID, Parameter(name="status", type="string", enum=STATUSES, source="orders.status")),
        guards=(_EXISTS,),
        effects=("UPDATE orders SET status = :status WHERE id = :order_id",),
        returns=Returns(sql=f"{_ORDER_ROW} WHERE id = :order_id"),
    ),
    Tool(
        name="change_quantity",
        description="Change how many pieces a pending order has.",
        parameters=(_ORDER_ID, _QUANTITY),
        guards=(_EXISTS, _PENDING),
        effects=("UPDATE orders SET quantity = :quantity WHERE id = :order_id",),
        returns=Returns(sql=f"{_ORDER_ROW} WHERE id = :order_id"),
    ),
    Tool(
        name="place_order",
        description="Order a product for a customer, if it is in stock.",
        parameters=(_CUSTOMER_ID, _PRODUCT_ID, _QUANTITY),
        guards=(
            Guard(
                sql="SELECT count(*) FROM customers WHERE id = :customer_id",
                message="there is no customer {customer_id}",
            ),
            Guard(
                sql="SELECT stock >= :quantity FROM products WHERE id = :product_id",
                message="{product_id} does not have {quantity} in stock",
            ),
        ),
        effects=(
            "UPDATE products SET stock = stock - :quantity WHERE id = :product_id",
            "INSERT INTO orders VALUES (:new_id, :customer_id, :product_id, :quantity, 'pending', :today)",
        ),
        mints="orders",
        returns=Returns(sql=f"{_ORDER_ROW} WHERE id = :new_id"),
    ),
)


def shop_spec(**changes: object) -> EnvironmentSpec:
    """The shop; `changes` replace fields, for tests that need a wrong or another shop."""
    spec = EnvironmentSpec(
        domain="shop",
        title="A furniture shop",
        policy="Only pending orders may be cancelled or changed.",
        tables=(_CUSTOMER, _PRODUCT, _ORDER),
        rows=_ROWS,
        tools=_TOOLS,
        clock=CLOCK,
        seed=7,
    )
    return spec.model_copy(update=changes)


def call(tool: str, **arguments: JsonValue) -> ToolCall:
    """A tool call, written briefly."""
    return ToolCall(tool=tool, arguments=arguments)


def make_task(
    environment: Environment, instruction: str, golden: Sequence[ToolCall], facts: Sequence[Fact] = (), answer: str = ""
) -> Task:
    """A task whose goal is what its golden calls reach. Not proven: some tests want it wrong."""
    replay = environment.replay(golden)
    return Task(
        environment_id=environment.spec.id,
        domain=environment.spec.domain,
        instruction=instruction,
        golden=tuple(golden),
        golden_answer=answer or "Done.",
        goal=Goal(changeset=replay.changeset, facts=tuple(facts)),
        difficulty=len(golden),
        toolbox=Toolbox(
            tools=tuple(tool.name for tool in environment.spec.tools),
            call_prices_usd={tool.name: 0.001 for tool in environment.spec.tools},
            input_usd_per_mtok=0.1,
            output_usd_per_mtok=0.4,
        ),
    )


def shop_tasks(environment: Environment) -> list[Task]:
    """Seven tasks that pass every check of the proof: facts only, one write, look-up then write, two writes."""
    return [
        make_task(
            environment,
            "How much does the Linen Chair cost?",
            [call("get_product", name="Linen Chair")],
            [Fact(label="price_cents", kind="cents", value=12050)],
            "The Linen Chair costs $120.50.",
        ),
        make_task(
            environment,
            "Is the Brass Lamp giftable, and how many are in stock?",
            [call("get_product", name="Brass Lamp")],
            [Fact(label="giftable", kind="boolean", value=True), Fact(label="stock", kind="integer", value=12)],
            "Yes, it is giftable. There are 12 in stock.",
        ),
        make_task(environment, "Please cancel my order ORD-1.", [call("cancel_order", order_id="ORD-1")]),
        make_task(
            environment,
            "Change order ORD-3 to a quantity of 5.",
            [call("change_quantity", order_id="ORD-3", quantity=5)],
        ),
        make_task(
            environment,
            "I am customer CUS-2. Order 2 pieces of the Wool Rug for me.",
            [
                call("get_product", name="Wool Rug"),
                call("place_order", customer_id="CUS-2", product_id="PRD-4", quantity=2),
            ],
        ),
        make_task(
            environment,
            "Cancel order ORD-5 and set order ORD-4 to shipped.",
            [call("cancel_order", order_id="ORD-5"), call("set_order_status", order_id="ORD-4", status="shipped")],
        ),
        make_task(
            environment,
            "My email is ada@example.org. Cancel my order that is still pending and tell me when I placed it.",
            [
                call("find_customer", email="ada@example.org"),
                call("list_orders", customer_id="CUS-1"),
                call("cancel_order", order_id="ORD-1"),
            ],
            [Fact(label="placed_on", kind="date", value="2026-02-20")],
            "I cancelled the order you placed on February 20.",
        ),
    ]
