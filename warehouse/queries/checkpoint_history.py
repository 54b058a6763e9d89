"""Which checkpoint is meant, and the batches that it was made from, in the order in which they were recorded."""

from dataclasses import dataclass

from warehouse.queries.lookup import NotFound
from warehouse.warehouse import Batch, Warehouse

_OF_ITERATION = "SELECT batch_id FROM current_batches WHERE asset = 'checkpoint' AND partition = ?"
_OF_ID = """
SELECT DISTINCT c.id FROM batch_checkpoints c JOIN batches b USING (batch_id)
WHERE b.asset IN ('checkpoint', 'warm_policy') AND starts_with(c.id, ?) ORDER BY c.id
"""
_HOLDS = """
SELECT b.batch_id FROM batch_checkpoints c JOIN batches b USING (batch_id)
WHERE b.asset IN ('checkpoint', 'warm_policy') AND c.id = ? ORDER BY b.created_at DESC, b.batch_id LIMIT 1
"""
_UPSTREAM = """
WITH RECURSIVE walk AS (
  SELECT unnest($ids) AS id
  UNION
  SELECT e.parent_id FROM walk JOIN lineage_edges e
    ON e.child_id = walk.id AND e.child_kind = 'batch' AND e.parent_kind = 'batch' AND e.relation = 'input'
)
SELECT DISTINCT id FROM walk
"""
_EVALUATIONS = """
SELECT b.batch_id FROM current_batches b JOIN lineage_edges e ON e.child_id = b.batch_id AND e.relation = 'input'
JOIN batches p ON p.batch_id = e.parent_id AND p.asset = 'checkpoint'
WHERE b.asset = 'evaluation' AND e.parent_id IN (SELECT unnest(?))
"""


@dataclass(frozen=True)
class Target:
    """A checkpoint and its history."""

    checkpoint_id: str
    batches: tuple[Batch, ...]
    """All that it was made from, itself, and how it and those before it were evaluated, in order of recording."""

    @property
    def campaign(self) -> str:
        """The name of its campaign."""
        return next(batch.partition or "" for batch in self.batches if batch.asset == "base_policy")


def find_target(warehouse: Warehouse, name: str) -> Target:
    """The checkpoint of an iteration (`demo-0001`), or the one whose id starts with `name`. Raises NotFound."""
    newest = warehouse.query(_OF_ITERATION, [name])["batch_id"].to_list()
    if newest:
        checkpoint_id = str(warehouse.read_batch(newest[0], "checkpoints")["id"].item())
        return _target(warehouse, checkpoint_id, newest[0])
    ids = warehouse.query(_OF_ID, [name])["id"].to_list()
    if len(ids) != 1:
        known = warehouse.query("SELECT partition FROM current_batches WHERE asset = 'checkpoint' ORDER BY partition")
        there = ", ".join(known["partition"]) or "none; run `make demo`"
        what = f'"{name}" is the start of {len(ids)} ids' if ids else f'there is no checkpoint "{name}"'
        raise NotFound(f"{what} in {warehouse.path}. Iterations with a checkpoint: {there}.")
    return _target(warehouse, ids[0], str(warehouse.query(_HOLDS, [ids[0]])["batch_id"].item()))


def _target(warehouse: Warehouse, checkpoint_id: str, batch_id: str) -> Target:
    policies = warehouse.query(_UPSTREAM, {"ids": [batch_id]})["id"].to_list()
    evaluations = warehouse.query(_EVALUATIONS, [policies])["batch_id"].to_list()
    ids = warehouse.query(_UPSTREAM, {"ids": [*policies, *evaluations]})["id"].to_list()
    batches = sorted((warehouse.batch(each) for each in ids), key=lambda batch: (batch.created_at, batch.batch_id))
    return Target(checkpoint_id, tuple(batches))
