"""The funnel, told by hand: every answer is counted once, and a task's cost is never made up."""

from collections.abc import Callable
from typing import Any

import pytest

from warehouse.warehouse import Warehouse

Row = Callable[..., dict[str, Any]]
MADE = {"run_id": "run", "code_version": "abc"}


@pytest.fixture
def shop(warehouse: Warehouse, row: Row) -> Warehouse:
    """A shop: `columns` right at once, but for a part; `phrases` right once, repaired once and given up once."""
    batches(warehouse, row, priced=True)
    return warehouse


def batches(warehouse: Warehouse, row: Row, *, priced: bool, proven: int = 2) -> None:
    def call(id: str, template: str, turns: int, cost_usd: float | None) -> dict[str, Any]:
        record = {"request": {"messages": [{}] * turns}}
        tokens = {"prompt_tokens": 100, "completion_tokens": 20, "seconds": 0.5}
        return row("llm_calls", id=id, template=template, record=record, cost_usd=cost_usd, **tokens)

    def rejection(stage: str, reason: str, call: str | None = None, subject: Any = None) -> dict[str, Any]:
        record = {"made_from": [call] if call else [], "subject": subject}
        id = f"{stage}-{reason}-{call}-{subject}"
        return row("rejections", id=id, domain="shop", stage=stage, reason=reason, record=record)

    usd = 0.25 if priced else None
    environment = {
        "llm_calls": [call("c1", "columns", 2, 0.25)],
        "rejections": [rejection("columns", "unknown_column", "c1", {"kept": True})],
    }
    warehouse.record_batch("environment", "shop", environment, **MADE)
    candidates = {
        "tasks": [row("tasks", id=f"task-{n}", domain="shop") for n in range(3)],
        "llm_calls": [
            call("p1", "phrases", 2, usd),
            call("p2", "phrases", 2, usd),
            call("p3", "phrases", 4, usd),
            call("p4", "phrases", 2, usd),
            call("p5", "phrases", 4, usd),
        ],
        "rejections": [
            rejection("phrases", "report", "p2", {"kept": False}),
            rejection("phrases", "report", "p4", {"kept": False}),
            rejection("phrases", "length", "p5", {"kept": False}),
            rejection("phrases", "worded_plainly", subject="cancel_order"),
            rejection("programs", "no_phrases", subject="refund"),
            rejection("programs", "not_executable", subject=7),
            rejection("programs", "not_executable", subject=9),
            rejection("evolve", "superseded", subject=[]),
        ],
    }
    warehouse.record_batch("candidate_tasks", "shop", candidates, **MADE)
    accepted = [row("tasks", id=f"task-{n}", domain="shop") for n in range(proven)]
    proof = {"tasks": accepted, "rejections": [rejection("proof", "minimal", subject="task-2")]}
    warehouse.record_batch("proven_tasks", "shop", proof, **MADE)


def test_every_stage_is_counted_from_proposed_to_accepted(shop: Warehouse) -> None:
    rows = shop.query(
        "SELECT stage, proposed, repaired, rejected, accepted, llm_calls FROM funnel ORDER BY step, stage"
    )
    assert rows.rows() == [
        ("columns", 1, 0, 0, 1, 1),
        ("phrases", 5, 1, 3, 2, 5),
        ("programs", 5, 0, 2, 3, 0),
        ("proof", 3, 0, 1, 2, 0),
    ]


def test_reasons_are_counted_and_tell_parts_of_answers_from_answers(shop: Warehouse) -> None:
    rows = shop.query("SELECT stage, reason, answer_kept, n FROM rejection_reasons ORDER BY stage, reason")
    assert ("columns", "unknown_column", True, 1) in rows.rows()
    assert ("phrases", "report", False, 2) in rows.rows()
    assert ("programs", "not_executable", False, 2) in rows.rows()
    assert rows["n"].sum() == 10


def test_calls_tokens_seconds_and_dollars_are_given_per_proven_task(shop: Warehouse) -> None:
    (row,) = shop.query("SELECT * FROM cost_per_task").to_dicts()
    assert (row["domain"], row["tasks"], row["llm_calls"]) == ("shop", 2, 6)
    assert (row["calls_per_task"], row["tokens_per_task"]) == (3.0, 360.0)
    assert (row["seconds_per_task"], row["usd_per_task"]) == (1.5, 0.75)


def test_a_cost_is_unknown_as_soon_as_one_call_has_no_price(warehouse: Warehouse, row: Row) -> None:
    batches(warehouse, row, priced=False)
    (cost,) = warehouse.query("SELECT * FROM cost_per_task").to_dicts()
    assert cost["calls_per_task"] == 3.0
    assert cost["cost_usd"] is None and cost["usd_per_task"] is None
    stages = dict(warehouse.query("SELECT stage, cost_usd FROM funnel WHERE step = 1").rows())
    assert stages == {"columns": 0.25, "phrases": None}


def test_tokens_are_unknown_as_soon_as_one_call_has_none(warehouse: Warehouse, row: Row) -> None:
    calls = [
        row("llm_calls", id="counted", template="columns", record={}, prompt_tokens=100, completion_tokens=20),
        row("llm_calls", id="uncounted", template="columns", record={}, prompt_tokens=None, completion_tokens=None),
        row("llm_calls", id="other", template="policy", record={}, prompt_tokens=7, completion_tokens=3),
    ]
    warehouse.record_batch("environment", "shop", {"llm_calls": calls}, **MADE)
    warehouse.record_batch("candidate_tasks", "shop", {"tasks": [row("tasks", id="t", domain="shop")]}, **MADE)
    warehouse.record_batch("proven_tasks", "shop", {"tasks": [row("tasks", id="t", domain="shop")]}, **MADE)
    tokens = "stage, prompt_tokens, completion_tokens"
    rows = warehouse.query(f"SELECT {tokens} FROM funnel WHERE step = 1 ORDER BY stage").rows()
    assert rows == [("columns", None, None), ("policy", 7, 3)]
    assert warehouse.query("SELECT llm_calls, prompt_tokens, tokens_per_task FROM cost_per_task").rows() == [
        (3, None, None)
    ]
    prompts = warehouse.query("SELECT template, prompt_tokens FROM prompts ORDER BY template").rows()
    assert prompts == [("columns", None), ("policy", 7)]


def test_a_domain_without_a_proven_task_has_no_cost_per_task(warehouse: Warehouse, row: Row) -> None:
    batches(warehouse, row, priced=True, proven=0)
    (cost,) = warehouse.query("SELECT tasks, llm_calls, calls_per_task, usd_per_task FROM cost_per_task").rows()
    assert cost == (0, 6, None, None)
    assert warehouse.query("SELECT rejected FROM funnel WHERE stage = 'proof'").item() == 3


def test_a_new_batch_replaces_the_old_one_in_the_funnel(shop: Warehouse, row: Row) -> None:
    shop.record_batch("proven_tasks", "shop", {"tasks": [row("tasks", id="task-0", domain="shop")]}, **MADE)
    assert shop.query("SELECT accepted FROM funnel WHERE stage = 'proof'").item() == 1
