"""What the warehouse is told of an update."""

from pathlib import Path

from tests.trainer.small import small_job
from trainer.update import update
from trainer.update_rows import checkpoint_tables


def test_an_update_is_stored_with_the_fate_of_every_rollout_and_the_statistics_of_every_step(tmp_path: Path) -> None:
    fates = {"trained": 16, "environment_error": 1, "truncated": 2, "malformed": 0, "alone": 0, "zero_variance": 8}
    job = small_job(tmp_path, minibatches=2)
    result = update(job)
    _, tables = checkpoint_tables(result, "demo", 0, job, "parent", fates=fates)
    [row] = tables["updates"]
    assert row["counts"] == fates and row["n_rollouts"] == 16
    assert len(row["statistics"]) == 2
    for name in ("loss", "grad_norm", "entropy", "clipped_share", "kl_to_behaviour", "mismatch_mean", "seconds"):
        assert all(isinstance(step[name], float) for step in row["statistics"]), name
