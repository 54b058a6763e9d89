"""How a benchmark tells its figures: a table for people, then one JSON object per line for `run_all`."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured number and what it should be."""

    figure: str
    value: float
    unit: str
    target: float
    better: Literal["higher", "lower"] = "higher"

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


def tell(title: str, figures: Sequence[Figure], note: str = "") -> None:
    """Print the figures."""
    table = Table(title=title, title_justify="left")
    for name in ("figure", "value", "unit", "target", "met"):
        table.add_column(name, justify="left" if name in ("figure", "unit", "met") else "right")
    for each in figures:
        bound = f"{'≥' if each.better == 'higher' else '≤'} {each.target:,g}"
        table.add_row(each.figure, f"{each.value:,.4g}", each.unit, bound, "yes" if each.met else "no")
    Console().print(table)
    print(f"{note}{'; ' if note else ''}load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processor cores")
    for each in figures:
        line = {name: getattr(each, name) for name in ("figure", "value", "unit", "target", "better")}
        print(json.dumps({**line, "value": float(f"{each.value:.4g}"), "met": each.met}))
