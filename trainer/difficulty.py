"""How hard a task is for a reference policy: pass@k from repeated attempts, and how often to train on it. No torch."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field, model_validator

from envs.difficulty import Difficulty
from envs.record import Record
from envs.verdict import Outcome
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig


class DifficultyConfig(Record):
    """Which policy measures the difficulty of training tasks, and how. It decides how often each is drawn."""

    policy: str = "warm"
    """`warm` or `base`, of this campaign, or any model: a packaged one, a folder, a hub id."""
    revision: str | None = None
    """Of a hub id."""
    k: int = Field(4, ge=1)
    samples_per_task: int = Field(8, ge=1)
    """Attempts; at least k. More of them make the estimate sharper."""
    temperature: float = Field(1.0, gt=0)
    """Greedy attempts would all be the same one."""
    max_tasks: int | None = Field(None, ge=1)
    """The others stay unmeasured, and are drawn as tasks of unknown difficulty."""

    @model_validator(mode="after")
    def _enough_attempts(self) -> "DifficultyConfig":
        if self.samples_per_task < self.k:
            raise ValueError(f"difficulty.samples_per_task is {self.samples_per_task}: pass@{self.k} needs {self.k}")
        return self

    def rollout_config(self, training: RolloutConfig) -> RolloutConfig:
        """The training limits with this sampling."""
        sampling = {"samples_per_task": self.samples_per_task, "temperature": self.temperature, "top_p": 1.0}
        return training.model_copy(update=sampling)


def difficulties(rollouts: Iterable[Rollout], k: int) -> list[Difficulty]:
    """Per policy and task how often it was solved, sorted. Rollouts whose environment broke are not counted."""
    groups: dict[tuple[str, str, str], list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault((rollout.policy_id, rollout.task_id, rollout.domain), []).append(rollout)
    return [
        Difficulty(
            task_id=task_id,
            domain=domain,
            policy_id=policy_id,
            k=k,
            attempts=sum(rollout.outcome is not Outcome.ENVIRONMENT_ERROR for rollout in group),
            solved=sum(rollout.solved for rollout in group),
        )
        for (policy_id, task_id, domain), group in sorted(groups.items())
    ]


def sampling_weights(measured: Sequence[Difficulty], task_ids: Iterable[str]) -> Mapping[str, float]:
    """How often to draw each task: in proportion to the expected variance of its outcome, and never zero.

    A group of attempts teaches by the differences within it. The variance p (1 - p) of a solved rate p that is only
    known from some attempts (a uniform prior) is expected to be largest where half of them were right; where none was,
    it stays above zero, since the next attempt may be the first. An unmeasured task lies in between.
    """
    known = {found.task_id: found for found in measured}
    return {task_id: _expected_variance(known.get(task_id)) for task_id in task_ids}


def _expected_variance(found: Difficulty | None) -> float:
    """The mean of p (1 - p) under Beta(solved + 1, failed + 1)."""
    solved, attempts = (found.solved, found.attempts) if found else (0, 0)
    return (solved + 1) * (attempts - solved + 1) / ((attempts + 2) * (attempts + 3))
