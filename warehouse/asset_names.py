"""The names of the assets that exports read, as the caller gives them: the warehouse itself knows none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AssetNames:
    """Which asset plays which part."""

    environment: str
    """Environments, by domain."""
    candidates: str
    """Tasks before the proof, by domain."""
    proven: str
    """Tasks after the proof, by domain."""
    dataset: str
    """Tasks with their splits, by campaign."""
    once: tuple[str, ...]
    """Rollouts of a campaign that are recorded under its name."""
    iterated: tuple[str, ...]
    """Rollouts of its iterations, recorded under `<campaign>-<number>`."""
