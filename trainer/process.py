"""The training process: `python -m trainer.process <job.json>` runs one job and writes `result.json` beside it.

It is a process of its own so that memory is returned and Dagster never imports torch. Started by Dagster Pipes it
reports there; started by hand it logs to stderr. What a job does is in `warm_start`, `update` and `policy`.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

from trainer.jobs import ANY_JOB, CanaryJob, CanaryResult, TrainingResult, UpdateJob, WarmStartJob

RESULT = "result.json"
Report = Callable[[str], None]


def run(job: WarmStartJob | UpdateJob | CanaryJob, report: Report) -> TrainingResult | CanaryResult:
    """Do the job. torch is imported here and not before."""
    match job:
        case WarmStartJob():
            from trainer.warm_start import warm_start

            return warm_start(job, report)
        case UpdateJob():
            from trainer.update import update

            return update(job, report)
        case CanaryJob():
            return trainer_logprobs(job)


def trainer_logprobs(job: CanaryJob) -> CanaryResult:
    """The trainer's logprobs of the canary's completion, by the same code that trains."""
    import torch

    from trainer.jobs import LoraSettings
    from trainer.packing import pack_rows, score
    from trainer.policy import causal_lm, device_here, load_policy, make_deterministic
    from trainer.rows import TrainingRow

    began = perf_counter()
    make_deterministic(job.seed, job.threads)
    model = load_policy(job, LoraSettings(), job.dtype)
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
    """Read the job, run it, write the result through a temporary name: a killed process leaves no result."""
    with _reporting() as report:
        job = ANY_JOB.validate_json(job_path.read_bytes())
        report(f"{job.kind} of {job.base_model_name}, parent {job.parent_checkpoint_id or 'none'}")
        result = run(job, report)
        unfinished = job_path.with_name(f".{RESULT}.{os.getpid()}")
        unfinished.write_text(json.dumps(result.model_dump(mode="json"), indent=1), encoding="utf-8")
        unfinished.replace(job_path.with_name(RESULT))
        report(f"{job.kind} done in {result.seconds} s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m trainer.process JOB.json")
    main(Path(sys.argv[1]))
