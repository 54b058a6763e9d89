"""The code location: everything Dagster is told."""

import dagster as dg

from dagster_project.assets.dataset import task_dataset
from dagster_project.assets.difficulty import difficulty
from dagster_project.assets.loop import checkpoint, evaluation, rollouts
from dagster_project.assets.policies import base_policy, baseline, warm_policy
from dagster_project.assets.synthesis import brief, candidate_tasks, environment, proven_tasks
from dagster_project.jobs import killed_runs, next_iteration, preparation, rl_iteration, synthesis, train
from dagster_project.resources import resources

ASSETS = [
    brief, environment, candidate_tasks, proven_tasks, task_dataset, base_policy, warm_policy, difficulty,
    baseline, rollouts, checkpoint, evaluation,
]  # fmt: skip

STEPS = dg.multiprocess_executor.configured(
    # A step begins with what the process before it has imported already, and not seconds later.
    {"start_method": {"forkserver": {"preload_modules": [__name__]}}}
)

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[synthesis, preparation, train, rl_iteration],
    sensors=[next_iteration, killed_runs],
    resources=resources(),
    executor=STEPS,
)
