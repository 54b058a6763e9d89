"""The table that people think of when they open an asset: its columns and how many rows of it there are."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from generators.brief import Brief
from warehouse.tables import TABLES, Table
from warehouse.warehouse import Warehouse

TABLE_OF = {
    "environment": "environments",
    "candidate_tasks": "tasks",
    "proven_tasks": "tasks",
    "task_dataset": "tasks",
    "difficulty": "difficulties",
    "base_policy": "checkpoints",
    "warm_policy": "checkpoints",
    "baseline": "evaluations",
    "rollouts": "rollouts",
    "checkpoint": "checkpoints",
    "evaluation": "evaluations",
}
"""What else an asset stores is counted in its metadata too; a brief is a file of its own and no row."""

BRIEF = {
    "title": "what the domain is called",
    "description": "what it is about, given to the synthesist",
    "kind": "service: tables and tools; documents: an archive to be searched",
    "clock": "the frozen present of the environment, ISO 8601",
    "entities": "entity → what to know about it; empty: the synthesist proposes them",
    "rules": "business rules in words, given to the synthesist as hints",
    "sizes": "rows, tools, tasks and paraphrases to make",
    "seed": "what rows, tasks and prices are drawn from",
    "answers_seed": "goes out with every question to the model",
}


def table_metadata(asset: str) -> dict[str, Any]:
    """What an asset's definition says of its table."""
    if asset == "brief":
        return {"dagster/column_schema": _fields_of_a_brief()}
    table = TABLES[TABLE_OF[asset]]
    return {"dagster/column_schema": _columns(table), "dagster/table_name": table.name}


def row_counts(warehouse: Warehouse, asset: str, tables: Mapping[str, Sequence[object]]) -> dict[str, int]:
    """Rows of an asset's table: in the partition that was just recorded, and in all that stand now."""
    if asset == "brief":
        query = "SELECT count(*) FROM current_batches WHERE asset = ?"
        return {"dagster/partition_row_count": 1, "dagster/row_count": _count(warehouse, query, [asset])}
    name = TABLE_OF[asset]
    members = "SELECT count(*) FROM batch_members JOIN current_batches USING (batch_id)"
    query = f"{members} WHERE asset = ? AND table_name = ?"
    return {
        "dagster/partition_row_count": len(tables.get(name, ())),
        "dagster/row_count": _count(warehouse, query, [asset, name]),
    }


def _count(warehouse: Warehouse, query: str, parameters: list[str]) -> int:
    return int(warehouse.query(query, parameters).item())


def _columns(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                str(column.arrow.type),
                column.meaning,
                dg.TableColumnConstraints(nullable=name not in table.key, unique=(name,) == table.key),
            )
            for name, column in table.columns.items()
        ]
    )


def _fields_of_a_brief() -> dg.TableSchema:
    columns = [
        dg.TableColumn(
            name,
            getattr(field.annotation, "__name__", str(field.annotation)).replace("Literal", "str"),
            BRIEF[name],
            dg.TableColumnConstraints(nullable=not field.is_required()),
        )
        for name, field in Brief.model_fields.items()
    ]
    return dg.TableSchema(columns=columns)
