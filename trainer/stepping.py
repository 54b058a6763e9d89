"""One optimizer step, shared by warm start and update: packs forward and backward, gradient checked, then applied."""

import resource
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf, isnan
from time import perf_counter
from typing import Any, TypeAlias

import torch
from pydantic import JsonValue
from torch import Tensor

from trainer.packing import Pack, Scores, pack_rows, plan_packs, score
from trainer.policy import Policy, causal_lm, device_here, trainable
from trainer.rows import TrainingRow
from trainer.settings import TrainingConfig
from trainer.sharding import as_held, give_back, held_optimizer, share_out, whole, whole_optimizer
from trainer.team import Team

Objective: TypeAlias = Callable[[Scores, Pack], Tensor]
"""(scores, pack) → this pack's part of the step's loss, a scalar."""
_NAMED = 8  # rows in an error


class TrainingStopped(RuntimeError):
    """Loss or gradient is not usable. Nothing was written; the parent checkpoint is as it was."""


class Scoring(torch.nn.Module):
    """What is computed in one pass, as a module: sharing out knows when modules begin and end."""

    def __init__(self, model: Policy, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config

    def forward(self, pack: Pack) -> tuple[Tensor, Tensor]:
        """Logprobs and entropies, as in `Scores`."""
        scores = score(causal_lm(self.model), pack, self._config.head_chunk_tokens, self._config.attention)
        return scores.logprobs, scores.entropy


class Stepper:
    """A policy with its optimizer. Weights change only in `step`, and only after the gradient was checked."""

    def __init__(self, model: Policy, config: TrainingConfig, team: Team) -> None:
        self.model = model
        self.config = config
        self.team = team
        self._scoring = Scoring(model, config)
        if config.shard:
            share_out(self._scoring, device_here(), team.size)
        self.parameters = [parameter for _, parameter in trainable(model)]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )

    def step(self, rows: Sequence[TrainingRow], objective: Objective) -> dict[str, JsonValue]:
        """One step on `rows`, this process's share of them here; statistics of it. Raises TrainingStopped."""
        began = perf_counter()
        loss_sum, entropy_sum, computed = 0.0, 0.0, 0
        bad: list[tuple[float, list[str]]] = []
        for members in self.passes(rows):
            pack = pack_rows(members or [shortest(rows)], device_here())
            scores = self.score(pack)
            loss = objective(scores, pack) if members else scores.logprobs.sum() * 0
            if not torch.isfinite(loss):
                bad.append((loss.item(), [row.name for row in members]))
            loss.backward()
            loss_sum += loss.item()
            entropy_sum += scores.entropy.sum().item() if members else 0.0
            computed += len(pack.token_ids) if members else 0
        self._require_finite(bad, rows, objective)
        grad_norm = self._apply(rows, objective)
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
            "peak_memory_mib": round(peak_memory_mib()),
        }

    @property
    def steps_taken(self) -> int:
        """How many steps the optimizer's averages are of, those of earlier runs that it goes on from included."""
        return max((int(slot["step"]) for slot in self.optimizer.state.values()), default=0)

    def set_learning_rate(self, rate: float) -> None:
        """Of the steps from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def passes(self, rows: Sequence[TrainingRow]) -> list[list[TrainingRow]]:
        """What this process computes together, pass by pass, of its share of the rows.

        With shared-out weights all go equally often: whoever has fewer passes has empty ones at the end.
        """
        packs = plan_packs(self.team.share(rows), self.config.max_pack_tokens)
        most = max(self.team.gather(len(packs))) if self.config.shard else len(packs)
        return packs + [[]] * (most - len(packs))

    def score(self, pack: Pack) -> Scores:
        """What the policy as it is now gives the pack's trained tokens."""
        with self._precision():
            return Scores(*self._scoring(pack))

    @torch.no_grad()
    def logprobs(self, rows: Sequence[TrainingRow]) -> Tensor:
        """float32 (tokens,), nats: what the policy gives this process's trained tokens now, pass by pass."""
        found = [torch.empty(0)]
        for members in self.passes(rows):
            scores = self.score(pack_rows(members or [shortest(rows)], device_here()))
            found += [scores.logprobs.cpu()] if members else []
        if self.config.shard:
            give_back(self._scoring)
        return torch.cat(found)

    def go_halfway_to(self, weights: Sequence[Tensor]) -> None:
        """Bring the weights that learn half of the way to others, held as they are; the optimizer is not asked."""
        with torch.no_grad():
            for parameter, other in zip(self.parameters, weights, strict=True):
                parameter.lerp_(other, 0.5)

    def state(self) -> dict[str, Any]:
        """Weights that learn and optimizer, whole. All processes ask together."""
        weights = [whole(parameter.detach()) for parameter in self.parameters]
        return {"weights": weights, "optimizer": whole_optimizer(self.optimizer.state_dict())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` has told of."""
        with torch.no_grad():
            for parameter, found in zip(self.parameters, state["weights"], strict=True):
                parameter.copy_(as_held(found, parameter))
        self.optimizer.load_state_dict(held_optimizer(state["optimizer"], self.parameters))

    def _precision(self) -> AbstractContextManager[None]:
        """Weights that all learn are float32, whatever the computation is in; frozen ones have its dtype already."""
        mixed = self.config.method == "full" and self.config.dtype == "bfloat16"
        return torch.autocast(device_here().type, dtype=torch.bfloat16, enabled=mixed)

    def _require_finite(
        self, bad: Sequence[tuple[float, list[str]]], rows: Sequence[TrainingRow], objective: Objective
    ) -> None:
        """Stop where any process has seen a loss that is none: one that went on alone would wait for ever."""
        seen = [one for each in self.team.gather(list(bad)) for one in each]
        if seen:
            names = {name for _, members in seen for name in members}
            suspects = self._suspects([row for row in rows if row.name in names], objective)
            raise TrainingStopped(_stopped(f"the loss is {seen[0][0]}", suspects))

    def _apply(self, rows: Sequence[TrainingRow], objective: Objective) -> float:
        if not self.config.shard:  # otherwise they have been added up on the way back
            self.team.sum_gradients(self.parameters)
        grad_norm = whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)).item()
        # `not <=` so that NaN stops too. It is the same in every process.
        if not grad_norm <= self.config.exploding_grad_norm:
            raise TrainingStopped(_stopped(f"the gradient norm is {grad_norm}", self._suspects(rows, objective)))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return grad_norm

    def _suspects(self, rows: Sequence[TrainingRow], objective: Objective) -> list[str]:
        """Rows by what each does alone, the worst first. Weights have not moved, so this repeats what happened.

        Every process computes all of them: with shared-out weights none could alone, and gradients add up.
        """
        norms = {}
        folds = self.team.size if self.config.shard else 1
        for row in (row for row in rows if any(row.trained)):
            self.optimizer.zero_grad(set_to_none=True)
            pack = pack_rows([row], device_here())
            objective(self.score(pack), pack).backward()
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            norms[row.name] = whole(torch.nn.utils.get_total_norm(gradients)).item() / folds
        worst = sorted(norms, key=lambda name: -inf if isnan(norms[name]) else -norms[name])
        return [f"{name} (gradient norm {norms[name]:.3g} alone)" for name in worst]


def shortest(rows: Sequence[TrainingRow]) -> TrainingRow:
    """What is computed in an empty pass."""
    return min((row for row in rows if any(row.trained)), key=lambda row: (len(row.token_ids), row.name))


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
