"""The class that the entry point names. Its brief and its recording lie beside this file."""

import random
from collections.abc import Iterator, Sequence

from envs.environment import Environment
from envs.spec import Table
from envs.task import Fact
from generators.hooks import Hooks, Row, RowContext, TaskDraft, call

from .names import BOATS


class Harbour(Hooks):
    """Boats under the names of the harbour's own, and questions after them."""

    def rows(self, table: Table, context: RowContext) -> Sequence[Row] | None:
        if table.name != "boat":
            return None
        return [{**row, "title": name} for row, name in zip(context.generated, BOATS, strict=False)]

    def tasks(self, environment: Environment, rng: random.Random) -> Iterator[TaskDraft]:
        for boat in environment.query("SELECT id, title, price_cents FROM boat ORDER BY id"):
            ask = rng.choice(("What does boat {} cost?", "Please tell me the price of boat {}."))
            yield TaskDraft(
                instruction=ask.format(boat["id"]),
                golden=(call("get_boat", boat_id=boat["id"]),),
                facts=(Fact(label="price", kind="cents", value=boat["price_cents"]),),
            )
