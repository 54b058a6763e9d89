"""A process that collects, killed at random moments: what had ended is stored, and nothing twice."""

from pathlib import Path
from random import Random

from bench.kill_collection import Losses, compare, kill_and_finish, reported, warehouse_in
from bench.scripted import desk_collection


def test_three_kills_lose_nothing_that_had_ended_and_double_nothing(tmp_path: Path) -> None:
    found = Losses()
    kill_and_finish(tmp_path, groups=12, kills=3, rng=Random(5), found=found, duration_s=0.8)
    assert found.reported > 0 and len(set(reported(tmp_path)) - {"begins"}) == found.reported
    assert (found.lost, found.doubled, found.missing) == (0, 0, 0)


def test_a_comparison_sees_what_is_lost_doubled_and_missing(tmp_path: Path) -> None:
    (tmp_path / "reported").write_text("begins\nended-and-gone\nended-and-gone\ncut sh")
    warehouse_in(tmp_path).ingest()
    found = Losses()
    compare(tmp_path, desk_collection(2, 3), found)
    assert (found.reported, found.lost, found.doubled, found.missing) == (1, 1, 1, 6)
