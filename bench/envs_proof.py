"""How many tasks a second one core proves: every check, all mutants and alternatives, on tasks of the shipped domains.

Each task is proven as in a run: also against those accepted before it, and added to them.

Run: `python bench/envs_proof.py [--quick]`.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from dagster_project.home import Home
from dagster_project.resources import Synthesist
from envs.environment import Environment
from envs.proof import Known, prove
from envs.task import Task
from generators.brief import load_brief
from generators.discovery import domain_folder
from generators.domain import synthesise
from generators.tasks import propose_tasks
from generators.wording import propose_wording

DOMAINS = ("ecommerce", "library")


def candidates(name: str, home: Home) -> tuple[Environment, Sequence[Task]]:
    """A shipped domain's environment and candidate tasks, from its recording."""
    brief = load_brief(domain_folder(name))
    ledger = Synthesist().ledger(name, home)
    made = synthesise(brief, name, ledger)
    environment = Environment.load(made.spec)
    wording, _ = propose_wording(made.spec, ledger)
    return environment, propose_tasks(environment, wording, brief.sizes.tasks, brief.seed).tasks


def prove_in_turn(environment: Environment, tasks: Sequence[Task]) -> int:
    """Prove each task as something new among those accepted before it; how many are accepted."""
    known, accepted = Known(), 0
    for task in tasks:
        if prove(task, environment, known).accepted:
            known.add(task)
            accepted += 1
    return accepted


def main(quick: Annotated[bool, typer.Option(help="One repetition.")] = False) -> None:
    """Print tasks per second of processor time."""
    with TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        worlds = [candidates(name, home) for name in DOMAINS]
    number = sum(len(tasks) for _, tasks in worlds)
    rates = []
    for _ in range(1 if quick else 5):
        began = process_time()
        accepted = sum(prove_in_turn(environment, tasks) for environment, tasks in worlds)
        rates.append(number / (process_time() - began))
    calls = statistics.fmean(len(task.golden) for _, tasks in worlds for task in tasks)
    tell(
        "Full proof of a task, one core",
        [Figure("proofs_per_s", statistics.median(rates), "tasks/s", 200)],
        f"{number} tasks of {' and '.join(DOMAINS)}, {accepted} accepted, {calls:.1f} golden calls each",
    )


if __name__ == "__main__":
    typer.run(main)
