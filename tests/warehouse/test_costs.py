"""What a rollout cost, computed again from its charges: of every kind, a model that plays the user among them."""

from collections.abc import Callable
from typing import Any

import pytest

from warehouse.costs import RECOMPUTED_COST_SQL
from warehouse.warehouse import Warehouse

TOOLBOX = {
    "input_usd_per_mtok": 1.0,
    "output_usd_per_mtok": 2.0,
    "call_prices_usd": {"refund": 0.004, "user": 0.5},  # a tool may be called "user" too
    "experts": [{"name": "sage", "input_usd_per_mtok": 10.0, "output_usd_per_mtok": 30.0}],
}
NONE, SOME = {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 1000, "output_tokens": 200}
SAGE, USER = {"tool": "sage", "kind": "expert", **SOME}, {"tool": "user", "kind": "user", **SOME}
CHARGES = {
    "a tool": ([{"tool": "refund", "kind": "tool", **NONE}], 0.004),
    "a tool that does not exist": ([{"tool": "nothing", "kind": "tool", **NONE}], 0.0),
    "an expert": ([SAGE], 0.016),
    "a model as the user": ([USER], 0.0),
    "an expert and the user": ([SAGE, USER], 0.016),
    "a tool of the user's name": ([{"tool": "user", "kind": "tool", **NONE}], 0.5),
}


def test_every_kind_of_charge_has_its_price_and_the_user_is_not_the_policys_to_pay(
    warehouse: Warehouse, row: Callable[..., dict[str, Any]]
) -> None:
    turns, rollouts = [], []
    for id, (charges, usd) in CHARGES.items():
        policy = (100 * 1.0 + 10 * 2.0) / 1e6
        turn = {"charges": charges, "prompt_tokens": 100, "completion_tokens": 10}
        turns.append(row("turns", rollout_id=id, turn=0, **turn))
        rollouts.append(row("rollouts", id=id, cost_usd=policy + usd, toolbox=TOOLBOX))
    warehouse.write_bundle("charged", {"rollouts": rollouts, "turns": turns})
    warehouse.ingest()
    costs = warehouse.query(RECOMPUTED_COST_SQL)
    assert costs["id"].to_list() == sorted(CHARGES)
    assert costs["recomputed_usd"].to_list() == pytest.approx(costs["stored_usd"].to_list(), abs=1e-15)


def test_the_cost_of_calls_is_exact_in_whatever_order_they_came(
    warehouse: Warehouse, row: Callable[..., dict[str, Any]]
) -> None:
    calls = [row("llm_calls", id=f"{n}", template="t", cost_usd=usd) for n, usd in enumerate((0.1, 0.2, 0.3) * 40)]
    warehouse.write_bundle("calls", {"llm_calls": calls})
    warehouse.ingest()
    assert warehouse.query("SELECT sum(cost_usd) AS usd FROM prompts")["usd"].to_list() == [24.0]
