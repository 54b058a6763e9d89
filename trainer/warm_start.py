"""The warm start: supervised training on golden trajectories, so that a small policy can use tools at all.

Same rows, packing and head as the update; only the objective differs. Measured on 2 cores with SmolLM2-135M, 16 steps
of 8 examples take a policy from no to most one-call requests.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from pydantic import JsonValue, TypeAdapter
from torch import Tensor

from envs.environment import Environment
from envs.spec import EnvironmentSpec
from envs.task import Task
from trainer.conversation import Conversation, load_tokenizer
from trainer.golden import golden_rows
from trainer.jobs import TrainingResult, WarmStartJob
from trainer.packing import Pack, Scores
from trainer.policy import load_policy, make_deterministic
from trainer.result import seal_result
from trainer.rows import TrainingRow
from trainer.stepping import Stepper

Report = Callable[[str], None]


def warm_start(job: WarmStartJob, report: Report = lambda _: None) -> TrainingResult:
    """Imitate the golden trajectories of the job's tasks and seal the checkpoint. `report` gets one line per step.

    Raises golden.GoldenFailed for a task that does not execute, ValueError without tasks, TrainingStopped.
    """
    began = perf_counter()
    rows = load_examples(job)
    make_deterministic(job.seed, job.config.threads)
    model = load_policy(job, job.config.lora, job.config.dtype)
    stepper = Stepper(model, job.config)
    steps: list[dict[str, JsonValue]] = []
    for batch in example_batches(rows, job.config.steps, job.config.examples_per_step, job.seed):
        steps.append(stepper.step(batch, negative_log_likelihood))
        report(
            f"step {len(steps)} of {job.config.steps}: loss {steps[-1]['loss']:.4f}, "
            f"{steps[-1]['trained_tokens']} tokens in {steps[-1]['seconds']} s"
        )
    return seal_result(job, model, rows, steps, began)


def negative_log_likelihood(scores: Scores, _: Pack, step_tokens: int) -> Tensor:
    """Cross-entropy of the policy's tokens, mean over all trained tokens of the step."""
    return -scores.logprobs.sum() / step_tokens


def load_examples(job: WarmStartJob) -> list[TrainingRow]:
    """Golden rows of the job's tasks, rendered with the base model's chat template."""
    tasks = TypeAdapter(list[Task]).validate_json(Path(job.tasks_path).read_bytes())
    specs = TypeAdapter(list[EnvironmentSpec]).validate_json(Path(job.environments_path).read_bytes())
    if not tasks:
        raise ValueError(f"{job.tasks_path}: no tasks to imitate; prove some first.")
    environments = {spec.id: Environment.load(spec) for spec in specs}
    conversation = Conversation(load_tokenizer(Path(job.base_model_path)))
    rows = golden_rows(tasks, environments, conversation, job.config.result_limit_chars)
    for environment in environments.values():
        environment.close()
    return rows


def example_batches(
    rows: Sequence[TrainingRow], steps: int, examples_per_step: int, seed: int
) -> list[list[TrainingRow]]:
    """The rows of each step, dealt in an order drawn from `seed`; every row comes before any comes again."""
    dealer = random.Random(seed)
    deck: list[TrainingRow] = []
    batches = []
    for _ in range(steps):
        while len(deck) < examples_per_step:
            again = sorted(rows, key=lambda row: row.name)
            dealer.shuffle(again)
            deck += again
        batches.append(deck[:examples_per_step])
        deck = deck[examples_per_step:]
    return batches
