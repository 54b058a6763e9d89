"""One optimizer step, shared by warm start and update: packs forward and backward, gradient checked, then applied."""

import resource
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeAlias

import torch
from peft import PeftModel
from pydantic import JsonValue
from torch import Tensor

from trainer.jobs import TrainingConfig
from trainer.packing import Pack, Scores, pack_rows, plan_packs, score
from trainer.policy import causal_lm, device_here, trainable
from trainer.rows import TrainingRow

Objective: TypeAlias = Callable[[Scores, Pack, int], Tensor]
"""(scores, pack, trained tokens of the step) → this pack's part of the loss, a scalar."""


class TrainingStopped(RuntimeError):
    """Loss or gradient is not usable. Nothing was written; the parent checkpoint is as it was."""


class Stepper:
    """A policy with its optimizer. Weights change only in `step`, and only after the gradient was checked."""

    def __init__(self, model: PeftModel, config: TrainingConfig) -> None:
        self.model = model
        self.config = config
        self.parameters = [parameter for _, parameter in trainable(model)]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )

    def step(
        self, rows: Sequence[TrainingRow], objective: Objective, watch: Callable[[Scores, Pack], None] | None = None
    ) -> dict[str, JsonValue]:
        """One step on `rows`; statistics of it. `watch` sees every pack's scores. Raises TrainingStopped."""
        began = perf_counter()
        step_tokens = sum(sum(row.trained) for row in rows)
        loss_sum, entropy_sum, computed = 0.0, 0.0, 0
        for members in plan_packs(rows, self.config.max_pack_tokens):
            pack = pack_rows(members, device_here())
            scores = score(causal_lm(self.model), pack, self.config.head_chunk_tokens)
            loss = objective(scores, pack, step_tokens)
            if not torch.isfinite(loss):
                raise TrainingStopped(_stopped(f"the loss is {loss.item()}", members))
            loss.backward()
            loss_sum += loss.item()
            entropy_sum += scores.entropy.sum().item()
            computed += len(pack.token_ids)
            if watch is not None:
                watch(scores, pack)
        grad_norm = self._apply(rows)
        seconds = perf_counter() - began
        return {
            "loss": loss_sum,
            "grad_norm": grad_norm,
            "entropy": entropy_sum / step_tokens,
            "rows": len(rows),
            "trained_tokens": step_tokens,
            "row_tokens": sum(len(row.token_ids) for row in rows),
            "computed_tokens": computed,
            "seconds": round(seconds, 3),
        }

    def _apply(self, rows: Sequence[TrainingRow]) -> float:
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm).item()
        # `not <=` so that NaN stops too.
        if not grad_norm <= self.config.exploding_grad_norm:
            raise TrainingStopped(_stopped(f"the gradient norm is {grad_norm}", rows))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return grad_norm


def _stopped(what: str, rows: Sequence[TrainingRow]) -> str:
    names = ", ".join(row.name for row in rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
    return (
        f"{what} on rows {names}. The parent checkpoint is untouched. Look at these rows' logprobs and advantages, "
        "or lower learning_rate."
    )


def peak_memory_mib() -> float:
    """The most memory this process has held: of the accelerator where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
