"""What a collection costs beside its engine: episodes per second of processor time, with a policy that knows answers.

Everything but the model is real: SmolLM2's tokenizer and chat template, environments, parsing, verdicts, records. The
samples of a group are told the same and here also hear the same; the note says what it is where nothing is shared.
Run: `python bench/collector_overhead.py [--quick]`.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.scripted import TURNS, ScriptedPolicy, desk_collection, tokenizer
from dagster_project.stored import rollout_tables
from trainer.collect import Collection, collect
from trainer.conversation import Tokenizer
from trainer.rollout import Rollout
from warehouse.warehouse import Warehouse


def episodes_per_s(
    collection: Collection, words: Tokenizer, on_rollout: Callable[[Rollout], None] = lambda _: None
) -> float:
    """Of one whole collection, which has to be all right."""
    policy = ScriptedPolicy(collection, words)
    began = time.process_time()
    rollouts = asyncio.run(collect(collection, policy, words, on_rollout))
    elapsed = time.process_time() - began
    assert all(rollout.solved and len(rollout.turns) == TURNS for rollout in rollouts)
    return len(rollouts) / elapsed


def keeper(folder: Path) -> Callable[[Rollout], None]:
    """What makes a rollout durable, as a campaign's collection does."""
    warehouse = Warehouse(folder / "warehouse.duckdb", folder / "parts")
    return lambda rollout: warehouse.write_bundle(rollout.id, rollout_tables(rollout))


def main(quick: Annotated[bool, typer.Option(help="A few seconds in all.")] = False) -> None:
    """Print the collector's overhead with its targets."""
    words = tokenizer()
    groups, repeats = (25, 3) if quick else (50, 5)
    grouped, alone = desk_collection(groups, 8), desk_collection(4 * groups, 1)
    speed: dict[str, list[float]] = {"grouped": [], "alone": [], "stored": []}
    episodes_per_s(alone, words)  # imports and compiles
    for _ in range(repeats):
        speed["grouped"].append(episodes_per_s(grouped, words))
        speed["alone"].append(episodes_per_s(alone, words))
        with tempfile.TemporaryDirectory() as folder:
            speed["stored"].append(episodes_per_s(grouped, words, keeper(Path(folder))))
    middle = {name: statistics.median(values) for name, values in speed.items()}
    tell(
        f"Collector with a scripted policy, {TURNS} turns an episode, one core",
        [Figure("collector_episodes_per_s", middle["grouped"], "episodes/s per core", 500)],
        f"median of {repeats}, {groups} groups of 8 in flight 32 at a time; {middle['alone']:,.0f} where every task is "
        f"rolled out once, {middle['stored']:,.0f} with every rollout made durable at its end",
    )


if __name__ == "__main__":
    typer.run(main)
