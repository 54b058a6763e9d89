"""How hard a task is for a policy, as data: how often it was solved in how many attempts."""

from math import comb

from envs.record import Record


class Difficulty(Record):
    """How one policy fared on one task."""

    task_id: str
    domain: str
    policy_id: str
    """Checkpoint id, or the model's fingerprint."""
    k: int
    attempts: int
    """Judged ones: environment errors are none."""
    solved: int

    @property
    def pass_at_k(self) -> float | None:
        """The chance that one of k attempts solves the task; None with fewer than k attempts."""
        return pass_at_k(self.attempts, self.solved, self.k) if self.attempts >= self.k else None


def pass_at_k(attempts: int, solved: int, k: int) -> float:
    """The unbiased estimate of the chance that one of `k` attempts is right (Chen et al. 2021, arXiv 2107.03374).

    One minus the share of the k-subsets of all attempts in which none is right. Raises ValueError unless
    0 <= solved <= attempts and 1 <= k <= attempts.
    """
    if not (0 <= solved <= attempts and 1 <= k <= attempts):
        raise ValueError(f"pass@{k} of {solved} right in {attempts} attempts is not defined; k is 1 to the attempts.")
    return 1 - comb(attempts - solved, k) / comb(attempts, k)
