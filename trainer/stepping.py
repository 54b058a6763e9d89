"""One optimizer step, shared by warm start and update: packs forward and backward, gradient checked, then applied."""

import resource
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import inf, isnan
from time import perf_counter
from typing import TypeAlias

import torch
from pydantic import JsonValue
from torch import Tensor

from trainer.jobs import TrainingConfig
from trainer.packing import Pack, Scores, pack_rows, plan_packs, score
from trainer.policy import Policy, causal_lm, device_here, trainable
from trainer.rows import TrainingRow
from trainer.team import Team

Objective: TypeAlias = Callable[[Scores, Pack], Tensor]
"""(scores, pack) → this pack's part of the step's loss, a scalar."""
_NAMED = 8  # rows in an error


class TrainingStopped(RuntimeError):
    """Loss or gradient is not usable. Nothing was written; the parent checkpoint is as it was."""


class Stepper:
    """A policy with its optimizer. Weights change only in `step`, and only after the gradient was checked."""

    def __init__(self, model: Policy, config: TrainingConfig, team: Team) -> None:
        self.model = model
        self.config = config
        self.team = team
        self.parameters = [parameter for _, parameter in trainable(model)]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )

    def step(self, rows: Sequence[TrainingRow], objective: Objective) -> dict[str, JsonValue]:
        """One step on `rows`, this process's share of them here; statistics of it. Raises TrainingStopped."""
        began = perf_counter()
        loss_sum, entropy_sum, computed, failed = 0.0, 0.0, 0, ""
        mine = self.team.share(rows)
        for members in plan_packs(mine, self.config.max_pack_tokens):
            pack = pack_rows(members, device_here())
            scores = self.score(pack)
            loss = objective(scores, pack)
            if not torch.isfinite(loss):
                failed = _stopped(f"the loss is {loss.item()}", self._suspects(members, objective))
                break
            loss.backward()
            loss_sum += loss.item()
            entropy_sum += scores.entropy.sum().item()
            computed += len(pack.token_ids)
        self._stop_together(failed)
        grad_norm = self._apply(mine, objective)
        loss_sum, entropy_sum, all_computed = self.team.total([loss_sum, entropy_sum, computed])
        trained = sum(sum(row.trained) for row in rows)
        return {
            "loss": loss_sum,
            "grad_norm": grad_norm,
            "entropy": entropy_sum / trained,
            "rows": len(rows),
            "trained_tokens": trained,
            "row_tokens": sum(len(row.token_ids) for row in rows),
            "computed_tokens": int(all_computed),
            "seconds": round(perf_counter() - began, 3),
        }

    def score(self, pack: Pack) -> Scores:
        """What the policy as it is now gives the pack's trained tokens."""
        with self._precision():
            return score(causal_lm(self.model), pack, self.config.head_chunk_tokens)

    def _precision(self) -> AbstractContextManager[None]:
        """Weights that all learn are float32, whatever the computation is in; frozen ones have its dtype already."""
        mixed = self.config.method == "full" and self.config.dtype == "bfloat16"
        return torch.autocast(device_here().type, dtype=torch.bfloat16, enabled=mixed)

    def _apply(self, mine: Sequence[TrainingRow], objective: Objective) -> float:
        self.team.sum_gradients(self.parameters)
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm).item()
        failed = ""
        # `not <=` so that NaN stops too.
        if not grad_norm <= self.config.exploding_grad_norm:
            failed = _stopped(f"the gradient norm is {grad_norm}", self._suspects(mine, objective))
        self._stop_together(failed)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return grad_norm

    def _stop_together(self, failed: str) -> None:
        """Raise where any process has failed: one that went on alone would wait for the others for ever."""
        if said := [one for one in self.team.gather(failed) if one]:
            raise TrainingStopped("; ".join(said))

    def _suspects(self, rows: Sequence[TrainingRow], objective: Objective) -> list[str]:
        """Rows by what each does alone, the worst first. Weights have not moved, so this repeats what happened."""
        norms = {}
        for row in (row for row in rows if any(row.trained)):
            self.optimizer.zero_grad(set_to_none=True)
            pack = pack_rows([row], device_here())
            objective(self.score(pack), pack).backward()
            norms[row.name] = torch.nn.utils.get_total_norm(
                [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            ).item()
        worst = sorted(norms, key=lambda name: -inf if isnan(norms[name]) else -norms[name])
        return [f"{name} (gradient norm {norms[name]:.3g} alone)" for name in worst]


def _stopped(what: str, suspects: Sequence[str]) -> str:
    more = f" and {len(suspects) - _NAMED} more" if len(suspects) > _NAMED else ""
    return (
        f"{what} on rows {', '.join(suspects[:_NAMED])}{more}. The parent checkpoint is untouched. Look at these rows' "
        "logprobs and advantages, or lower learning_rate."
    )


def peak_memory_mib() -> float:
    """The most memory this process has held: of the accelerator where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
