"""The hooks.py of the harbour: what a data engineer would write, copied into the domain's folder by the tests."""

import random
from collections.abc import Iterable, Sequence

from envs.environment import Environment
from envs.spec import Guard, Parameter, Program, Returns, Table, Tool
from envs.task import Fact
from generators.hooks import Hooks, Row, RowContext, TaskDraft, call
from generators.tables import Schema

COAST = ("Bergen", "Oslo", "Stavanger")
QUOTE = """
boats = db_query("SELECT price_cents FROM boat WHERE id = :id ORDER BY id", {"id": boat_id})
if not boats:
    raise ValueError(f"there is no boat {boat_id}")
price = boats[0]["price_cents"] * days
{"boat_id": boat_id, "days": days, "price_cents": price * 8 // 10 if days >= 7 else price}
"""


class Harbour(Hooks):
    def rows(self, table: Table, context: RowContext) -> Sequence[Row] | None:
        if table.name == "skipper":  # one column
            return [{**row, "city": context.rng.choice(COAST)} for row in context.generated]
        if table.name == "boat":  # a whole table, of another size
            return [
                {"title": f"Boat {number}", "kind": "sail", "price_cents": 10_000 + 500 * number}
                for number in range(20)
            ]
        return None

    def tools(self, schema: Schema) -> Sequence[Tool]:  # noqa: ARG002
        rental = Parameter(name="rental_id", type="string", description="rental id", source="rental.id")
        boat = Parameter(name="boat_id", type="string", description="boat id", source="boat.id")
        days = Parameter(name="days", type="integer", description="days", minimum=1, maximum=28)
        extend = Tool(
            name="extend_rental",
            description="Extend one rental.",
            parameters=(rental, days.model_copy(update={"source": "rental.quantity", "maximum": 9})),
            guards=(Guard(sql="SELECT 1 FROM rental WHERE id = :rental_id", message="there is no rental {rental_id}"),),
            effects=("UPDATE rental SET quantity = quantity + :days WHERE id = :rental_id",),
            returns=Returns(sql="SELECT id, quantity FROM rental WHERE id = :rental_id"),
        )
        quote = Tool(
            name="quote_rental",
            description="Tell what a rental would cost.",
            parameters=(boat, days),
            program=Program(code=QUOTE),
        )
        return [extend, quote]

    def tasks(self, environment: Environment, rng: random.Random) -> Iterable[TaskDraft]:
        for boat in environment.query("SELECT id, price_cents FROM boat ORDER BY id LIMIT 6"):
            days = rng.randint(2, 12)
            with environment.episode() as episode:
                quoted = episode.call("quote_rental", boat_id=boat["id"], days=days).value
            assert isinstance(quoted, dict)
            yield TaskDraft(
                instruction=f"How much would boat {boat['id']} cost me for {days} days?",
                golden=(call("quote_rental", boat_id=boat["id"], days=days),),
                facts=(Fact(label="price", kind="cents", value=quoted["price_cents"]),),
            )
