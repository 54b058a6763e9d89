"""One update: training rows and a parent become a new checkpoint. A pure function of what the job names.

Replayed on the same machine and versions it gives the same bytes, also when it was killed on the way: rows are ordered
by key, sums are deterministic, and what a step depends on is kept after each (`trainer.resuming`).
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch

from trainer.admission import require_parent, require_rows
from trainer.jobs import TrainingResult, UpdateJob
from trainer.moments import continue_moments, moments_writer
from trainer.objective import ParentLogprobs, StepObjective, distances
from trainer.packing import pack_rows
from trainer.policy import device_here, load_policy, make_deterministic, weights_writer
from trainer.result import Trained, seal_result
from trainer.resuming import Journal, Statistics, take_steps
from trainer.rows import TrainingRow, read_training_rows
from trainer.settings import UpdateConfig
from trainer.stepping import Stepper, shortest
from trainer.team import ALONE, Team
from trainer.trust_region import TrustRegion

Report = Callable[[str], None]


def update(job: UpdateJob, report: Report = lambda _: None, state_path: Path | None = None) -> TrainingResult:
    """Take the job's optimizer steps, seal the checkpoint, and return its id, folder, manifest and figures by step.

    The same job gives the same bytes on the same machine. `report` gets one line per step. Steps that a killed run left
    at `state_path` are not repeated. Raises JobRefused, RowsUnreadable or CheckpointBroken before any work, and
    TrainingStopped when the loss or the gradient is not usable.
    """
    return seal_result(job, learn(job, report, state_path))


def learn(
    job: UpdateJob, report: Report = lambda _: None, state_path: Path | None = None, team: Team = ALONE
) -> Trained:
    """Take the job's steps. `report` gets one line per step; steps that a killed run left at `state_path` are kept.

    Raises JobRefused, RowsUnreadable or CheckpointBroken before any work, and TrainingStopped when loss or gradient is
    not usable.
    """
    began = perf_counter()
    require_parent(job, job.config)
    rows = read_training_rows(Path(job.rows_path))
    require_rows(rows, job, job.rows_path)
    make_deterministic(job.seed, job.config.threads)
    stepper = Stepper(load_policy(job, job.config), job.config, team)
    if job.config.moments == "continued":
        continue_moments(stepper, job)
    batches = minibatches(rows, job.config, job.seed)
    parent = ParentLogprobs()

    def step(number: int) -> Statistics:
        if number == 0:
            score_parent(stepper, parent, batches)
        stepper.set_learning_rate(job.config.learning_rate_at(stepper.steps_taken))
        objective = StepObjective(job.config, batches[number], parent, first=number == 0)
        region = TrustRegion(stepper, job.config.max_kl)
        statistics = stepper.step(batches[number], objective)
        held = region.hold(batches[number], objective.seen()[0])
        parent.share(team)
        return {**statistics, **distances(team.concatenated(objective.seen()), job.config), **held}

    steps = take_steps(len(batches), step, stepper, Journal(state_path, job, rows, parent.by_row), report)
    writers = [weights_writer(stepper.model, job)]
    if job.config.moments == "continued":
        writers.append(moments_writer(stepper))
    return Trained(writers, rows, steps, began)


def minibatches(rows: Sequence[TrainingRow], config: UpdateConfig, seed: int) -> list[list[TrainingRow]]:
    """The rows of each optimizer step: whole groups, dealt in an order drawn from `seed`, anew every epoch.

    Rows without trained tokens are in none.
    """
    groups: dict[str, list[TrainingRow]] = {}
    for row in sorted(rows, key=lambda row: (row.group_id, row.rollout_id, row.part)):
        if any(row.trained):
            groups.setdefault(row.group_id, []).append(row)
    dealer = random.Random(seed)
    batches = []
    for _ in range(config.epochs):
        names = sorted(groups)
        dealer.shuffle(names)
        hands = [names[start :: config.minibatches] for start in range(config.minibatches)]
        batches += [[row for name in hand for row in groups[name]] for hand in hands if hand]
    return batches


def score_parent(stepper: Stepper, parent: ParentLogprobs, batches: Sequence[Sequence[TrainingRow]]) -> None:
    """The parent's logprobs of all rows but the first step's, which scores its own; with one step there are none."""
    own = {row.name for row in batches[0]}
    later = {row.name: row for batch in batches[1:] for row in batch if row.name not in own}
    with torch.no_grad():
        for members in stepper.passes(list(later.values())):
            pack = pack_rows(members or [shortest(list(later.values()))], device_here())
            parent.keep(pack, stepper.score(pack).logprobs)
