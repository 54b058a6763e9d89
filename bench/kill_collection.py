"""Thirty times kill -9 in the middle of a collection: what had ended is there afterwards, and nothing twice.

A process collects with a scripted policy through the path that a campaign takes: what is stored is not played again,
every rollout is durable at its end, and reported only then. It is killed at random moments and started again until the
collection is complete; then another collection begins, until there were enough kills. At the end of each the warehouse
is compared with the plan and with what was reported.
Run: `python bench/kill_collection.py [--quick] [--seed N]`.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from warehouse.rows.environments import environment_row

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.scripted import ScriptedPolicy, desk_collection, tokenizer
from dagster_project.evaluating import collect_into
from trainer.collect import Collection, planned
from trainer.engine import ServedPolicy
from trainer.fanout import Ended, Hear, Sink, fan_out
from warehouse.warehouse import Warehouse

_COMPLETION_S = 0.005
_START_S = 300.0
"""Until a collecting process says that it begins: it has to read a tokenizer, on a machine that may be busy."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Reporting:
    """An engine with a scripted policy that writes down what has ended, once that is durable."""

    reported: Path

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        words = tokenizer()
        acting = ScriptedPolicy(collection, words, _COMPLETION_S)
        with self.reported.open("a") as report:

            def say(line: str) -> None:
                report.write(f"{line}\n")
                report.flush()  # what the kernel has survives a kill of this process

            def end(ended: Ended) -> None:
                hear(ended)
                say(ended.rollout_id)

            say("begins")
            fan_out(collection.served_as(policy.policy_id), [lambda: nullcontext(acting)], words, sink, end)


def run(home: Path, groups: int) -> None:
    """Collect what is missing, in this process."""
    collection, warehouse = desk_collection(groups, 4, concurrency=8), warehouse_in(home)
    who = collection.assignment
    collect_into(
        warehouse,
        Reporting(home / "reported"),
        collection.tasks,
        ServedPolicy(policy_id=who.policy_id),
        collection.config,
        who.campaign,
        who.iteration,
        who.purpose,
    )


def warehouse_in(home: Path) -> Warehouse:
    """The warehouse of one collection."""
    return Warehouse(home / "warehouse.duckdb", home / "parts")


def reported(home: Path) -> list[str]:
    """Ids of the rollouts reported as ended, by all processes so far; a line cut short by a kill is none."""
    path = home / "reported"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line.strip() for line in lines if line.endswith("\n")]


@dataclass
class Losses:
    """What was found after kills."""

    kills: int = 0
    reported: int = 0
    lost: int = 0
    """Reported as ended, and not stored at the end."""
    doubled: int = 0
    """Stored twice, or played again after it had been reported."""
    missing: int = 0
    """Of the plan, when the collection said it was complete."""
    waits_s: list[float] = field(default_factory=list)


def kill_and_finish(home: Path, groups: int, kills: int, rng: Random, found: Losses, duration_s: float = 2.0) -> None:
    """One collection, killed up to `kills` times at moments of the first `duration_s` and then left to finish."""
    collection = desk_collection(groups, 4)
    [environment] = collection.environments.values()
    warehouse_in(home).write_part("environments", [environment_row(environment)], "desk")
    while True:
        began = reported(home).count("begins")
        process = _SPAWN.Process(target=run, args=(home, groups))
        process.start()
        if kills:
            _wait_for_beginning(home, began, process)
            wait_s = rng.uniform(0, duration_s)
            process.join(wait_s)
        else:
            process.join()
        if not process.is_alive():
            break
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills, found.kills = kills - 1, found.kills + 1
        found.waits_s.append(wait_s)
    if process.exitcode != 0:
        raise RuntimeError(f"the collection ended with exit code {process.exitcode}; see what it wrote above.")
    compare(home, collection, found)


def compare(home: Path, collection: Collection, found: Losses) -> None:
    """Add what is wrong with a finished collection."""
    said = Counter(line for line in reported(home) if line != "begins")
    warehouse = warehouse_in(home)
    stored = Counter(warehouse.query("SELECT id FROM rollouts")["id"].to_list())
    turns = warehouse.query(
        "SELECT r.id FROM rollouts r LEFT JOIN turns t ON t.rollout_id = r.id "
        "GROUP BY r.id, r.n_turns HAVING count(DISTINCT t.turn) <> r.n_turns OR count(t.turn) <> r.n_turns"
    )["id"].to_list()
    plan = set(planned(collection.tasks, collection.assignment, collection.config))
    found.reported += len(said)
    found.lost += len(set(said) - (set(stored) - set(turns)))
    found.doubled += sum(count > 1 for count in stored.values()) + sum(count > 1 for count in said.values())
    found.missing += len(plan - set(stored))


def _wait_for_beginning(home: Path, before: int, process: BaseProcess) -> None:
    """Until one more process than `before` has said that it begins, or this one has ended."""

    def begun() -> bool:
        return reported(home).count("begins") > before or not process.is_alive()

    waiting = Retrying(
        stop=stop_after_delay(_START_S), wait=wait_fixed(0.005), retry=retry_if_result(lambda it: not it)
    )
    try:
        waiting(begun)
    except RetryError:
        raise TimeoutError(f"the collection did not begin within {_START_S:g} s.") from None


def main(
    quick: Annotated[bool, typer.Option(help="Six kills instead of thirty.")] = False,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
) -> None:
    """Print what thirty kills lost."""
    wanted, rng, found = 6 if quick else 30, Random(seed), Losses()
    while found.kills < wanted:
        with tempfile.TemporaryDirectory() as folder:
            kill_and_finish(Path(folder), 40, min(6, wanted - found.kills), rng, found)
    tell(
        f"{found.kills} kill -9 during collections",
        [
            Figure("kill_collection_lost", found.lost, f"of {found.reported} ended rollouts", 0, "lower"),
            Figure("kill_collection_doubled", found.doubled, "rollouts", 0, "lower"),
            Figure("kill_collection_missing", found.missing, "rollouts of the plan", 0, "lower"),
        ],
        f"killed up to {max(found.waits_s, default=0):.1f} s after the beginning",
    )


if __name__ == "__main__":
    typer.run(main)
