"""One batch from a warehouse to another, with all that belongs to it: rows, edges, what it was given, its runtime.

The copy has the batch's own id, since asset, partition, content and run are the same. Its time of recording is new.
"""

from collections.abc import Callable
from typing import Any

from warehouse.givens import Given
from warehouse.lineage import Edge
from warehouse.warehouse import Batch, Warehouse

Row = dict[str, Any]


def inputs_of(warehouse: Warehouse, batch_id: str) -> list[str]:
    """Ids of the batches it was made from."""
    sql = "SELECT parent_id FROM lineage_edges WHERE child_id = ? AND child_kind = 'batch' AND relation = 'input'"
    return warehouse.query(f"{sql} ORDER BY parent_id", [batch_id])["parent_id"].to_list()


def givens_of(warehouse: Warehouse, batch_id: str) -> list[Given]:
    """What the batch was made with beside its inputs, sorted by kind and name."""
    rows = warehouse.query(
        "SELECT g.kind, g.name, g.record FROM lineage_edges e JOIN givens g ON g.id = e.parent_id "
        "WHERE e.child_id = ? AND e.child_kind = 'batch' AND e.relation = 'given' ORDER BY g.kind, g.name, g.id",
        [batch_id],
    )
    return [Given.read(**row) for row in rows.to_dicts()]


def edges_of(warehouse: Warehouse, batch_id: str) -> list[Edge]:
    """Edges to the batch's records, also those that an earlier batch has told of them already."""
    rows = warehouse.query(
        "SELECT parent_kind, parent_id, child_kind, child_id, relation FROM lineage_edges "
        "WHERE child_kind <> 'batch' AND (batch_id = $batch "
        "OR child_id IN (SELECT record_id FROM batch_members WHERE batch_id = $batch)) ORDER BY ALL",
        {"batch": batch_id},
    )
    return [Edge(**row) for row in rows.to_dicts()]


def runtime_of(warehouse: Warehouse, batch: Batch) -> Row | None:
    """The row of `runtimes`, where one was told."""
    found = warehouse.query("SELECT * FROM runtimes WHERE id = ?", [batch.runtime_id]).to_dicts()
    return found[0] if found else None


def copy_batch(
    source: Warehouse,
    batch_id: str,
    target: Warehouse,
    change: Callable[[str, Row], Row] = lambda _, row: row,
) -> Batch:
    """Record a batch of `source` in `target`, which holds its inputs. `change` gets table and row: places differ."""
    batch = source.batch(batch_id)
    rows = {
        table: [change(table, row) for row in frame.to_dicts()] for table, frame in source.read_whole(batch_id).items()
    }
    return target.record_batch(
        batch.asset,
        batch.partition,
        rows,
        edges_of(source, batch_id),
        run_id=batch.run_id,
        code_version=batch.code_version,
        data_version=batch.data_version,
        inputs=[target.batch(each) for each in inputs_of(source, batch_id)],
        runtime=runtime_of(source, batch),
        givens=givens_of(source, batch_id),
    )
