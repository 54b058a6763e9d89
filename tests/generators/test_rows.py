"""Rows are plausible, agree with each other, and hold the cases that a request must reckon with."""

from datetime import date

import pytest

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Table
from envs.task import ToolCall
from generators.brief import Brief, Sizes
from generators.policy import WHEN_REFUSED, rules_of
from generators.quantities import limits, quantity_of, scale, stock_of
from generators.recompilation import operations_of
from generators.rows import fill_rows
from generators.tables import COLUMN_TYPES, Schema
from generators.tools import compile_tools

BRIEF = Brief(
    title="Shop and hotel",
    description="A shop that also lets rooms by the night, to people who send things back.",
    sizes=Sizes(rows=120, tools=60),
)
TODAY = date.fromisoformat(BRIEF.clock[:10])
TABLES: dict[str, dict[str, str]] = {
    "guest": {"name": "person_name", "age": "count", "email": "email"},
    "article": {"title": "label", "price_cents": "money", "stock": "count", "rating": "count"},
    "order": {
        "guest_id": "guest", "article_id": "article", "quantity_packs": "count", "total_cents": "money",
        "order_date": "past_date", "due_date": "future_date", "status": "status",
    },
    "return": {"guest_id": "guest", "order_id": "order", "return_date": "past_date"},
    "visit": {"guest_id": "guest", "visit_date": "past_date", "temperature": "count", "status": "status"},
}  # fmt: skip
STATUSES = ("booked", "paid", "done", "cancelled")


def shop() -> EnvironmentSpec:
    tables, kinds = [], {}
    for name, described in TABLES.items():
        columns = []
        for column, kind in described.items():
            refers = kind if kind in TABLES else None
            kinds[name, column] = "reference" if refers else kind
            values = STATUSES if kind == "status" else ()
            columns.append(
                Column(name=column, type=COLUMN_TYPES[kinds[name, column]], references=refers, values=values)
            )
        tables.append(Table(name=name, id_prefix=name[0].upper(), columns=tuple(columns)))
    schema = Schema(tuple(tables), kinds)
    titles = {"article.title": tuple(f"Article {letter}" for letter in "ABCDEFGHIJKLMNOP")}
    return EnvironmentSpec(
        domain="shop",
        title=BRIEF.title,
        policy="",
        tables=schema.tables,
        rows=fill_rows(BRIEF, schema, titles, "shop"),
        tools=tuple(compiled.tool for compiled in compile_tools(BRIEF, schema, {}, "shop")),
        clock=BRIEF.clock,
        seed=0,
    )


SPEC = shop()
ROWS = {
    table.name: [dict(zip(["id", *TABLES[table.name]], row, strict=True)) for row in SPEC.rows[table.name]]
    for table in SPEC.tables
}
BY_ID = {name: {row["id"]: row for row in rows} for name, rows in ROWS.items()}


@pytest.mark.parametrize(("table", "column"), [("order", "article_id"), ("order", "guest_id"), ("return", "order_id")])
def test_somebody_is_referred_to_by_nobody_and_somebody_by_many(table: str, column: str) -> None:
    target = column.removesuffix("_id")
    used = [row[column] for row in ROWS[table]]
    assert set(BY_ID[target]) - set(used)
    assert max(map(used.count, used)) > 2


def test_some_dates_to_come_have_passed_and_most_have_not() -> None:
    due = [date.fromisoformat(str(row["due_date"])) for row in ROWS["order"]]
    assert 0.1 < sum(day < TODAY for day in due) / len(due) < 0.4


def test_some_articles_are_sold_out_and_cannot_be_ordered() -> None:
    out = [row for row in ROWS["article"] if row["stock"] == 0]
    left = next(row for row in ROWS["article"] if isinstance(row["stock"], int) and row["stock"] > 5)
    assert 1 <= len(out) < len(ROWS["article"]) / 2
    environment = Environment.load(SPEC)

    def order(article: object, packs: int) -> str | None:
        arguments = {"guest_id": ROWS["guest"][0]["id"], "article_id": article, "quantity_packs": packs}
        return environment.replay([ToolCall(tool="create_order", arguments=arguments)]).results[0].error

    assert order(left["id"], 5) is None
    assert "the stock of the article is at least 1" in str(order(out[0]["id"], 1))
    assert "not enough left" in str(order(left["id"], 2_000))


def test_the_policy_tells_what_must_be_left() -> None:
    rules = rules_of(operations_of(SPEC))
    assert rules == ["create_order: only if the stock of the article is at least the quantity packs."]
    assert WHEN_REFUSED not in rules


def test_amounts_and_dates_agree_with_what_they_refer_to() -> None:
    for order in ROWS["order"]:
        price, packs = BY_ID["article"][order["article_id"]]["price_cents"], order["quantity_packs"]
        assert isinstance(price, int) and isinstance(packs, int) and order["total_cents"] == price * packs
        assert str(order["order_date"]) <= str(order["due_date"])
    for sent_back in ROWS["return"]:
        order = BY_ID["order"][sent_back["order_id"]]
        assert sent_back["guest_id"] == order["guest_id"]
        assert str(sent_back["return_date"]) >= str(order["order_date"])


def test_what_takes_place_is_ahead_until_it_is_over() -> None:
    for visit in ROWS["visit"]:
        ahead = str(visit["visit_date"]) > TODAY.isoformat()
        assert ahead == (visit["status"] in STATUSES[:2])


def test_numbers_are_such_as_their_names_say() -> None:
    temperatures = [row["temperature"] for row in ROWS["visit"]]
    assert min(temperatures) < 0 < max(temperatures) < 50  # type: ignore[type-var,operator]
    assert {row["rating"] for row in ROWS["article"]} <= {1, 2, 3, 4, 5}
    assert all(18 <= row["age"] <= 80 for row in ROWS["guest"])  # type: ignore[operator]
    rating = next(tool for tool in SPEC.tools if tool.name == "set_article_rating").parameters[1]
    temperature = next(tool for tool in SPEC.tools if tool.name == "set_visit_temperature").parameters[1]
    assert (rating.minimum, rating.maximum) == (1, 5)
    assert temperature.minimum is not None and temperature.minimum < 0


def column(name: str, kind: str = "integer") -> Column:
    return Column(name=name, type=kind)  # type: ignore[arg-type]


CATALOGUE = Table(name="train", id_prefix="T", columns=(column("seat_count"), column("price_cents", "cents")))
RECORD = Table(
    name="ticket",
    id_prefix="I",
    columns=(Column(name="train_id", type="text", references="train"), column("seat_count")),
)


def test_a_word_counts_only_as_a_word() -> None:
    assert limits(CATALOGUE, column("average_wait"), 2026) == limits(CATALOGUE, column("anything"), 2026)
    assert scale(column("generated")) is None and scale(column("user_rating")) == (1, 5)
    assert limits(CATALOGUE, column("build_year"), 2031)[1] == 2031
    assert quantity_of(RECORD) is None


def test_the_size_of_a_thing_is_not_the_size_of_a_party() -> None:
    assert limits(CATALOGUE, column("seat_count"), 2026)[0] > limits(RECORD, column("seat_count"), 2026)[1]
    kinds = {("train", "seat_count"): "count", ("train", "price_cents"): "money"}
    kinds |= {("ticket", "train_id"): "reference", ("ticket", "seat_count"): "count"}
    assert stock_of(CATALOGUE, kinds) == column("seat_count")
    assert stock_of(RECORD, kinds) is None, "a ticket is for somebody, and never sold out"
