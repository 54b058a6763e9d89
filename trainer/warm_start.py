"""The warm start: supervised training on golden trajectories, so that a small policy can use tools at all.

Same rows, packing and head as the update; only the objective differs. Measured on 2 cores with SmolLM2-135M, 16 steps
of 8 examples take a policy from no to most one-call requests.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from pydantic import TypeAdapter
from torch import Tensor

from envs.environment import Environment
from envs.spec import EnvironmentSpec
from envs.task import Task
from trainer.admission import require_parent, require_rows
from trainer.averaging import WeightMean
from trainer.conversation import Conversation, load_tokenizer
from trainer.dialects.choice import dialect_for
from trainer.golden import Equipment, golden_rows
from trainer.jobs import TrainingResult, WarmStartJob
from trainer.packing import Pack, Scores
from trainer.policy import load_policy, make_deterministic, weights_writer
from trainer.result import Trained, seal_result
from trainer.resuming import Journal, Statistics, take_steps
from trainer.rows import TrainingRow
from trainer.stepping import Objective, Stepper
from trainer.team import ALONE, Team

Report = Callable[[str], None]


def warm_start(job: WarmStartJob, report: Report = lambda _: None, state_path: Path | None = None) -> TrainingResult:
    """Imitate the golden trajectories of the job's tasks and seal the checkpoint.

    `report`, `state_path` and what is raised as in `imitate`.
    """
    return seal_result(job, imitate(job, report, state_path))


def imitate(
    job: WarmStartJob, report: Report = lambda _: None, state_path: Path | None = None, team: Team = ALONE
) -> Trained:
    """Take the job's steps. `report` gets one line per step; `state_path` is where a killed run went on from.

    Raises golden.GoldenFailed for a task that does not execute, ValueError without tasks or experts to ask, JobRefused,
    CheckpointBroken, TrainingStopped.
    """
    began = perf_counter()
    require_parent(job, job.config)
    rows = load_examples(job)
    require_rows(rows, job, job.tasks_path)
    make_deterministic(job.seed, job.config.threads)
    stepper = Stepper(load_policy(job, job.config), job.config, team)
    batches = example_batches(rows, job.config.steps, job.config.tasks_per_step, job.seed)
    mean = WeightMean(stepper)

    def step(number: int) -> Statistics:
        statistics = stepper.step(batches[number], negative_log_likelihood(batches[number]))
        if number >= len(batches) - job.config.average_steps:
            mean.include()
        return statistics

    steps = take_steps(len(batches), step, stepper, Journal(state_path, job, rows, mean.memory), report)
    mean.adopt()
    return Trained([weights_writer(stepper.model, job)], rows, steps, began)


def negative_log_likelihood(batch: Sequence[TrainingRow]) -> Objective:
    """Cross-entropy of the policy's tokens, mean over all trained tokens of the step."""
    tokens = sum(sum(row.trained) for row in batch)

    def objective(scores: Scores, _: Pack) -> Tensor:
        return -scores.logprobs.sum() / tokens

    return objective


def load_examples(job: WarmStartJob) -> list[TrainingRow]:
    """Golden rows of the job's tasks, rendered with the base model's chat template as rollouts are."""
    tasks = TypeAdapter(list[Task]).validate_json(Path(job.tasks_path).read_bytes())
    specs = TypeAdapter(list[EnvironmentSpec]).validate_json(Path(job.environments_path).read_bytes())
    if not tasks:
        raise ValueError(f"{job.tasks_path}: no tasks to imitate; prove some first.")
    environments = {spec.id: Environment.load(spec) for spec in specs}
    tokenizer = load_tokenizer(Path(job.base_model_path))
    conversation = Conversation(tokenizer, dialect_for(job.dialect, tokenizer))
    equipment = Equipment(job.toolbox, job.config.expert_rate, job.seed, specs, job.config.examples_per_task)
    rows = golden_rows(tasks, environments, conversation, job.config.result_limit_chars, equipment)
    for environment in environments.values():
        environment.close()
    return rows


def example_batches(rows: Sequence[TrainingRow], steps: int, tasks_per_step: int, seed: int) -> list[list[TrainingRow]]:
    """The rows of each step: those of whole tasks, dealt in an order drawn from `seed`; none again before all came."""
    dealer = random.Random(seed)
    of_task: dict[str, list[TrainingRow]] = {}
    for row in sorted(rows, key=lambda row: row.name):
        of_task.setdefault(row.rollout_id, []).append(row)
    deck: list[list[TrainingRow]] = []
    batches = []
    for _ in range(steps):
        while len(deck) < tasks_per_step:
            again = list(of_task.values())
            dealer.shuffle(again)
            deck += again
        batches.append([row for examples in deck[:tasks_per_step] for row in examples])
        deck = deck[tasks_per_step:]
    return batches
