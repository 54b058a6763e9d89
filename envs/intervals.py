"""How much a sample says about what it was drawn from: the interval of a share, and that of a mean."""

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the bound is exact; rounding would make it 3e-17.
    return centre - half if successes else 0.0, centre + half if successes < n else 1.0


def bootstrap_interval(
    groups: Sequence[Sequence[float]], confidence: float = 0.95, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile bootstrap interval (Efron 1979) of the mean of all values; None for fewer than two groups.

    Whole groups are drawn, since values of one group hang together: those of one task, for instance. Empty groups
    count for nothing. Seeded: equal groups in equal order give equal bounds.
    """
    sums = [(math.fsum(group), len(group)) for group in groups if group]
    if len(sums) < 2:
        return None
    rng = Random(seed)
    means = []
    for _ in range(resamples):
        drawn = rng.choices(sums, k=len(sums))
        means.append(math.fsum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    low = round((1 - confidence) / 2 * (resamples - 1))
    return means[low], means[resamples - 1 - low]
