"""Our update on the same frozen file, and the file itself: rows drawn from a seed, with the parent's logprobs.

Run by `bench/vs_trl.py`: `python ours.py TASK.json`, which names model, parent, rows and settings; writes RESULT.
"""

import json
import random
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from trainer.jobs import UpdateJob
from trainer.packing import pack_rows, score
from trainer.policy import causal_lm, device_here, load_policy, make_deterministic
from trainer.rows import TrainingRow, write_training_rows
from trainer.settings import UpdateConfig
from trainer.update import learn, update

_MISMATCH = 0.25
"""Standard deviation in nats of stored to parent's logprobs, so that ratios differ from 1 and some are clipped."""


def draw_rows(shape: dict[str, Any]) -> list[TrainingRow]:
    """One group, its tokens and lengths drawn from a seed. Logprobs are 0 still."""
    draw = random.Random(shape["name"])
    rewards = [draw.random() for _ in range(shape["group"])]
    mean = sum(rewards) / len(rewards)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(100, 40_000) for _ in range(count))

    shared = tokens(shape["prompt"])
    rows = []
    for place, reward in enumerate(rewards):
        prompt = shared if shape["shared"] else tokens(shape["prompt"])
        # Spread evenly from shortest to longest: a group's lengths, and so its padding, are no accident of the seed.
        low, high = shape["completion"]
        said = tokens(round(low + (high - low) * place / (shape["group"] - 1)))
        rows.append(
            TrainingRow(
                rollout_id=f"r{place}",
                group_id="g",
                token_ids=prompt + said,
                trained=(False,) * len(prompt) + (True,) * len(said),
                behaviour=(0.0,) * (len(prompt) + len(said)),
                advantage=reward - mean,
            )
        )
    return rows


def with_logprobs(rows: list[TrainingRow], job: UpdateJob, mismatch: float) -> list[TrainingRow]:
    """The rows with the logprobs that the job's parent gives them, each a little off."""
    noise = random.Random(1)
    model = causal_lm(load_policy(job, job.config))
    found = []
    for row in rows:
        with torch.no_grad():
            given = score(model, pack_rows([row], device_here()), job.config.head_chunk_tokens).logprobs.tolist()
        stored = iter(logprob + noise.gauss(0, mismatch) for logprob in given)
        behaviour = tuple(next(stored) if learn else 0.0 for learn in row.trained)
        found.append(row.model_copy(update={"behaviour": behaviour}))
    return found


def prepare(task: dict[str, Any]) -> None:
    """Write the frozen file at `rows`, and the adapter that both sides begin with: one step away from the base."""
    job = update_job(task)
    make_deterministic(0, job.config.threads)
    rows = draw_rows(task["shape"])
    write_training_rows(Path(task["rows"]), with_logprobs(rows, job, 0.0))
    parent = update(job)
    begun = job.model_copy(
        update={"parent_checkpoint_id": parent.checkpoint_id, "parent_adapter_path": parent.checkpoint_path}
    )
    write_training_rows(Path(task["rows"]), with_logprobs(rows, begun, _MISMATCH))
    layers = causal_lm(load_policy(job, job.config)).get_decoder().layers
    said = {
        "layer_weights": sum(weight.numel() for weight in layers.parameters() if not weight.requires_grad),
        "parent_checkpoint_id": parent.checkpoint_id,
        "adapter": parent.checkpoint_path,
        "trained_tokens": sum(sum(row.trained) for row in rows),
    }
    Path(task["result"]).write_text(json.dumps(said))


def update_job(task: dict[str, Any]) -> UpdateJob:
    """The task as a job of the trainer's; what a task does not name is at its default."""
    return UpdateJob(
        base_model_name="smollm2",
        base_model_path=task["model"],
        base_model_fingerprint="bench",
        parent_checkpoint_id=task.get("parent_checkpoint_id"),
        parent_adapter_path=task.get("adapter"),
        rows_path=task["rows"],
        artefacts_dir=task["folder"],
        config=UpdateConfig(
            epochs=task["steps"],
            learning_rate=task["learning_rate"],
            clip_low=task["clip_low"],
            clip_high=task["clip_high"],
            max_grad_norm=task["max_grad_norm"],
            threads=task["threads"],
            dtype=task["dtype"],
            attention=task.get("attention", "branches"),
            **({"head_chunk_tokens": 4096} if task["gpu"] else {}),
        ),
    )


def train(task: dict[str, Any]) -> None:
    """Take the task's steps with our trainer: rows read, packed, scored, applied, and told of, as in a campaign."""
    ended: list[tuple[float, float]] = []
    imported_mib = memory_mib("VmRSS")
    trained = learn(update_job(task), lambda _: ended.append((time.perf_counter(), time.process_time())))
    # The first step has no beginning here; of the others it is all, packing and statistics too.
    taken = [(None, None), *((after[0] - wall, after[1] - cpu) for (wall, cpu), after in pairwise(ended))]
    steps = [
        {"seconds": wall, "cpu_seconds": cpu, **{name: step[name] for name in ("loss", "grad_norm", "computed_tokens")}}
        for (wall, cpu), step in zip(taken, trained.steps, strict=True)
    ]
    held_mib = torch.cuda.max_memory_allocated() / 2**20 if task["gpu"] else memory_mib("VmHWM") - imported_mib
    result = {"steps": steps, "held_mib": held_mib}
    Path(task["result"]).write_text(json.dumps(result))


def memory_mib(field: str) -> float:
    """VmRSS or VmHWM of this process. Not getrusage, whose peak may be that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    prepare(given) if "shape" in given else train(given)
