"""Which assets exports read."""

from warehouse.asset_names import AssetNames

ASSET_NAMES = AssetNames(
    environment="environment",
    candidates="candidate_tasks",
    proven="proven_tasks",
    dataset="task_dataset",
    once=("baseline", "difficulty"),
    iterated=("rollouts", "evaluation"),
)
