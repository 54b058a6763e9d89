"""The Pareto front of cost and success."""

from warehouse.reports.plots import Point, pareto_front


def point(name: str, cost_usd: float, success: float) -> Point:
    return Point(name, "update", cost_usd, None, success, (success, success), simulated=False)


def test_costs_that_only_rounding_tells_apart_beat_nobody() -> None:
    first, second = point("first", 0.1 + 0.2 + 0.3, 0.5), point("second", 0.3 + 0.2 + 0.1, 0.5)
    assert {one.name for one in pareto_front([first, second])} == {"first", "second"}
    assert [one.name for one in pareto_front([first, point("better", 0.6, 0.6)])] == ["better"]
