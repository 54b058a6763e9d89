"""What is read off the text of SQL: its order and what it assigns, however it is written, and a refusal of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.environment import Environment
from envs.errors import SpecError
from envs.spec import Parameter, Returns, Tool
from envs.sql_text import UnreadableSql, assigned_parameters, is_ordered, updated_columns
from tests.fixtures import shop_spec

SPEC = shop_spec()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM orders ORDER/* as they came */BY id",
        "WITH o AS (SELECT id FROM orders) SELECT id FROM o UNION SELECT id FROM products\norder\n\tby 1 LIMIT 2",
        "SELECT sum(quantity) FILTER (WHERE quantity > 1) OVER w FROM orders WINDOW w AS (ORDER BY id) ORDER BY 1",
    ],
)
def test_an_order_is_seen_however_it_is_written(sql: str) -> None:
    assert is_ordered(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM (SELECT id FROM orders ORDER BY id)",
        "SELECT row_number() OVER (ORDER BY id) FROM orders WINDOW w AS (PARTITION BY id ORDER BY id)",
        "SELECT 'order by' AS [order by] FROM orders -- ORDER BY id",
        "SELECT group_concat(id, ',' ORDER BY id) FROM orders /* ORDER BY id */",
    ],
)
def test_an_order_inside_is_none_of_the_rows(sql: str) -> None:
    assert not is_ordered(sql)


@pytest.mark.parametrize(
    ("effect", "assigned"),
    [
        ("INSERT OR ABORT INTO orders (id, status) VALUES (:new_id, 'paid')", [("id", "new_id")]),
        (
            "REPLACE INTO [orders] (`customer_id`) VALUES (:customer), (:other)",
            [("customer_id", c) for c in ("customer", "other")],
        ),
        (
            'UPDATE OR FAIL orders AS o SET "status" = :from, quantity = quantity + :n WHERE id = :id',
            [("status", "from")],
        ),
        ("UPDATE orders SET status = upper(:x), product_id = :p -- = :q\nWHERE id = :id", [("product_id", "p")]),
        ("WITH n AS (SELECT 1 AS i) UPDATE orders SET (quantity, status) = (SELECT i, :s FROM n)", []),
        ("DELETE FROM orders WHERE id = :id", []),
    ],
)
def test_what_is_set_to_a_bound_name_alone_is_seen(effect: str, assigned: list[tuple[str, str]]) -> None:
    assert assigned_parameters(effect, SPEC) == [("orders", column, parameter) for column, parameter in assigned]


def test_an_update_tells_its_columns() -> None:
    assert updated_columns("UPDATE orders SET status = 'paid', quantity = 1") == ("orders", ["status", "quantity"])
    assert updated_columns("DELETE FROM orders") == ("", [])


_PIECES = "SELECT a FROM t WHERE ORDER BY UPDATE SET = :x ( ) ' [ ` /* */ -- ; $$ ->> {{"


@given(st.lists(st.sampled_from(['"', '""', *_PIECES.split()])))
def test_no_text_ends_in_anything_but_a_refusal(words: list[str]) -> None:
    for read in (is_ordered, updated_columns):
        try:
            read(" ".join(words))
        except UnreadableSql as error:
            assert str(error)


def test_sql_that_cannot_be_read_is_refused_with_its_place_and_a_remedy() -> None:
    deep = f"UPDATE orders SET quantity = {'(' * 70}1{')' * 70}"
    tool = Tool(name="spoil", description="", effects=(deep,), returns=Returns(sql="SELECT 1 AS done"))
    with pytest.raises(SpecError, match=r"tools\.spoil\.effects\[0\]: it is nested too deeply for sqlglot\. Write it"):
        Environment.load(shop_spec(tools=(tool,)))
    tool = Tool(name="look", description="", returns=Returns(sql="SELECT 1 AS done /* for ever"))
    with pytest.raises(SpecError, match=r"tools\.look\.returns: .* a comment in it is never closed\. Write it"):
        Environment.load(shop_spec(tools=(tool,)))


def test_a_guard_that_only_has_a_column_of_the_tables_name_does_not_ask_for_its_row() -> None:
    tool = Tool(
        name="move",
        description="",
        parameters=(Parameter(name="product", type="string"), Parameter(name="order", type="string")),
        effects=("UPDATE orders SET product_id = :product WHERE id = :order",),
        returns=Returns(sql="SELECT 1 AS done"),
    )
    text = {"sql": "SELECT 'products' FROM orders WHERE product_id = :product", "message": "no"}
    asking = {"sql": "SELECT 1 FROM products WHERE id = :product", "message": "no"}
    with pytest.raises(SpecError, match="no guard asks whether products has it"):
        Environment.load(shop_spec(tools=(tool.model_validate({**tool.model_dump(), "guards": [text]}),)))
    Environment.load(shop_spec(tools=(tool.model_validate({**tool.model_dump(), "guards": [asking]}),)))
