"""How assets meet the warehouse: `consume` resolves exactly what is read, `record` stores what was made of it.

Dagster's own pointers name the newest materialisation of any partition, which is not lineage: so every asset resolves
each input once, opens exactly that batch, and writes the list into its metadata and into `lineage_edges`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_project.asset_tables import row_counts
from dagster_project.giving import given_marks, given_sources
from dagster_project.runtime import runtime_row, source_version
from warehouse.givens import Given
from warehouse.lineage import Edge
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse


class NotMaterialised(RuntimeError):
    """An input does not exist yet: which, and how to make it."""


def consume(warehouse: Warehouse, asset: str, partition: str | None) -> Batch:
    """The batch that stands for (asset, partition) now. Raises NotMaterialised."""
    batch = warehouse.latest_batch(asset, partition)
    if batch is None:
        where = f"{asset}[{partition}]" if partition else asset
        raise NotMaterialised(f"{where} is not in the warehouse. Materialise it first, in the UI or with `make demo`.")
    return batch


def record(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    tables: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    inputs: Sequence[Batch] = (),
    edges: Iterable[Edge] = (),
    metadata: Mapping[str, Any] | None = None,
    data_version: str | None = None,
    givens: Iterable[Given] = (),
) -> dg.MaterializeResult[Any]:
    """Store rows, edges and inputs as one batch, and report it to Dagster under the hash of its content.

    `givens` is what it was made with beside the inputs; sources and quarantines are added here.
    """
    partition = context.partition_key if context.has_partition_key else None
    asset = context.asset_key.to_user_string()
    complete = {
        name: [dict.fromkeys(TABLES[name].columns) | dict(row) for row in rows] for name, rows in tables.items()
    }
    batch = warehouse.record_batch(
        asset,
        partition,
        complete,
        edges,
        run_id=context.run.run_id,
        code_version=source_version(),
        data_version=data_version,
        inputs=inputs,
        runtime=runtime_row(source_version()),
        givens=[*givens, *given_marks(warehouse), given_sources()],
    )
    counts = {f"rows/{name}": len(rows) for name, rows in complete.items()}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(batch.data_version),
        metadata={
            **(metadata or {}),
            **counts,
            **row_counts(warehouse, asset, complete),
            "batch": batch.batch_id,
            "lineage/inputs": dg.MetadataValue.json(
                [
                    {
                        "asset": used.asset,
                        "partition": used.partition,
                        "run_id": used.run_id,
                        "batch": used.batch_id,
                        "data_version": used.data_version,
                    }
                    for used in inputs
                ]
            ),
            "lineage/source": source_version(),
            "lineage/runtime": batch.runtime_id,
        },
    )
