"""Two batches held against each other, and one carried to another warehouse."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from warehouse.compare import NONE, Leeway, compare, compare_rows
from warehouse.copying import copy_batch, edges_of, givens_of, inputs_of
from warehouse.givens import Given
from warehouse.lineage import Edge
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

TURN: dict[str, Any] = {
    "rollout_id": "r",
    "turn": 1,
    "completion_ids": [5, 6, 7],
    "logprobs": [-1.0, -2.0, -3.0],
    "charges": '[{"latency_s":1.5,"tool":"pay"}]',
    "latency_s": 0.5,
}


def first(**changed: Any) -> str:
    found = compare_rows("turns", [TURN], [{**TURN, **changed}]).difference
    return found.sentence if found else ""


def test_the_first_difference_names_rollout_turn_and_token() -> None:
    assert first() == ""
    assert first(completion_ids=[5, 6, 8]) == "rollout r, turn 1, token 2, completion_ids[2]: recorded 7, now 8"
    assert first(completion_ids=[5, 6]) == "rollout r, turn 1, token 2, completion_ids[2]: recorded 7, now (none)"


def test_an_amount_that_was_added_in_another_order_is_no_difference() -> None:
    assert first(latency_s=0.5 * (1 + 2**-52)) == ""
    assert "recorded 0.5, now 0.500001" in first(latency_s=0.500001)


def test_json_is_compared_by_content_and_the_place_in_it_is_told() -> None:
    assert first(charges='[ {"tool": "pay", "latency_s": 1.5} ]') == ""
    assert 'charges[0].tool: recorded "pay", now "buy"' in first(charges='[{"latency_s":1.5,"tool":"buy"}]')
    assert "not json" in first(charges="not json")


def test_a_row_that_is_older_than_a_column_differs_from_none_by_it() -> None:
    older = dict.fromkeys(TABLES["batches"].columns) | {"batch_id": "b", "asset": "a"}
    assert compare_rows("batches", [older], [older | {"runtime_id": "r"}]).difference is None
    assert compare_rows("batches", [older | {"runtime_id": "q"}], [older | {"runtime_id": "r"}]).difference
    assert compare_rows("batches", [older | {"asset": None}], [older]).difference


def test_a_long_text_is_shown_from_where_it_parts() -> None:
    long = "a" * 500
    rows = ({"id": "t", "instruction": long + "x"}, {"id": "t", "instruction": long + "y"})
    found = compare_rows("tasks", [rows[0]], [rows[1]]).difference
    assert found is not None and found.recorded.endswith('ax"') and len(found.recorded) < 70


def test_what_may_differ_is_left_out_and_how_far_numbers_are_apart_is_told() -> None:
    now = {**TURN, "latency_s": 9.9, "charges": '[{"latency_s":9,"tool":"pay"}]', "logprobs": [-1.0, -2.00003, -3.0]}
    leeway = Leeway(columns=("latency_s",), keys=("latency_s",), near={"logprobs": 1e-4})
    compared = compare_rows("turns", [TURN], [now], leeway)
    assert compared.difference is None and compared.gap == pytest.approx(3e-5)
    strict = compare_rows("turns", [TURN], [now], replace(leeway, near={"logprobs": 1e-6})).difference
    assert strict is not None and (strict.column, strict.place) == ("logprobs", "[1]")


def test_missing_new_and_reordered_rows_are_differences() -> None:
    a, b = ({"id": "a", "domain": "x"}, {"id": "b", "domain": "x"})
    told = [compare_rows("tasks", [a, b], found, NONE).difference for found in ([a], [a, b, {"id": "c"}], [b, a])]
    assert [(each.row, each.recorded) for each in told if each] == [
        ("b", "there"),
        ("c", "missing"),
        ("a", "at this place"),
    ]


def test_what_was_said_is_told_before_what_came_of_it() -> None:
    rollout = {"id": "r", "outcome": "solved"}
    then = {"rollouts": pl.DataFrame([rollout]), "turns": pl.DataFrame([TURN])}
    now = {
        "rollouts": pl.DataFrame([{**rollout, "outcome": "failed"}]),
        "turns": pl.DataFrame([{**TURN, "completion_ids": [5, 6, 8]}]),
    }
    found = compare(then, now, {}).difference
    assert found is not None and found.table == "turns"


def test_a_copied_batch_is_the_same_batch_with_all_that_belongs_to_it(warehouse: Warehouse, tmp_path: Path) -> None:
    def rows(table: str, **values: Any) -> list[dict[str, Any]]:
        return [dict.fromkeys(TABLES[table].columns) | values]

    about = {"code_version": "c", "run_id": "r"}
    first_one = warehouse.record_batch("environment", "shop", {"tasks": rows("tasks", id="t")}, **about)
    given = Given("campaign", "told", {"seed": 1})
    batch = warehouse.record_batch(
        "checkpoint",
        "told-0000",
        {"rewards": rows("rewards", update_id="u", rollout_id="r", components={"outcome": 1.0, "-cost_usd": -0.5})},
        [Edge("rollout", "r", "update", "u", "told")],
        inputs=[first_one],
        givens=[given],
        data_version="d",
        **about,
    )
    other = Warehouse(tmp_path / "other.duckdb", tmp_path / "other")
    copies = [copy_batch(warehouse, each.batch_id, other) for each in (first_one, batch)]
    assert [copy.batch_id for copy in copies] == [first_one.batch_id, batch.batch_id]
    assert compare(warehouse.read_whole(batch.batch_id), other.read_whole(batch.batch_id), {}).difference is None
    assert edges_of(other, batch.batch_id) == edges_of(warehouse, batch.batch_id) != []
    assert inputs_of(other, batch.batch_id) == [first_one.batch_id]
    assert givens_of(other, batch.batch_id) == [given]
