"""The domain, campaign or iteration of a batch, by the name of its partition; and which names there can be."""

import re

from dagster_project.reproduction.containment import BundleBroken, is_plain, shortened
from generators.brief import NAME
from warehouse.warehouse import Batch

DOMAIN_ASSETS = ("brief", "environment", "candidate_tasks", "proven_tasks")
ITERATED = ("rollouts", "checkpoint", "evaluation")


def campaign_name(batch: Batch) -> str | None:
    """The campaign that an asset's partition belongs to; None for the assets of a domain."""
    if batch.asset in DOMAIN_ASSETS or batch.partition is None:
        return None
    return batch.partition.rpartition("-")[0] if batch.asset in ITERATED else batch.partition


def is_partition(asset: str, partition: str) -> bool:
    """Whether a batch of the asset can have this partition: a domain, a campaign, or an iteration of one."""
    if asset in DOMAIN_ASSETS:
        return re.fullmatch(NAME.strip("^$"), partition) is not None
    if asset in ITERATED:
        campaign, _, number = partition.rpartition("-")
        return is_plain(campaign) and re.fullmatch(r"[0-9]{4,9}", number) is not None
    return is_plain(partition)


def require_names(batch: Batch) -> None:
    """Refuse a batch whose partition or run, which become names of files, could be those of others.

    Raises BundleBroken.
    """
    if not is_partition(batch.asset, batch.partition or "") or not re.fullmatch(r"[\w-]{1,64}", batch.run_id):
        raise BundleBroken(
            f"batch {batch.batch_id} of {batch.asset}: {shortened(batch.partition or '')} of run "
            f"{shortened(batch.run_id)} is no partition that can be made again here"
        )
