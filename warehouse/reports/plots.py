"""The plots of a campaign, drawn once for the UI (PNG) and for the report (SVG that takes the page's colours).

Equal figures give equal bytes: ids are salted with a constant, and no date is written.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.amounts import levels
from warehouse.queries.history import Evaluation, Mean, Training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_INK = "#3a4049"
"""Lines and letters; in SVG it becomes the colour of the text around, so that it can be read on dark and on light."""
_COLOURS = {"base": "#8b929b", "warm_start": "#d9812c", "rule": "#c065a5", "update": "#4c8dd6"}
_MARKERS = {"base": "s", "warm_start": "D", "rule": "^", "update": "o"}
_ELEMENTS = {
    "outcome": ("solved", "#4c8dd6"),
    "calls": ("wished tools", "#c065a5"),
    "-cost_usd": ("low cost", "#3fa27c"),
    "-latency_s": ("low latency", "#d9812c"),
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "envloom",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK
    ),
}


@dataclass(frozen=True)
class Point:
    """A policy in the plane of cost and success, each with its interval."""

    name: str
    kind: str
    cost_usd: float
    cost_interval: tuple[float, float] | None
    success: float
    success_interval: tuple[float, float]
    simulated: bool


def points(found: Sequence[Evaluation]) -> list[Point]:
    """The policies that were judged on at least one task."""
    return [
        Point(
            name=one.name,
            kind=one.kind,
            cost_usd=one.summary.cost_usd_mean,
            cost_interval=one.summary.cost_usd_interval,
            success=one.summary.success,
            success_interval=(one.summary.success_low, one.summary.success_high),
            simulated=one.summary.simulated_experts,
        )
        for one in found
        if one.summary.n
    ]


def pareto_front(found: Sequence[Point]) -> list[Point]:
    """Points that no other beats, cheapest first: none is at least as good in both and better in one."""
    cost = levels([point.cost_usd for point in found])

    def beats(rival: Point, point: Point) -> bool:
        saved, gained = cost[point.cost_usd] - cost[rival.cost_usd], rival.success - point.success
        return saved >= 0 and gained >= 0 and (saved, gained) != (0, 0)

    front = [point for point in found if not any(beats(rival, point) for rival in found)]
    return sorted(front, key=lambda point: (point.cost_usd, point.name))


def cost_accuracy(found: Sequence[Point]) -> "Figure":
    """Success against mean cost, with intervals and the Pareto front. Hollow marks: experts were simulated."""
    entries = 1 + len({point.kind if point.kind == "update" else point.name for point in found})
    with _figure(4.6, 3.1 + 0.17 * entries) as (figure, axes):
        rules = iter("^v<>PX")
        looped = False
        for point in found:
            low, high = point.cost_interval or (point.cost_usd, point.cost_usd)
            name = (
                point.name.replace(_iteration(point), "iteration, numbered") if point.kind == "update" else point.name
            )
            axes.errorbar(
                [point.cost_usd * 100],
                [point.success],
                xerr=[[(point.cost_usd - low) * 100], [(high - point.cost_usd) * 100]],
                yerr=[[point.success - point.success_interval[0]], [point.success_interval[1] - point.success]],
                fmt=next(rules) if point.kind == "rule" else _MARKERS[point.kind],
                color=_COLOURS[point.kind],
                markerfacecolor="none" if point.simulated else _COLOURS[point.kind],
                markersize=6,
                elinewidth=0.8,
                label="" if looped and point.kind == "update" else name,
            )
            looped = looped or point.kind == "update"
        front = pareto_front(found)
        axes.plot(
            [point.cost_usd * 100 for point in front],
            [point.success for point in front],
            drawstyle="steps-post", linestyle="--", linewidth=1, color=_INK, alpha=0.7, label="Pareto front",
        )  # fmt: skip
        for (cents, success), numbers in _numbered(found).items():
            axes.annotate(
                ", ".join(numbers), (cents, success), (-5, -11), textcoords="offset points", fontsize=8, ha="right"
            )
        axes.set_xlabel("cost per rollout, US cents")
        axes.set_ylabel("held-out success")
        axes.set_ylim(-0.02, 1.02)
        figure.legend(loc="outside lower left")
    return figure


def _iteration(point: Point) -> str:
    """The words `iteration 3` of a policy of the loop."""
    return point.name.removeprefix("after ").removesuffix(" (simulated experts)")


def _numbered(found: Sequence[Point]) -> dict[tuple[float, float], list[str]]:
    """The numbers of the loop's policies by where they lie; those that lie on each other share a place."""
    places: dict[tuple[float, float], list[str]] = {}
    width = max((point.cost_usd * 100 for point in found), default=0.0)
    for point in found:
        if point.kind == "update":
            at = (point.cost_usd * 100, point.success)
            near = (seen for seen in places if abs(seen[0] - at[0]) < 0.04 * width and abs(seen[1] - at[1]) < 0.04)
            places.setdefault(next(near, at), []).append(_iteration(point).removeprefix("iteration "))
    return places


