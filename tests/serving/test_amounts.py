"""Sums of money do not depend on order or split, and only differences that a price can express are differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.amounts import levels, reached, same, token_cost, total
from serving.budget import Budget, Meter
from serving.endpoint import ChatRequest, LlmCall, Message, Price
from serving.errors import BudgetExceeded

TENTHS = st.integers(0, 10_000).map(lambda tenths: tenths / 10)


@given(st.data(), st.lists(TENTHS))
def test_neither_order_nor_split_changes_a_total(data, amounts) -> None:
    parts = [part for amount in amounts for part in _split(data.draw(st.integers(1, 3)), amount)]
    assert total(data.draw(st.permutations(parts))) == total(amounts)


def _split(parts: int, amount: float) -> list[float]:
    """The amount in so many parts: a tenth each, and the rest."""
    tenths = round(amount * 10)
    small = [1] * min(parts - 1, tenths)
    return [part / 10 for part in (*small, tenths - len(small))]


def test_three_calls_of_a_tenth_cost_as_much_as_one_of_three_tenths() -> None:
    assert total([0.1, 0.1, 0.1]) == 0.3 != sum([0.1, 0.1, 0.1])
    assert total([token_cost(1, 0, 0.1, 0.0)] * 3) == token_cost(3, 0, 0.1, 0.0)


@given(TENTHS, st.sampled_from([1e-6, 1e-3, 1.0, 1e6]))
def test_amounts_are_the_same_at_any_scale(amount, scale) -> None:
    noisy = amount * scale * (1 + 2**-52)
    assert same(noisy, amount * scale)
    assert not same(0.1 * scale, 0.100001 * scale)


@pytest.mark.parametrize("spent", [0.0, 1e-3, 1.0, 100.0])
def test_one_token_of_the_cheapest_model_is_a_difference(spent: float) -> None:
    more = total([spent, token_cost(1, 0, 0.001, 0.0)])
    assert not same(more, spent) and len(set(levels([spent, more]).values())) == 2


def test_amounts_that_only_rounding_tells_apart_have_one_level() -> None:
    assert levels([0.1 + 0.2, 0.3, 0.4]) == {0.3: 0.3, 0.1 + 0.2: 0.3, 0.4: 0.4}


@pytest.mark.parametrize(("spent", "is_reached"), [(0.1 + 0.7, True), (0.8, True), (0.799999, False)])
def test_a_bound_is_reached_by_an_amount_that_rounding_left_below_it(spent, is_reached) -> None:
    assert reached(spent, 0.8) is is_reached


@pytest.mark.parametrize("order", [(1, 7), (7, 1)])
def test_a_budget_in_dollars_is_used_up_exactly_in_any_order(order) -> None:
    meter = Meter(Budget(max_usd=0.8))
    for tokens in order:
        meter.answered("http://here/v1", _call(tokens))
    with pytest.raises(BudgetExceeded, match=r"0\.8 USD"):
        meter.admit("phrases")


def _call(tokens: int) -> LlmCall:
    request = ChatRequest(template="t", template_sha256="ab", messages=(Message(role="user", content="?"),))
    price = Price(input_usd_per_mtok=1e5, output_usd_per_mtok=0.0)
    return LlmCall(
        model="m@test",
        request=request,
        text="",
        finish_reason="stop",
        prompt_tokens=tokens,
        completion_tokens=0,
        seconds=0.0,
        price=price,
    )
