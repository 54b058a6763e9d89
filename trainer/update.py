"""One update: training rows and a parent adapter become a new checkpoint. A pure function of what the job names.

Replayed on the same machine and versions it gives the same bytes: rows are ordered by key, sums are deterministic.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from pydantic import JsonValue

from trainer.jobs import TrainingResult, UpdateConfig, UpdateJob
from trainer.losses import LOSSES
from trainer.packing import Pack, Scores
from trainer.policy import load_policy, make_deterministic
from trainer.result import seal_result
from trainer.rows import TrainingRow, read_training_rows
from trainer.stepping import Stepper

Report = Callable[[str], None]


def update(job: UpdateJob, report: Report = lambda _: None) -> TrainingResult:
    """Take the job's steps and seal the checkpoint. `report` gets one line per step.

    No rows (every group was left out) means no step: the checkpoint then holds the parent's weights.
    Raises TrainingStopped when loss or gradient is not usable; nothing is written then.
    """
    began = perf_counter()
    rows = read_training_rows(Path(job.rows_path))
    make_deterministic(job.seed, job.config.threads)
    model = load_policy(job, job.config.lora, job.config.dtype)
    stepper = Stepper(model, job.config)
    steps: list[dict[str, JsonValue]] = []
    for batch in minibatches(rows, job.config, job.seed):
        ratios = _Ratios(job.config)
        statistics = stepper.step(batch, _objective(job.config), ratios.add)
        steps.append({**statistics, **ratios.summary()})
        report(f"step {len(steps)}: {_line(steps[-1])}")
    return seal_result(job, model, rows, steps, began)


def minibatches(rows: Sequence[TrainingRow], config: UpdateConfig, seed: int) -> list[list[TrainingRow]]:
    """The rows of each optimizer step: whole groups, dealt in an order drawn from `seed`, anew every epoch."""
    groups: dict[str, list[TrainingRow]] = {}
    for row in sorted(rows, key=lambda row: (row.group_id, row.rollout_id, row.part)):
        groups.setdefault(row.group_id, []).append(row)
    dealer = random.Random(seed)
    batches = []
    for _ in range(config.epochs):
        names = sorted(groups)
        dealer.shuffle(names)
        hands = [names[start :: config.minibatches] for start in range(config.minibatches)]
        batches += [[row for name in hand for row in groups[name]] for hand in hands if hand]
    return batches


def _objective(config: UpdateConfig) -> Callable[[Scores, Pack, int], torch.Tensor]:
    loss = LOSSES[config.loss]

    def objective(scores: Scores, pack: Pack, step_tokens: int) -> torch.Tensor:
        return loss(
            scores.logprobs,
            pack.behaviour,
            pack.advantages,
            pack.sequence,
            step_tokens,
            config.clip_low,
            config.clip_high,
        )

    return objective


class _Ratios:
    """How far the policy has moved from the one that collected, over the trained tokens of one step."""

    def __init__(self, config: UpdateConfig) -> None:
        self._config = config
        self._log_ratios: list[torch.Tensor] = []
        self._clipped = 0

    def add(self, scores: Scores, pack: Pack) -> None:
        log_ratio = (scores.logprobs.detach() - pack.behaviour).cpu()
        ratio, advantages = log_ratio.exp(), pack.advantages.cpu()
        above = (advantages > 0) & (ratio > 1 + self._config.clip_high)
        below = (advantages < 0) & (ratio < 1 - self._config.clip_low)
        self._clipped += int((above | below).sum())
        self._log_ratios.append(log_ratio)

    def summary(self) -> dict[str, JsonValue]:
        """Quantiles of the ratio, share of tokens whose gradient is clipped away, and KL(behaviour ‖ policy).

        KL by the estimator r − 1 − log r, never negative (http://joschu.net/blog/kl-approx.html, k3).
        """
        log_ratio = torch.cat(self._log_ratios)
        ratio = log_ratio.exp()
        low, middle, high = torch.quantile(ratio, torch.tensor([0.01, 0.5, 0.99])).tolist()
        return {
            "ratio_p01": low,
            "ratio_p50": middle,
            "ratio_p99": high,
            "clipped_share": self._clipped / len(ratio),
            "kl_to_behaviour": (ratio - 1 - log_ratio).mean().item(),
        }


def _line(statistics: dict[str, JsonValue]) -> str:
    return (
        f"loss {statistics['loss']:.4f}, gradient {statistics['grad_norm']:.3f}, "
        f"entropy {statistics['entropy']:.3f}, KL {statistics['kl_to_behaviour']:.5f}, "
        f"{statistics['trained_tokens']} tokens in {statistics['seconds']} s"
    )
