"""Which batches are exported: those of a campaign, or one that is named; and what of them is left out."""

from dataclasses import dataclass

from warehouse.asset_names import AssetNames
from warehouse.export.folder import ExportRefused
from warehouse.warehouse import Batch, Warehouse

_NEWEST = "SELECT batch_id FROM current_batches WHERE asset = ? ORDER BY created_at DESC, batch_id LIMIT 1"
_OF_CAMPAIGN = """
SELECT batch_id FROM current_batches
WHERE ((asset IN (SELECT unnest($once)) AND partition = $campaign)
    OR (asset IN (SELECT unnest($iterated)) AND starts_with(partition, $campaign || '-')
      AND regexp_full_match(partition[length($campaign) + 2:], '[0-9]+')))
  AND EXISTS (FROM batch_members m WHERE m.batch_id = current_batches.batch_id AND m.table_name = 'rollouts')
ORDER BY created_at, batch_id
"""


@dataclass(frozen=True)
class Selection:
    """What was asked for. Nothing means the newest dataset and the campaign it belongs to."""

    assets: AssetNames
    campaign: str | None = None
    batch_id: str | None = None

    def dataset(self, warehouse: Warehouse) -> Batch:
        """The batch whose tasks are meant. Raises ExportRefused and UnknownBatch."""
        batch_id = self.batch_id
        if batch_id is None and self.campaign is not None:
            of_campaign = warehouse.latest_batch(self.assets.dataset, self.campaign)
            if of_campaign is not None:
                return of_campaign
        elif batch_id is None:
            newest = warehouse.query(_NEWEST, [self.assets.dataset])["batch_id"].to_list()
            batch_id = newest[0] if newest else None
        if batch_id is None:
            whose = f"of campaign {self.campaign} " if self.campaign else ""
            raise ExportRefused(f"no dataset {whose}is in the warehouse. Materialise {self.assets.dataset} first.")
        return warehouse.batch(batch_id)

    def rollouts(self, warehouse: Warehouse) -> tuple[str, list[str]]:
        """The name of what is meant, and its batches of rollouts. Raises ExportRefused and UnknownBatch."""
        if self.batch_id is not None:
            return f"batch {warehouse.batch(self.batch_id).batch_id[:8]}", [self.batch_id]
        campaign = self.campaign or self.dataset(warehouse).partition or ""
        asked = {"campaign": campaign, "once": self.assets.once, "iterated": self.assets.iterated}
        batch_ids = warehouse.query(_OF_CAMPAIGN, asked)["batch_id"].to_list()
        if not batch_ids:
            raise ExportRefused(f"campaign {campaign} has no rollouts yet. Run `envloom train {campaign}` first.")
        return f"campaign {campaign}", batch_ids
