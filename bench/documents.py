"""A shop's documents, as many and as nested as those of τ²-bench's retail: 500 users, 50 products, 1,000 orders.

Orders hold their items, fulfilments and payments, products their variants, users their payment methods, as there. The
content is made up here.
"""

from random import Random
from typing import TypeVar

from pydantic import BaseModel

from envs.task import ToolCall

USERS, PRODUCTS, ORDERS = 500, 50, 1_000
_STATUSES = ("pending", "processed", "delivered", "cancelled")
_OPTIONS = {"color": ("red", "blue", "black"), "size": ("S", "M", "L", "XL"), "material": ("cotton", "steel", "oak")}
_CITIES = ("Austin", "Boston", "Chicago", "Denver", "Seattle")
_NAMES = ("Ada", "Ben", "Chen", "Dana", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun")
_SOURCES = ("credit_card", "paypal", "gift_card")


class Address(BaseModel):
    street: str
    city: str
    zip: str


class PaymentMethod(BaseModel):
    id: str
    source: str
    last_four: str


class User(BaseModel):
    id: str
    name: str
    email: str
    address: Address
    payment_methods: dict[str, PaymentMethod]
    orders: list[str]


class Variant(BaseModel):
    id: str
    options: dict[str, str]
    available: bool
    price_cents: int


class Product(BaseModel):
    id: str
    name: str
    variants: dict[str, Variant]


class Item(BaseModel):
    id: str
    product_id: str
    variant_id: str
    options: dict[str, str]
    price_cents: int


class Fulfilment(BaseModel):
    id: str
    tracking: str
    items: list[str]


class Payment(BaseModel):
    id: str
    method_id: str
    amount_cents: int


class Order(BaseModel):
    id: str
    user_id: str
    address: Address
    status: str
    items: list[Item]
    fulfilments: list[Fulfilment]
    payments: list[Payment]


class Documents(BaseModel):
    """The database as the baseline keeps it: whole documents by id."""

    users: dict[str, User]
    products: dict[str, Product]
    orders: dict[str, Order]

    def play(self, call: ToolCall) -> None:
        """One call of the task: a write is made, a read looked up and left."""
        order = self.orders.get(str(call.arguments.get("order_id")))
        if call.tool == "cancel_order" and order is not None:
            order.status = "cancelled"
        if call.tool == "change_item" and order is not None:
            product = self.products[str(call.arguments["product_id"])]
            variant = product.variants[str(call.arguments["variant_id"])]
            item = next(item for item in order.items if item.id == call.arguments["item_id"])
            item.variant_id, item.options, item.price_cents = variant.id, variant.options, variant.price_cents


def documents(seed: int = 7) -> Documents:
    """The database, the same for the same seed."""
    rng = Random(seed)
    products = {f"P-{number}": _product(number, rng) for number in range(1, PRODUCTS + 1)}
    users = {f"U-{number}": _user(number, rng) for number in range(1, USERS + 1)}
    orders = {f"O-{number}": _order(number, users, products, rng) for number in range(1, ORDERS + 1)}
    return Documents(users=users, products=products, orders=orders)


def _address(rng: Random) -> Address:
    return Address(
        street=f"{rng.randint(1, 999)} Elm Street", city=rng.choice(_CITIES), zip=f"{rng.randint(10_000, 99_999)}"
    )


def _product(number: int, rng: Random) -> Product:
    variants = {}
    for place in range(1, rng.randint(8, 20) + 1):
        options = {name: rng.choice(values) for name, values in _OPTIONS.items()}
        made = Variant(
            id=f"V-{number}-{place}",
            options=options,
            available=rng.random() < 0.7,
            price_cents=rng.randint(500, 90_000),
        )
        variants[made.id] = made
    return Product(id=f"P-{number}", name=f"product {number}", variants=variants)


def _user(number: int, rng: Random) -> User:
    methods = {
        f"M-{number}-{place}": PaymentMethod(
            id=f"M-{number}-{place}", source=rng.choice(_SOURCES), last_four=f"{rng.randint(0, 9999):04}"
        )
        for place in range(1, rng.randint(1, 4) + 1)
    }
    name = f"{rng.choice(_NAMES)} {rng.choice(_NAMES)}son"
    email = f"user{number}@example.org"
    return User(id=f"U-{number}", name=name, email=email, address=_address(rng), payment_methods=methods, orders=[])


def _order(number: int, users: dict[str, User], products: dict[str, Product], rng: Random) -> Order:
    user = _drawn(users, rng)
    user.orders.append(f"O-{number}")
    items = []
    for place in range(1, rng.randint(1, 5) + 1):
        product = _drawn(products, rng)
        variant = _drawn(product.variants, rng)
        items.append(
            Item(
                id=f"I-{number}-{place}",
                product_id=product.id,
                variant_id=variant.id,
                options=variant.options,
                price_cents=variant.price_cents,
            )
        )
    status = "pending" if number in (7, 8) else rng.choice(_STATUSES)
    sent = [Fulfilment(id=f"F-{number}", tracking=f"{rng.randint(10**11, 10**12)}", items=[item.id for item in items])]
    paid = Payment(
        id=f"Y-{number}",
        method_id=next(iter(user.payment_methods)),
        amount_cents=sum(item.price_cents for item in items),
    )
    return Order(
        id=f"O-{number}",
        user_id=user.id,
        address=user.address,
        status=status,
        items=items,
        fulfilments=sent if status in ("processed", "delivered") else [],
        payments=[paid],
    )


_Document = TypeVar("_Document")


def _drawn(among: dict[str, _Document], rng: Random) -> _Document:
    return rng.choice(list(among.values()))
