"""A backfill of twenty domains as the UI launches it: several runs at a time, every step in a process of its own.

Domains are copies of one small page under other names, with scripted answers recorded for each. One has no recording
yet, so that its run fails; it is given one, and the run is asked to go on from the failure. Counted are runs, lock
errors in any log, domains in the warehouse, and the steps that the second attempt ran. Nothing is compared.
Run: `python bench/backfill.py [--quick]`.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import tenacity
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from dagster_project.home import REPOSITORY, Home
from dagster_project.runner import SYNTHESIS
from tests.generators import boats
from warehouse.warehouse import Warehouse

PATIENCE_S = 1800.0
LOCKS = ("database is locked", "WarehouseBusy", "Could not set lock", "Conflicting lock")
BACKFILL = """
mutation ($assets: [AssetKeyInput!], $names: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $names}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
RUNS = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) { ... on Runs { results { runId status tags { key value } } } }
}"""
STATUS = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
FROM_FAILURE = """
mutation ($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: FROM_FAILURE}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
STEPS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status stepStats { stepKey status } } } }"


class Server:
    """The UI's own questions to Dagster."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(self.url, json={"query": query, "variables": variables}, timeout=120).json()
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        [found] = answer["data"].values()
        return dict(found)

    def is_up(self) -> bool:
        try:
            return bool(self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")["nodes"])
        except (httpx.HTTPError, KeyError):
            return False

    def runs(self, backfill: str) -> list[dict[str, Any]]:
        tag = [{"key": "dagster/backfill", "value": backfill}]
        return list(self.ask(RUNS, filter={"tags": tag})["results"])


@contextmanager
def dagster(home: Home, domains: Path) -> Iterator[Server]:
    """`envloom dev` on that home with those domains, until it is left."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    variables = {**os.environ, "ENVLOOM_HOME": str(home.root), "ENVLOOM_DOMAINS": str(domains)}
    command = [sys.executable, "-m", "dagster_project.cli", "dev", "--port", str(port)]
    with (
        (home.logs / "dev.log").open("w") as log,
        subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        server = Server(port)
        try:
            wait(server.is_up)
            yield server
        finally:
            process.terminate()


def wait(until: Callable[[], bool]) -> None:
    """Raises tenacity.RetryError."""
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda done: not done),
        wait=tenacity.wait_fixed(1),
        stop=tenacity.stop_after_delay(PATIENCE_S),
    )
    waiting(until)


def write_domains(folder: Path, count: int) -> list[str]:
    """Copies of the harbour, each with a recording of its own."""
    names = [f"harbour_{number:02}" for number in range(count)]
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "domain.yaml").write_text(boats.PAGE)
        boats.record(folder / name, name)
    return names


def run_of(runs: list[dict[str, Any]], domain: str) -> dict[str, Any]:
    return next(run for run in runs if {"key": "dagster/partition", "value": domain} in run["tags"])


def main(
    quick: Annotated[bool, typer.Option(help="Three domains, as a test of the bench.")] = False,
) -> None:
    root = Path(tempfile.mkdtemp(prefix="backfill-"))
    home = Home(root / "home")
    for folder in (home.root, home.logs):
        folder.mkdir(parents=True)
    count = 3 if quick else 20
    names = write_domains(root / "domains", count)
    unready = root / "domains" / names[count // 2] / "calls.jsonl"
    unready.rename(root / "calls.jsonl")
    with dagster(home, root / "domains") as server:
        began = time.monotonic()
        assets = [{"path": [asset]} for asset in SYNTHESIS]
        backfill = server.ask(BACKFILL, assets=assets, names=names)["backfillId"]
        wait(lambda: server.ask(STATUS, id=backfill)["status"] not in ("REQUESTED", "FAILING"))
        seconds = time.monotonic() - began
        runs = server.runs(backfill)
        succeeded = sum(run["status"] == "SUCCESS" for run in runs)
        failed = run_of(runs, names[count // 2])
        assert failed["status"] == "FAILURE", failed
        (root / "calls.jsonl").rename(unready)
        again = server.ask(FROM_FAILURE, run=failed["runId"])["run"]["runId"]
        wait(lambda: server.ask(STEPS, run=again)["status"] in ("SUCCESS", "FAILURE"))
        steps = [step["stepKey"] for step in server.ask(STEPS, run=again)["stepStats"] if step["status"] == "SUCCESS"]
    known = Warehouse(home.warehouse, home.parts).query(
        "SELECT count(*) FROM current_batches WHERE asset = 'proven_tasks' AND n_rows > 0 "
        "AND starts_with(partition, 'harbour')"
    )
    told = [file for file in home.root.rglob("*") if file.suffix in (".log", ".err", ".out", ".db") and file.is_file()]
    locked = sum(text in file.read_bytes().decode("utf-8", "replace") for file in told for text in LOCKS)
    shutil.rmtree(root)
    tell(
        f"A backfill of {count} domains",
        [
            Figure("backfill.runs_succeeded_at_first", succeeded, "runs", count - 1),
            Figure("backfill.lock_errors", locked, "", 0, "lower"),
            Figure("backfill.domains_in_the_warehouse", int(known.item()), "domains", count),
            Figure("backfill.steps_run_again", len(steps), "steps", len(SYNTHESIS) - 1, "lower"),
        ],
        f"{seconds:.0f} s; after the repair ran {', '.join(sorted(steps))}",
    )


if __name__ == "__main__":
    typer.run(main)
