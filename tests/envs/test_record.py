"""Canonical JSON is that of RFC 8785, whoever writes it."""

from typing import Any, Literal

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, JsonValue

from envs.experts import EndpointProfile, SimulatedProfile
from envs.record import NotCanonical, Record, canonical_json, derive_seed
from envs.task import Fact, Goal, Toolbox, ToolCall
from envs.toolbox import ToolboxConfig

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


class Mast(Record):
    metres: float = 9


class Boat(Record):
    name: str
    seats: int = 4
    mast: Mast = Mast(metres=12)
    spare: tuple[Mast, ...] = ()
    notes: JsonValue = 1
    flags: dict[str, Mast] = Field(default_factory=dict)


class BoatOfTomorrow(Boat):
    """The same type after a field was added."""

    motor: Literal["none", "diesel"] = "none"


def test_a_field_that_is_added_with_a_default_changes_no_id() -> None:
    boat = Boat(name="Ida", seats=6, spare=(Mast(), Mast(metres=7)))
    assert BoatOfTomorrow(**boat.model_dump()).id == boat.id
    assert BoatOfTomorrow(**boat.model_dump(), motor="diesel").id != boat.id


def test_a_field_that_is_set_to_its_default_by_hand_changes_no_id() -> None:
    by_hand = Boat(name="Ida", seats=4, mast=Mast(metres=12.0), spare=(), notes=1.0, flags={})
    assert by_hand.id == Boat(name="Ida").id
    assert by_hand.canonical() == b'{"name":"Ida"}'
    assert by_hand.model_dump().keys() == Boat.model_fields.keys()


def test_records_inside_follow_the_rule_and_plain_values_stay() -> None:
    boat = Boat(name="Ida", mast=Mast(), spare=(Mast(), Mast(metres=7)), flags={"fore": Mast()}, notes={"metres": 9})
    assert boat.canonical_fields() == {
        "name": "Ida",
        "mast": {},
        "spare": [{}, {"metres": 7}],
        "flags": {"fore": {}},
        "notes": {"metres": 9},
    }
    assert Boat.model_validate_json(boat.canonical()) == boat


@pytest.mark.parametrize("notes", [True, "1", [1], None, False, 0])
def test_a_value_that_only_resembles_the_default_is_kept(notes: Any) -> None:
    boat = Boat(name="Ida", notes=notes)
    again = Boat.model_validate_json(boat.canonical())
    assert type(again.notes) is type(notes) and again == boat
    assert boat.id != Boat(name="Ida").id


def test_the_tag_that_a_union_is_read_back_by_is_always_written() -> None:
    prices = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    simulated = SimulatedProfile(name="a", competence=(), **prices)
    served = EndpointProfile(name="a", base_url="http://x/v1", model="m", **prices)
    for pool in ((simulated,), (served,)):
        config = ToolboxConfig(pool=pool)
        assert config.canonical_fields()["pool"][0]["kind"] == pool[0].kind
        assert ToolboxConfig.model_validate_json(config.canonical()) == config
