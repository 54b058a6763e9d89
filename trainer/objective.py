"""What one step of the update minimises, and how far the policy that learns is from the engine and from its parent.

The step's loss is Σ over its trained tokens of (weight · loss + kl_coefficient · KL to the parent), divided once for
the whole step, so that packs, and processes, simply add up. docs/training.md has the formulas together.
"""

from collections.abc import Sequence

import torch
from pydantic import JsonValue
from torch import Tensor

from trainer.losses import LOSSES, importance_weight, kl_estimate
from trainer.packing import Pack, Scores
from trainer.rows import TrainingRow
from trainer.settings import UpdateConfig
from trainer.team import Team


class ParentLogprobs:
    """The parent's logprobs of trained tokens, computed by this trainer without gradient, by row.

    They are scored before the first step, or kept from it: until a step is applied, the policy is its parent.
    """

    def __init__(self) -> None:
        self.by_row: dict[str, Tensor] = {}

    def keep(self, pack: Pack, logprobs: Tensor) -> None:
        """Remember what the parent gives a pack's trained tokens; the first word stands."""
        counts = pack.sequence.bincount(minlength=len(pack.rows)).tolist()
        for row, found in zip(pack.rows, logprobs.detach().cpu().split(counts), strict=True):
            self.by_row.setdefault(row.name, found)

    def share(self, team: Team) -> None:
        """Learn what the other processes have scored: a later step may deal their rows to this one."""
        for found in team.gather(self.by_row):
            self.by_row.update(found)

    def of(self, pack: Pack) -> Tensor:
        """float32 (trained,), nats. Raises KeyError for a row that was never scored."""
        return torch.cat([self.by_row[row.name] for row in pack.rows]).to(pack.behaviour.device)


def denominator(rows: Sequence[TrainingRow], config: UpdateConfig) -> float:
    """What the sum over a step's tokens is divided by. A rollout of several rows counts once."""
    if config.aggregation == "token_mean":
        return sum(sum(row.trained) for row in rows)
    return config.rollout_tokens * len({row.rollout_id for row in rows})


class StepObjective:
    """One step's loss, pack by pack; `summary` tells of all the tokens it has seen."""

    def __init__(
        self, config: UpdateConfig, rows: Sequence[TrainingRow], parent: ParentLogprobs, *, first: bool
    ) -> None:
        """`rows` are the step's, `first` whether no step was applied before it."""
        self._config = config
        self._denominator = denominator(rows, config)
        self._parent = parent
        self._first = first
        self._seen: list[Tensor] = []

    def __call__(self, scores: Scores, pack: Pack) -> Tensor:
        """This pack's part of the step's loss, a scalar."""
        config = self._config
        if self._first:
            self._parent.keep(pack, scores.logprobs)
        parent = self._parent.of(pack)
        engines = config.importance_cap is None and config.behaviour == "engine"
        anchor = pack.behaviour if engines else parent
        found = LOSSES[config.loss](
            scores.logprobs, anchor, pack.advantages, pack.sequence, config.clip_low, config.clip_high
        )
        losses = found.losses
        if config.importance_cap is not None:
            losses = losses * importance_weight(parent, pack.behaviour, config.importance_cap)
        if config.kl_coefficient:
            losses = losses + config.kl_coefficient * kl_estimate(scores.logprobs, parent)
        now = scores.logprobs.detach()
        self._seen.append(torch.stack([now, pack.behaviour, parent, found.ratio, found.clipped.float()]).cpu())
        return losses.sum() / self._denominator

    def seen(self) -> Tensor:
        """float32 (5, tokens): logprobs now, the engine's, the parent's; the ratio, and whether it was clipped."""
        return torch.cat(self._seen, dim=1) if self._seen else torch.empty(5, 0)


def distances(seen: Tensor, config: UpdateConfig) -> dict[str, JsonValue]:
    """Statistics of `StepObjective.seen`.

    Quantiles of the ratio and the share of tokens that were clipped; KL(engine ‖ policy) and KL(policy ‖ parent); the
    mismatch, that is how the parent's logprobs differ between engine and trainer, in nats.
    """
    now, engine, parent, ratio, clipped = seen
    low, middle, high = torch.quantile(ratio, torch.tensor([0.01, 0.5, 0.99])).tolist()
    mismatch = parent - engine
    found: dict[str, JsonValue] = {
        "ratio_p01": low,
        "ratio_p50": middle,
        "ratio_p99": high,
        "clipped_share": int(clipped.sum()) / len(ratio),
        "kl_to_behaviour": kl_estimate(engine, now).mean().item(),
        "kl_to_parent": kl_estimate(now, parent).mean().item(),
        "mismatch_mean": mismatch.abs().mean().item(),
        "mismatch_max": mismatch.abs().max().item(),
        "mismatch_kl": kl_estimate(engine, parent).mean().item(),
    }
    if config.importance_cap is not None:
        found["truncated_share"] = (mismatch.exp() > config.importance_cap).float().mean().item()
    return found
