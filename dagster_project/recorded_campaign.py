"""The settings of the campaign that batches belong to: as they were recorded with them, else as its file says now."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from dagster_project.campaign import Campaign, CampaignError, load_campaign
from dagster_project.giving import CAMPAIGN
from dagster_project.reproduction.naming import campaign_name
from warehouse.copying import givens_of
from warehouse.warehouse import Batch, Warehouse


def campaign_of(warehouse: Warehouse, batches: Sequence[Batch]) -> Campaign:
    """The settings that the newest of these batches was made with, of those with recorded settings; else the present.

    Raises CampaignError where there are none, and for recorded ones that the present code does not know.
    """
    newest = sorted(batches, key=lambda batch: (batch.created_at, batch.batch_id), reverse=True)
    for batch in newest:
        if (settings := recorded_settings(warehouse, batch)) is not None:
            try:
                return Campaign.model_validate(settings)
            except ValidationError as error:
                raise CampaignError(f"the settings of then are none that this code knows: {error}") from error
    return load_campaign(campaign_name(newest[0]) or "")


def recorded_settings(warehouse: Warehouse, batch: Batch) -> Mapping[str, Any] | None:
    """The settings of its campaign that were recorded with a batch; None where none were."""
    campaigns = (given for given in givens_of(warehouse, batch.batch_id) if given.kind == CAMPAIGN)
    return next((campaign.record for campaign in campaigns if campaign.name == campaign_name(batch)), None)
