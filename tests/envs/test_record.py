"""Canonical JSON is that of RFC 8785, whoever writes it."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.record import NotCanonical, Record, canonical_json, derive_seed
from envs.task import Fact, Goal, Toolbox, ToolCall

NUMBERS = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.floats(-1e-3, 1e-3),
    st.floats(1e14, 1e22),
    st.integers(-(10**8), 10**8).map(lambda number: number / 10_000),
    st.integers(-(10**6), 10**6).map(float),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def written(write: Any, value: Any) -> bytes | type[Exception]:
    try:
        return bytes(write(value))
    except (ValueError, rfc8785.CanonicalizationError) as error:
        return type(error)


@settings(max_examples=500)
@given(VALUES)
def test_any_value_is_written_as_the_reference_writes_it_or_refused_alike(value: Any) -> None:
    assert written(canonical_json, value) == written(rfc8785.dumps, value)


def test_keys_numbers_and_letters_have_one_form() -> None:
    value = {"b": 1.0, "a": [-0.0, 1e21, 0.1, 1e-7, 2**53 - 1], "é": "\u2028\x7f\n", "A": None}
    assert canonical_json(value) == (
        b'{"A":null,"a":[0,1e+21,0.1,1e-7,9007199254740991],"b":1,"\xc3\xa9":"\xe2\x80\xa8\x7f\\n"}'
    )


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (ToolCall(tool="f", arguments={"n": 2**53}), "ToolCall.arguments.n is an integer beyond"),
        (ToolCall(tool="f", arguments={"a": [1, {"b": 1e999}]}), r"ToolCall.arguments.a\[1\].b is inf"),
        (ToolCall(tool="f\ud800", arguments={}), "ToolCall.tool holds a surrogate"),
        (Goal(facts=(Fact(label="n", kind="integer", value=-(2**53)),)), r"Goal.facts\[0\].value is an integer"),
        (
            Toolbox(tools=("f",), call_prices_usd={"f": float("nan")}, input_usd_per_mtok=0, output_usd_per_mtok=0),
            "Toolbox.call_prices_usd.f is nan",
        ),
    ],
)
def test_a_record_that_json_cannot_carry_has_no_id_and_names_the_field(record: Record, place: str) -> None:
    for identify in (lambda: record.id, record.canonical):
        with pytest.raises(NotCanonical, match=place) as refused:
            identify()
        str(refused.value).encode()


def test_a_seed_of_parts_that_json_cannot_carry_names_the_part() -> None:
    with pytest.raises(NotCanonical, match=r"\[1\] is an integer beyond"):
        derive_seed("boats", 2**53 + 1)
