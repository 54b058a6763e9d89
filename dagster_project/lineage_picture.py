"""A folded lineage as an image, drawn with matplotlib: for Dagster's UI, whose Markdown does not render Mermaid.

Layers are rows, the root's first. A line over several layers goes through a place of its own in each, so that it does
not cross a box; a line that a way over one other box implies is left out.
"""

import io
import textwrap
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from dagster_project.lineage_mermaid import mermaid, mermaid_markdown
from envs.record import content_id
from warehouse.lineage import trace
from warehouse.queries.lineage_fold import Folded, Group, fold_to_fit
from warehouse.reports.plots import as_png
from warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".mmd", ".md")
_INK = "#3a4049"
_COLOURS = {
    "#f6e3cf": ("prompt", "model", "llm_call", "hooks", "rejection"),
    "#dcefdf": ("environment", "tool", "task", "check", "proof", "audit", "difficulty"),
    "#d9e7f7": ("rollout", "evaluation", "rule"),
    "#e8dff3": ("update", "checkpoint"),
}
_COLOUR_OF = {kind: colour for colour, kinds in _COLOURS.items() for kind in kinds}
_BOX, _LINE, _ROW = 1.9, 0.3, 0.92
"""Inches: the width of a box with its margin, of a line that passes a layer, and the height of a layer."""

Place: TypeAlias = "int | tuple[int, int, int]"
"""A group, or where the line between two groups passes a layer."""


def write_picture(folded: Folded, file: Path) -> None:
    """Write the picture in the format of the file's suffix, one of FORMATS. Equal lineages give equal bytes."""
    if file.suffix in (".mmd", ".md"):
        file.write_text(mermaid(folded) if file.suffix == ".mmd" else mermaid_markdown(folded))
        return
    held = io.BytesIO()
    nothing: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
    draw(folded).savefig(held, format=file.suffix[1:], dpi=130, metadata=nothing)
    file.write_bytes(held.getvalue())


def shown_lineage(warehouse: Warehouse, checkpoint_id: str) -> dict[str, Any]:
    """What a checkpoint was made from, back to the prompts and to its parent, as Dagster shows it."""
    found = trace(
        warehouse, checkpoint_id, up=True, depth=12, kind="checkpoint", until=("checkpoint",), without=("check",)
    )
    return {"lineage": dg.MetadataValue.md(f"![lineage]({as_png(draw(fold_to_fit(found)))})")}


def draw(folded: Folded) -> "Figure":
    """Boxes in rows; arrows lead from parent to child, and say what the parent was to the child."""
    import matplotlib
    from matplotlib.figure import Figure

    rows, lines = _rows(folded)
    widths = [sum(_BOX if isinstance(place, int) else _LINE for place in row) for row in rows]
    width, height = max(*widths, 3.2), _ROW * len(rows)
    style: dict[Any, Any] = {
        "svg.hashsalt": content_id([group.title for group in folded.groups]),
        "font.family": "sans-serif",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(-height, 0))
        axes.axis("off")
        at: dict[Place, tuple[float, float]] = {}
        for number, (row, taken) in enumerate(zip(rows, widths, strict=True)):
            x = (width - taken) / 2
            for place in row:
                step = _BOX if isinstance(place, int) else _LINE
                at[place] = (x + step / 2, -_ROW * (number + 0.5))
                x += step
        for (near, far), line in lines.items():
            _arrow(axes, [at[place] for place in line], folded.up, folded.said((near, far)))
        for number, group in enumerate(folded.groups):
            _box(axes, *at[number], group)
    return figure


def _rows(folded: Folded) -> tuple[list[list[Place]], dict[tuple[int, int], list[Place]]]:
    """Places in rows from left to right, near those they are joined with; and the places each line goes through."""
    layers = [group.layer for group in folded.groups]
    rows: list[list[Place]] = [[] for _ in range(max(layers) + 1)]
    for number, layer in enumerate(layers):
        rows[layer].append(number)
    lines: dict[tuple[int, int], list[Place]] = {}
    for near, far in sorted(folded.bare):
        between: list[Place] = [(near, far, layer) for layer in range(layers[near] + 1, layers[far])]
        for layer, place in enumerate(between, layers[near] + 1):
            rows[layer].append(place)
        lines[near, far] = [near, *between, far]
    joined: dict[Place, list[Place]] = {}
    for line in lines.values():
        for one, other in pairwise(line):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    spot: dict[Place, float] = {}

    def settle(row: list[Place]) -> None:
        spot.update({place: (number + 0.5) / len(row) for number, place in enumerate(row)})

    for row in rows:
        settle(row)
    for order in (rows, rows[::-1]) * 4:
        for row in order:
            row.sort(key=lambda place: fmean(spot[other] for other in joined.get(place, [place])))
            settle(row)
    return rows, lines


def _arrow(axes: "Axes", points: list[tuple[float, float]], up: bool, said: str) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    edge = 0.29  # from the middle of a box to its rim
    (x0, y0), (x1, y1) = points[0], points[-1]
    vertices = [(x0, y0 - edge), *points[1:-1], (x1, y1 + edge)]
    corners, codes = [vertices[0]], [Curve.MOVETO]
    for (ax, ay), (bx, by) in pairwise(vertices):
        corners += [(ax, (ay + by) / 2), (bx, (ay + by) / 2), (bx, by)]
        codes += [Curve.CURVE4] * 3
    curve = Curve(corners if not up else corners[::-1], codes)
    axes.add_patch(
        FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=8, color=_INK, alpha=0.55, linewidth=0.8, zorder=1)
    )
    axes.text(
        (vertices[0][0] + vertices[1][0]) / 2, (vertices[0][1] + vertices[1][1]) / 2, textwrap.shorten(said, 34),
        fontsize=5.5, color=_INK, ha="center", va="center", zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
    )  # fmt: skip


def _box(axes: "Axes", x: float, y: float, group: Group) -> None:
    from matplotlib.patches import FancyBboxPatch

    half = _BOX / 2 - 0.1
    axes.add_patch(
        FancyBboxPatch(
            (x - half, y - 0.27), 2 * half, 0.54, boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=_COLOUR_OF.get(group.kind, "#e9ebee"), edgecolor=_INK, linewidth=0.6, zorder=3,
        )
    )  # fmt: skip
    title, below = group.words
    axes.text(x, y + 0.13, title, fontsize=7.5, weight="bold", color=_INK, ha="center", va="center", zorder=4)
    wrapped = "\n".join(textwrap.wrap(below, 36, max_lines=2, placeholder=" …"))
    axes.text(x, y - 0.1, wrapped, fontsize=6, color=_INK, ha="center", va="center", linespacing=1.1, zorder=4)
