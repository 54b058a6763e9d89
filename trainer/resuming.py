"""What a training run keeps after each optimizer step, so that a killed process goes on to the same bytes.

One file beside the job: weights that learn, optimizer, random state, statistics so far, and what else later steps need.
It is replaced in one rename, belongs to one job on one set of rows and library versions, and goes when the result is
written.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from trainer.checkpoint import library_versions
from trainer.jobs import UpdateJob, WarmStartJob
from trainer.rows import TrainingRow, rows_sha256
from trainer.stepping import Stepper

Statistics = dict[str, JsonValue]
_CONTENTS = {"key", "random", "accelerator_random", "memory", "steps"}
Report = Callable[[str], None]


class Journal:
    """The state of one run, on disk after every step. Without a path nothing is kept."""

    def __init__(
        self,
        path: Path | None,
        job: UpdateJob | WarmStartJob,
        rows: Sequence[TrainingRow],
        memory: dict[str, Tensor] | None = None,
    ) -> None:
        """`memory` is what else later steps need; it is filled when the run is restored."""
        self.path = path
        self.memory = {} if memory is None else memory
        kept = [job.identity, rows_sha256(rows), library_versions(), torch.cuda.is_available()]
        self._key = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def restore(self, stepper: Stepper, report: Report) -> list[Statistics]:
        """Bring policy and optimizer to where the run was; the statistics of the steps it had taken."""
        if self.path is None or not self.path.exists():
            return []
        state = _read(self.path, report, move=not stepper.team.rank)
        if state is None:
            return []
        if state["key"] != self._key:
            report(f"{self.path} is of another job, other rows or other library versions: beginning anew")
            return []
        stepper.restore(state)
        torch.set_rng_state(state["random"])
        if state["accelerator_random"]:
            torch.cuda.set_rng_state_all(state["accelerator_random"])
        self.memory.update(state["memory"])
        steps: list[Statistics] = json.loads(state["steps"])
        report(f"going on after step {len(steps)}")
        return steps

    def keep(self, stepper: Stepper, steps: Sequence[Statistics]) -> None:
        """Replace what is kept by the state after the last of `steps`. A kill leaves the old file or the new one.

        All processes call it together, and the first one writes.
        """
        if self.path is None:
            return
        learnt = stepper.state()
        if stepper.team.rank:
            return
        state = {
            "key": self._key,
            **learnt,
            "random": torch.get_rng_state(),
            "accelerator_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "memory": self.memory,
            "steps": json.dumps(steps),
        }
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with unfinished.open("wb") as opened:
            torch.save(state, opened)
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(self.path)


def _read(path: Path, report: Report, *, move: bool) -> dict[str, Any] | None:
    """What `Journal.keep` has written; None for a file that is none, such as one that a full disk or a crash cut.

    With `move` it is put aside, so that the next step can write its own. All processes of a job read it.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not state.keys() >= _CONTENTS:
            raise ValueError("it holds no state of a training run")
    except OSError:
        raise  # the disk does not answer: the state may be whole
    except Exception as error:  # noqa: BLE001 (torch raises whatever its unpickler runs into)
        aside = path.with_name(f"{path.name}.broken")
        report(f"{path} cannot be read ({type(error).__name__}: {error}): beginning anew; the file is kept as {aside}")
        if move:
            path.replace(aside)
        return None
    return state


def take_steps(
    total: int, step: Callable[[int], Statistics], stepper: Stepper, journal: Journal, report: Report
) -> list[Statistics]:
    """The statistics of all `total` steps: those that a killed process had taken, and the rest, taken now.

    `step` gets the step's number, from 0.
    """
    steps = journal.restore(stepper, report)
    for number in range(len(steps), total):
        steps.append(step(number))
        journal.keep(stepper, steps)
        report(f"step {number + 1} of {total}: {_line(steps[-1])}")
    return steps


def _line(statistics: Statistics) -> str:
    told = [
        f"{called} {statistics[name]:.{digits}f}"
        for name, called, digits in (
            ("loss", "loss", 4),
            ("grad_norm", "gradient", 3),
            ("entropy", "entropy", 3),
            ("kl_to_behaviour", "KL", 5),
        )
        if name in statistics
    ]
    return f"{', '.join(told)}, {statistics['trained_tokens']} tokens in {statistics['seconds']} s"
