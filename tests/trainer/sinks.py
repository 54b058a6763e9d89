"""A sink that needs no warehouse, and no other process."""

from collections.abc import Set

from trainer.rollout import Rollout


class InMemory:
    """Keeps rollouts as long as it lives; it cannot be sent to workers elsewhere."""

    def __init__(self) -> None:
        self.ended: list[Rollout] = []

    def keep(self, rollout: Rollout) -> None:
        self.ended.append(rollout)

    def kept(self) -> Set[str]:
        return {rollout.id for rollout in self.ended}

    def rollouts(self) -> list[Rollout]:
        """All of them, sorted by id."""
        return sorted(self.ended, key=lambda rollout: rollout.id)
