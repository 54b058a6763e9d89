"""The warehouse as the sink of a collection: where workers, here and elsewhere, make their rollouts durable."""

from dataclasses import dataclass

from dagster_project import stored
from trainer.rollout import Rollout
from warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class PartSink:
    """The rollouts of one iteration of a campaign, as bundles under the warehouse's parts folder.

    Workers on other machines need that folder under the same path. The database only the driver opens.
    """

    warehouse: Warehouse
    campaign: str
    iteration: int

    def keep(self, rollout: Rollout) -> None:
        """Write the rollout with its turns: together or not at all."""
        self.warehouse.write_bundle(rollout.id, stored.rollout_tables(rollout))

    def kept(self) -> set[str]:
        """The ids of the iteration's rollouts, after whatever waits has been taken in."""
        self.warehouse.ingest()
        ids = "SELECT id FROM rollouts WHERE campaign = ? AND iteration = ?"
        return set(self.warehouse.query(ids, [self.campaign, self.iteration])["id"])
