"""The rows of several results as those of one."""

from collections.abc import Iterable
from typing import Any


def merged(tables: Iterable[dict[str, list[dict[str, Any]]]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of several results, table by table."""
    together: dict[str, list[dict[str, Any]]] = {}
    for result in tables:
        for name, rows in result.items():
            together.setdefault(name, []).extend(rows)
    return together
