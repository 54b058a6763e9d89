"""Warehouse: DuckDB tables, ingest, lineage, queries, dataset export."""

from typing import TYPE_CHECKING

from envs.front_door import open_door

__all__ = ["Warehouse"]

if TYPE_CHECKING:
    from warehouse.warehouse import Warehouse
else:
    __getattr__, __dir__ = open_door(__name__, {"Warehouse": "warehouse.warehouse"}, extra="warehouse")
