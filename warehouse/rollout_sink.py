"""The warehouse as the sink of a collection: where workers, here and elsewhere, make their rollouts durable."""

from dataclasses import dataclass
from typing import Any, Protocol

from warehouse.warehouse import Warehouse


class Attempt(Protocol):
    """A rollout that knows its rows."""

    @property
    def id(self) -> str: ...

    def rows(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Its row of `rollouts`, and those of `turns`."""
        ...


@dataclass(frozen=True)
class PartSink:
    """The rollouts of one iteration of a campaign, as bundles under the warehouse's parts folder.

    Workers on other machines need that folder under the same path. The database only the driver opens.
    """

    warehouse: Warehouse
    campaign: str
    iteration: int

    def keep(self, rollout: Attempt) -> None:
        """Write the rollout with its turns: together or not at all."""
        row, turns = rollout.rows()
        self.warehouse.write_bundle(rollout.id, {"rollouts": [row], "turns": turns})

    def kept(self) -> set[str]:
        """The ids of the iteration's rollouts, after whatever waits has been taken in."""
        self.warehouse.ingest()
        ids = "SELECT id FROM rollouts WHERE campaign = ? AND iteration = ?"
        return set(self.warehouse.query(ids, [self.campaign, self.iteration])["id"])
