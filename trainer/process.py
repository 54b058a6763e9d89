"""The training process: `python -m trainer.process <job.json>` runs one job and writes `result.json` beside it.

It is a process of its own so that memory is returned and Dagster never imports torch. Started by Dagster Pipes it
reports there, and ends with the process that started it; started by hand it logs to stderr. Killed and started again
with the same file it goes on after the last step (`state.pt` beside the job). One process at a time trains a job; a
second one waits for it and finds the result. A job of several processes (`config.processes`) has this one start the
others, unless a launcher such as torchrun has started all of them. What a job does is in `warm_start`, `update` and
`policy`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes
from filelock import FileLock, Timeout

from trainer.admission import require_accelerators
from trainer.jobs import ANY_JOB, CanaryJob, CanaryResult, TrainingResult, UpdateJob, WarmStartJob
from trainer.settings import TrainingConfig

if TYPE_CHECKING:  # it imports torch
    from trainer.result import Trained

RESULT = "result.json"
STATE = "state.pt"
LOCK = ".lock"
PARENT = "ENVLOOM_PARENT"
THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
"""Threads that spin for long while they wait for one another take the processor from whoever has work: beside another
program a step of theirs was ten times as long. Those that sleep at once have to be woken for every operation, which
took a tenth of a step. So they spin for a moment, and sleep then."""
Report = Callable[[str], None]


def run(job: WarmStartJob | UpdateJob | CanaryJob, report: Report, job_path: Path) -> TrainingResult | CanaryResult:
    """Do the job of the file. torch is imported here and not before."""
    if isinstance(job, CanaryJob):
        return trainer_logprobs(job)
    from trainer.result import seal_result

    with _others(job.config, job_path):
        return seal_result(job, _train(job, report, job_path.with_name(STATE)))


def _train(job: WarmStartJob | UpdateJob, report: Report, state: Path) -> "Trained":
    from trainer.team import joined
    from trainer.update import learn
    from trainer.warm_start import imitate

    with joined(job.config.processes) as team:
        if isinstance(job, WarmStartJob):
            return imitate(job, report, state, team)
        return learn(job, report, state, team)


@contextmanager
def _others(config: TrainingConfig, job_path: Path) -> Iterator[None]:
    """The processes of ranks 1 and up, ended if this one fails; if it is killed, their next sum fails.

    None where a launcher has started them: the environment says so, in torchrun's words, and the same are used here.
    """
    if config.processes == 1 or "WORLD_SIZE" in os.environ:
        yield
        return
    import torch
    from accelerate.utils import patch_environment
    from accelerate.utils.other import get_free_port

    require_accelerators(config.processes, torch.cuda.device_count())

    def place(rank: int) -> dict[str, str]:
        return {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}

    world = {
        "WORLD_SIZE": str(config.processes),
        "LOCAL_WORLD_SIZE": str(config.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(get_free_port()),
        "OMP_NUM_THREADS": str(config.threads),  # accelerate would choose it, and warn
    }
    command = [sys.executable, "-m", "trainer.process", str(job_path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, **place(rank), **ending_with_us()})
        for rank in range(1, config.processes)
    ]
    try:
        with patch_environment(**place(0)):
            yield
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.kill()
            process.wait()


def trainer_logprobs(job: CanaryJob) -> CanaryResult:
    """The trainer's logprobs of the canary's completion, by the same code that trains."""
    import torch

    from trainer.packing import pack_rows, score
    from trainer.policy import causal_lm, device_here, fuse, load_parent, make_deterministic
    from trainer.rows import TrainingRow

    began = perf_counter()
    make_deterministic(job.seed, job.threads)
    model = fuse(load_parent(job, job.dtype))
    prompt, completion = job.prompt_ids, job.completion_ids
    row = TrainingRow(
        rollout_id="canary",
        group_id="canary",
        token_ids=(*prompt, *completion),
        trained=(False,) * len(prompt) + (True,) * len(completion),
        behaviour=(0.0,) * (len(prompt) + len(completion)),
        advantage=0.0,
    )
    with torch.no_grad():
        scores = score(causal_lm(model), pack_rows([row], device_here()), 512)
    return CanaryResult(logprobs=tuple(scores.logprobs.tolist()), seconds=round(perf_counter() - began, 3))


@contextmanager
def _reporting() -> Iterator[Report]:
    """Where progress goes: to Dagster when it started this process, else to stderr."""
    if PipesEnvVarParamsLoader().is_dagster_pipes_process():
        with open_dagster_pipes() as pipes:
            yield pipes.log.info
    else:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
        yield logging.getLogger("trainer").info


def main(job_path: Path) -> None:
    """Read the job, run it, write the result through a temporary name: a killed process leaves no result.

    A result that another process has written meanwhile is not made again.
    """
    with _reporting() as report, _alone(job_path.parent, report) as waited:
        result_path = job_path.with_name(RESULT)
        if waited and result_path.exists():
            report(f"{result_path}: written by another process")
            return
        job = ANY_JOB.validate_json(job_path.read_bytes())
        report(f"{job.kind} of {job.base_model_name}, parent {job.parent_checkpoint_id or 'none'}")
        result = run(job, report, job_path)
        unfinished = job_path.with_name(f".{RESULT}.{os.getpid()}")
        unfinished.write_text(json.dumps(result.model_dump(mode="json"), indent=1), encoding="utf-8")
        unfinished.replace(result_path)
        job_path.with_name(STATE).unlink(missing_ok=True)
        report(f"{job.kind} done in {result.seconds} s")


@contextmanager
def _alone(folder: Path, report: Report) -> Iterator[bool]:
    """Hold the job's folder, and whether another process held it before. The lock dies with its process."""
    lock = FileLock(folder / LOCK)
    waited = False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waited = True
        report(f"{folder}: waiting for another process that trains this job")
        lock.acquire(poll_interval=0.5)
    try:
        for leftover in (*folder.glob(f".{STATE}.*"), *folder.glob(f".{RESULT}.*")):
            leftover.unlink(missing_ok=True)  # a killed process was writing it
        yield waited
    finally:
        lock.release()


def ending_with_us() -> dict[str, str]:
    """The variable that makes a training process end when this process has ended, however that was."""
    return {PARENT: str(os.getpid())}


def _end_with_parent() -> None:
    """Watch the process named by `ENVLOOM_PARENT`, if there is one: without it nobody would want the result."""
    parent = int(os.environ.pop(PARENT, 0))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)  # not sys.exit, which ends a thread; what was finished is on disk

    if parent:
        threading.Thread(target=watch, daemon=True, name="parent").start()


def assist(job_path: Path) -> None:
    """One of the other processes of a job: it takes its share of every step and writes nothing."""
    job = ANY_JOB.validate_json(job_path.read_bytes())
    assert not isinstance(job, CanaryJob)
    _train(job, lambda _: None, job_path.with_name(STATE))


if __name__ == "__main__":
    for variable, setting in THREADS.items():  # read when torch is loaded
        os.environ.setdefault(variable, setting)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m trainer.process JOB.json")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what was finished is on disk: it may end anywhere, and at once
    _end_with_parent()
    first = int(os.environ.get("RANK", 0)) == 0
    (main if first else assist)(Path(sys.argv[1]))
