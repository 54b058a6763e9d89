"""Price lists kept from training, so that a policy is evaluated on prices unlike any it has learnt from."""

import math

from envs.record import derive_seed
from envs.task import Toolbox


def held_out_prices(toolbox: Toolbox, seed: int) -> bool:
    """Whether the toolbox's token prices lie in a held-out cell.

    The plane of (input, output) prices is cut into cells of half a decade each, and one cell in eight is held out: in
    each row every eighth, two further with each row, beginning where `seed` says. So no price list of training is in
    the neighbourhood of a held-out one, whatever range prices are drawn from.
    """
    row, column = (
        math.floor(2 * math.log10(max(price, 1e-9)))
        for price in (toolbox.input_usd_per_mtok, toolbox.output_usd_per_mtok)
    )
    return (column + 2 * row + derive_seed("held-out prices", seed)) % 8 == 0