def learning_curves(held_out: Sequence[Evaluation], trained: Sequence[Training]) -> dict[str, "Figure"]:
    """`success`, `cost` and `reward` by the number of updates made, with intervals.

    `held_out` are evaluations of one split; rollouts that iteration i trains on are of the policy after i updates.
    """
    learnt = [one for one in held_out if one.kind in ("warm_start", "update") and one.summary.n]
    base = [one for one in held_out if one.kind == "base" and one.summary.n]
    success = {
        one.updates: Mean(one.summary.success, (one.summary.success_low, one.summary.success_high)) for one in learnt
    }
    cost = {one.updates: _cents(Mean(one.summary.cost_usd_mean, one.summary.cost_usd_interval)) for one in learnt}
    rewarded = {one.iteration: one.reward for one in trained}
    trained_success = {one.iteration: one.success for one in trained}
    trained_cost = {one.iteration: _cents(one.cost_usd) for one in trained}
    bases = [one.summary.success for one in base], [one.summary.cost_usd_mean * 100 for one in base]
    mark = simulated([one.summary.simulated_experts for one in learnt] + [one.simulated_experts for one in trained])
    return {
        "success": _curve(f"success{mark}", "share solved", success, trained_success, bases[0], top=1.0),
        "cost": _curve(f"cost{mark}", "US cents per rollout", cost, trained_cost, bases[1]),
        "reward": _curve(f"reward{mark}", "mean reward", {}, rewarded, []),
    }


def simulated(experts: Sequence[bool]) -> str:
    """What a title adds where any experts were simulated."""
    return " (simulated experts)" if any(experts) else ""


def _cents(mean: Mean) -> Mean:
    return Mean(mean.value * 100, mean.interval and (mean.interval[0] * 100, mean.interval[1] * 100))


def _curve(
    title: str,
    ylabel: str,
    held_out: Mapping[int, Mean],
    trained: Mapping[int, Mean],
    base: Sequence[float],
    top: float | None = None,
) -> "Figure":
    with _figure(3.8, 2.9) as (figure, axes):
        for label, means, colour, marker in (
            ("held-out tasks", held_out, _COLOURS["update"], "o"),
            ("training tasks", trained, _COLOURS["warm_start"], "D"),
        ):
            if means:
                at = sorted(means)
                axes.plot(
                    at, [means[x].value for x in at], marker=marker, markersize=4, linewidth=1.4, color=colour,
                    label=label,
                )  # fmt: skip
                bands = [means[x].interval or (means[x].value, means[x].value) for x in at]
                axes.fill_between(
                    at, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.15, linewidth=0
                )
        for value in base[:1]:
            axes.axhline(value, color=_COLOURS["base"], linestyle=":", linewidth=1.2, label="base model")
        axes.set_title(title)
        axes.set_ylabel(ylabel)
        axes.set_xlabel("updates made")
        axes.xaxis.set_major_locator(_whole_numbers())
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]), top=top)
        figure.legend(loc="outside lower left", ncols=3, handlelength=1.4, columnspacing=1.2)
    return figure


def reward_components(found: Mapping[str, Mapping[int, float]], trained: Sequence[Training]) -> "Figure":
    """Per iteration the mean reward, stacked out of what each element gave to it; `trained` tells of the experts."""
    with _figure(3.8, 2.9) as (figure, axes):
        iterations = sorted({iteration for means in found.values() for iteration in means})
        floor = dict.fromkeys(iterations, 0.0)
        for element, (label, colour) in _ELEMENTS.items():
            if element in found:
                heights = [found[element].get(iteration, 0.0) for iteration in iterations]
                axes.bar(iterations, heights, 0.6, [floor[i] for i in iterations], color=colour, label=label)
                floor = {i: floor[i] + height for i, height in zip(iterations, heights, strict=True)}
        axes.set_title(f"reward by element{simulated([one.simulated_experts for one in trained])}")
        axes.set_xlabel("iteration")
        axes.set_ylabel("mean reward")
        axes.xaxis.set_major_locator(_whole_numbers())
        figure.legend(loc="outside lower left", ncols=4, handlelength=1, columnspacing=1)
    return figure


def _whole_numbers() -> "MaxNLocator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


@contextmanager
def _figure(width: float, height: float) -> "Iterator[tuple[Figure, Axes]]":
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=_INK, alpha=0.15, linewidth=0.6)
        axes.set_axisbelow(True)
        yield figure, axes


def as_png(figure: "Figure") -> str:
    """A data address."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def as_svg(figure: "Figure") -> str:
    """An `<svg>` element that stands in a page: scales with it, has the colour of its text, refers to nothing else."""
    import matplotlib

    held = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(held, format="svg", transparent=True, metadata=nothing)
    drawn = held.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
    drawn = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', drawn, count=1)
    # Names of parts are numbered anew in every figure, and a page has several.
    return re.sub(r'<g id="[^"]*"', "<g", drawn).replace("xlink:href", "href").strip()
