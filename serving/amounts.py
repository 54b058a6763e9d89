"""Amounts of money and time: exact sums, and one tolerance for every comparison.

A price is a decimal number, so amounts are added as decimals: 0.1 + 0.2 is 0.3, in any order and in any split.
"""

import math
from collections.abc import Collection, Iterable
from decimal import Context, Decimal
from functools import reduce

TOLERANCE = 1e-12
"""Relative difference up to which two amounts are the same. Double precision is off by about 1e-16 a step, so ten
thousand steps are covered; one token of 0.001 USD per million in a rollout of 100 USD is 1e-11 of it, and counts."""
_EXACT = Context(prec=1100)
"""More digits than the sum of any two doubles has, so that no addition rounds."""


def decimal(amount: float) -> Decimal:
    """The amount as its shortest decimal notation says: 0.1 is one tenth and not the double next to it."""
    return Decimal(repr(amount))


def total(amounts: Iterable[float]) -> float:
    """The sum of the amounts, exact before it becomes a double."""
    return float(reduce(_EXACT.add, map(decimal, amounts), Decimal()))


def same(amount: float, other: float) -> bool:
    """Whether two amounts are equal up to `TOLERANCE`."""
    return math.isclose(amount, other, rel_tol=TOLERANCE)


def reached(spent: float, bound: float) -> bool:
    """Whether the bound is used up; an amount within `TOLERANCE` below it counts."""
    return spent >= bound or same(spent, bound)


def levels(amounts: Collection[float]) -> dict[float, float]:
    """Each amount → the smallest amount that is the same. So amounts that are the same become equal numbers."""
    level_of: dict[float, float] = {}
    level = -math.inf
    for amount in sorted(set(amounts)):
        if not same(amount, level):
            level = amount
        level_of[amount] = level
    return level_of


def token_cost(
    prompt_tokens: int, completion_tokens: int, input_usd_per_mtok: float, output_usd_per_mtok: float
) -> float:
    """USD of tokens at prices per million tokens, exact before it becomes a double."""
    prompt = _EXACT.multiply(Decimal(prompt_tokens), decimal(input_usd_per_mtok))
    completion = _EXACT.multiply(Decimal(completion_tokens), decimal(output_usd_per_mtok))
    return float(_EXACT.add(prompt, completion).scaleb(-6, _EXACT))
