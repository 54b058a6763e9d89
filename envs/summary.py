"""The records of an evaluation: success, cost, latency and turns of a policy, and its adherence to preferences."""

from envs.record import Record

ALL = "all"
"""The scope of a whole split."""


class Adherence(Record):
    """One policy on the tasks of one split whose users state a preference. Intervals: None for fewer than two tasks."""

    n: int
    """Rollouts judged that have a judged baseline rollout of the same task and sample."""
    unpaired: int
    """Rollouts of such tasks that have none, or that were not judged; they enter nothing here."""
    solved: int
    success: float
    success_low: float
    success_high: float
    cost_usd_mean: float
    latency_s_mean: float
    """As rewards take it (`trainer.settings.RewardConfig.latency_from`)."""
    score_mean: float
    """Of R_e: see `trainer.adherence.preference_score`."""
    score_interval: tuple[float, float] | None
    base_score_mean: float
    """The baseline's own rollouts, scored in the same way."""
    gain_mean: float
    """Score minus the baseline's score, task by task."""
    gain_interval: tuple[float, float] | None


class Summary(Record):
    """One policy on one set of tasks. Intervals of means are None for fewer than two tasks."""

    split: str = "test"
    """The part of the dataset: `test`, or what was kept from training (`unseen_tool`, …)."""
    scope: str
    """`all` or a domain."""
    simulated_experts: bool
    """Whether an expert was simulated: then success and cost are those of a declaration, and must be shown as such."""
    n: int
    """Rollouts judged, environment errors left out."""
    solved: int
    success: float
    success_low: float
    success_high: float
    """Wilson score interval; 0 to 1 when nothing was judged."""
    environment_errors: int
    cost_usd_mean: float
    cost_usd_interval: tuple[float, float] | None = None
    """Of the mean; as the others below a seeded bootstrap over tasks."""
    cost_per_solved_usd: float | None
    latency_s_mean: float
    latency_s_interval: tuple[float, float] | None = None
    turns_mean: float
    turns_interval: tuple[float, float] | None = None
    calls_mean: float
    completion_tokens_mean: float
    stop_reasons: dict[str, int]
    adherence: Adherence | None = None
    """How well stated preferences were met, where the base policy was rolled out on the same tasks."""

    @property
    def empty(self) -> bool:
        """Whether there was no task at all."""
        return self.n + self.environment_errors == 0
