"""The settings of the campaign that batches belong to: as they were recorded with them, else as its file says now."""

from collections.abc import Sequence

from dagster_project.campaign import Campaign, CampaignError, load_campaign
from warehouse.warehouse import Warehouse

_GIVEN = """
SELECT g.record FROM givens g JOIN lineage_edges e ON e.parent_id = g.id AND e.parent_kind = 'campaign'
JOIN batches b ON b.batch_id = e.child_id
WHERE e.relation = 'given' AND b.batch_id IN (SELECT unnest($ids)) ORDER BY b.created_at DESC, b.batch_id LIMIT 1
"""
_NAMES = """
SELECT DISTINCT campaign FROM batch_rollouts WHERE batch_id IN (SELECT unnest($ids)) ORDER BY campaign
"""


def campaign_of(warehouse: Warehouse, batch_ids: Sequence[str], name: str | None = None) -> Campaign | None:
    """The campaign `name`, by default that of the batches' rollouts; None where nothing tells its settings."""
    given = warehouse.query(_GIVEN, {"ids": list(batch_ids)})["record"].to_list()
    if given:
        return Campaign.model_validate_json(given[0])
    names = [name] if name else warehouse.query(_NAMES, {"ids": list(batch_ids)})["campaign"].to_list()
    try:
        return load_campaign(names[0]) if len(names) == 1 else None
    except CampaignError:
        return None
