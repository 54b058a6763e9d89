"""One update beside TRL's GRPO trainer: the same frozen rollouts, loss and optimizer; tokens per second, peak memory.

SmolLM2-135M with a LoRA adapter in float32, one group of 8 rows a step, in three shapes; with `--gpu` in bfloat16 on an
accelerator. Both sides read the same file, begin with the same adapter, take ratios to the file's logprobs, clip
alike and divide by all trained tokens of the step; loss and gradient norm after the first step say so. Threads of both
spin for a moment while they wait for one another, and sleep then. Libraries are of the same versions (constraints.txt)
in two virtual environments: TRL's is made under `.envloom/vs_trl` at the first run, which needs a package index.

TRL runs at the micro-batch, of those that divide the group, and with or without torch.compile, whichever is fastest
here; without gradient checkpointing, which trades time for memory. Counted are trained tokens, the same on both sides;
timed are whole optimizer steps after the first of each fresh process, ours with packing and statistics, TRL's without
what it does before it can compute (rewards, advantages, padding). Memory is the most that a process has held, less
what it held after its imports: weights are in it, libraries are not; on an accelerator what torch has allocated there.
Run: `python bench/vs_trl.py [--quick] [--threads N] [--gpu] [--only SHAPE]`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from serving.models import resolve_model
from trainer.process import THREADS

ROOT = Path(__file__).resolve().parent.parent
SIDES = ROOT / "bench" / "vs_trl_sides"
VENV = ROOT / ".envloom" / "vs_trl" / "venv"
MODEL = "smollm2-135m-instruct"
REQUIREMENTS = ("torch", "trl==1.16.*", "peft", "pyarrow")
"""In this order: torch by its own name, so that an index of processor builds can provide it."""
STEP = {"learning_rate": 1e-4, "clip_low": 0.2, "clip_high": 0.28, "max_grad_norm": 1.0}


@dataclass(frozen=True)
class Shape:
    """A group of rows: lengths in tokens, completions spread evenly from shortest to longest."""

    name: str
    prompt: int
    completion: tuple[int, int]
    shared: bool
    """Whether all rows have one prompt."""
    target: float
    """Times TRL's tokens per second."""
    memory: float
    """Of TRL's peak memory, at most."""
    group: int = 8


SHAPES = (
    Shape("prompt_400_completions_60", 400, (30, 90), True, 5.0, 0.8),
    Shape("prompt_40_completions_256", 40, (128, 384), True, 1.5, 1.0),
    Shape("equal_lengths_nothing_shared", 40, (256, 256), False, 1.0, 1.0),
)


@dataclass(frozen=True)
class Setting:
    """How TRL takes a step."""

    micro_batch: int
    compile: bool = False
    gradient_checkpointing: bool = False

    def __str__(self) -> str:
        return f"micro-batch {self.micro_batch}{', compiled' if self.compile else ''}"


@dataclass(frozen=True)
class Run:
    """What one process has measured."""

    tokens_per_s: float
    tflops: float
    """Of ours: 4 × the layers' frozen weights × tokens computed, forward and backward to the inputs; no attention."""
    memory_mib: float
    loss: float
    """Of the first step, as `grad_norm`."""
    grad_norm: float


class SideFailed(RuntimeError):
    """A process of one side did not end well."""


class NotInstallable(RuntimeError):
    """There is no TRL here and none to be had."""


def install() -> None:
    """Make TRL's virtual environment unless it is there. Raises NotInstallable with what pip says."""
    stamp = VENV / ".installed"
    wanted = json.dumps([REQUIREMENTS, (ROOT / "constraints.txt").read_text()])
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"making {VENV} for TRL; some minutes", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "install", "-q", "-c", str(ROOT / "constraints.txt")]
    for wish in REQUIREMENTS[:1], REQUIREMENTS:
        done = subprocess.run([*pip, *wish], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstallable(done.stderr.strip().splitlines()[-1])
    stamp.write_text(wanted)


class Table:
    """A frozen file of one shape, and both sides run on it."""

    def __init__(self, shape: Shape, folder: Path, threads: int, *, gpu: bool) -> None:
        self.shape = shape
        self.attention = "branches"
        self._folder = folder / shape.name
        self._folder.mkdir()
        self._task: dict[str, Any] = {
            "model": str(resolve_model(MODEL, ROOT / ".envloom" / "models").path),
            "rows": str(self._folder / "rows.parquet"),
            "folder": str(self._folder / "made"),
            "result": str(self._folder / "result.json"),
            "threads": threads,
            "gpu": gpu,
            "dtype": "bfloat16" if gpu else "float32",
            **STEP,
        }
        self._task |= self._run(sys.executable, "ours.py", {"shape": asdict(shape), "steps": 1})

    def ours(self, steps: int) -> Run:
        """Our update with its defaults, in a process of its own."""
        return self._measured(self._run(sys.executable, "ours.py", {"steps": steps, "attention": self.attention}))

    def theirs(self, steps: int, setting: Setting) -> Run:
        """TRL's, the same."""
        given = {"steps": steps, **asdict(setting)}
        return self._measured(self._run(str(VENV / "bin" / "python"), "theirs.py", given))

    def _measured(self, result: dict[str, Any]) -> Run:
        seconds = statistics.median(step["seconds"] for step in result["steps"][1:])
        computed = result["steps"][0].get("computed_tokens", 0)
        return Run(
            tokens_per_s=self._task["trained_tokens"] / seconds,
            tflops=4 * self._task["layer_weights"] * computed / seconds / 1e12,
            memory_mib=result["held_mib"],
            loss=result["steps"][0]["loss"],
            grad_norm=result["steps"][0]["grad_norm"],
        )

    def _run(self, python: str, script: str, given: dict[str, Any]) -> dict[str, Any]:
        (self._folder / "task.json").write_text(json.dumps({**self._task, **given}))
        done = subprocess.run(
            [python, str(SIDES / script), str(self._folder / "task.json")],
            capture_output=True,
            text=True,
            check=False,
            env={**THREADS, **os.environ, "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"},
        )
        if done.returncode:
            raise SideFailed(f"{script} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return json.loads(Path(self._task["result"]).read_text())


def fastest(table: Table) -> Setting:
    """TRL's best setting for a shape on this machine; what was tried is printed."""
    speeds: dict[Setting, float] = {}

    def attempt(setting: Setting) -> None:
        try:
            run = table.theirs(2, setting)
        except SideFailed as failure:  # out of memory, or no compiler: no setting for this machine
            print(f"  TRL, {table.shape.name}, {setting}: {str(failure)[:120]}")
            return
        speeds[setting] = run.tokens_per_s
        print(f"  TRL, {table.shape.name}, {setting}: {run.tokens_per_s:,.1f} tok/s, {run.memory_mib:,.0f} MiB")

    for size in (1, 2, 4, 8):
        attempt(Setting(size))
    attempt(Setting(max(speeds, key=speeds.__getitem__).micro_batch, compile=True))
    return max(speeds, key=speeds.__getitem__)


def choose_attention(table: Table) -> None:
    """Ours with whichever of its two kinds of attention is faster on the accelerator."""
    speeds = {}
    for table.attention in ("branches", "flex"):
        speeds[table.attention] = table.ours(2).tokens_per_s
        print(f"  ours, {table.shape.name}, {table.attention}: {speeds[table.attention]:,.1f} tok/s")
    table.attention = max(speeds, key=speeds.__getitem__)


def apart(pairs: Sequence[tuple[Run, Run]], what: str) -> float:
    """The largest relative difference of the first step's loss or gradient norm."""
    found = ((getattr(ours, what), getattr(theirs, what)) for ours, theirs in pairs)
    return max(abs(ours - theirs) / abs(theirs) for ours, theirs in found)


def compare(tables: Sequence[Table], repeats: int, steps: int, *, quick: bool) -> dict[str, list[tuple[Run, Run]]]:
    """Ours and TRL's by shape, `repeats` fresh processes of each, interleaved, the first alternating."""
    settings = {table.shape.name: Setting(1) if quick else fastest(table) for table in tables}
    pairs: dict[str, list[tuple[Run, Run]]] = {table.shape.name: [] for table in tables}
    for repeat in range(repeats):
        for table in tables:
            best = settings[table.shape.name]
            if repeat % 2:
                theirs, ours = table.theirs(steps, best), table.ours(steps)
            else:
                ours, theirs = table.ours(steps), table.theirs(steps, best)
            pairs[table.shape.name].append((ours, theirs))
            print(
                f"  {table.shape.name}: ours {ours.tokens_per_s:,.1f} tok/s, {ours.memory_mib:,.0f} MiB; "
                f"TRL ({best}) {theirs.tokens_per_s:,.1f} tok/s, {theirs.memory_mib:,.0f} MiB"
            )
    return pairs


def main(
    quick: Annotated[bool, typer.Option(help="One repetition of one timed step, and TRL at micro-batch 1.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads of each side.")] = 2,
    gpu: Annotated[bool, typer.Option(help="On the accelerator, in bfloat16.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Shapes to run; all if none is named.")] = None,
    peak_tflops: Annotated[float, typer.Option(help="Of the accelerator; 989 is an H100's or H200's, dense.")] = 989.0,
) -> None:
    """Print speed and memory beside TRL's, and how equal the two updates are."""
    try:
        install()
    except NotInstallable as reason:
        print(f"Left out: TRL is in no package index that pip reaches here ({reason}).")
        print("Where there is one: python bench/vs_trl.py")
        return
    if unknown := set(only or ()) - {shape.name for shape in SHAPES}:
        raise typer.BadParameter(f"{', '.join(unknown)}. Shapes: {', '.join(shape.name for shape in SHAPES)}")
    shapes = [shape for shape in SHAPES if not only or shape.name in only]
    repeats, steps = (1, 2) if quick else (5, 3)
    with tempfile.TemporaryDirectory() as folder:
        tables = [Table(shape, Path(folder), threads, gpu=gpu) for shape in shapes]
        for table in tables if gpu else ():
            choose_attention(table)
        pairs = compare(tables, repeats, steps, quick=quick)
    every = [pair for found in pairs.values() for pair in found]
    equal = 1e-2 if gpu else 1e-4  # bfloat16 has eight bits
    where = "bfloat16 on an accelerator" if gpu else f"float32, {threads} threads"
    for shape in shapes if gpu else ():
        share = statistics.median(ours.tflops for ours, _ in pairs[shape.name]) / peak_tflops
        print(f"  {shape.name}: ours at {share:.1%} of {peak_tflops:g} TFLOP/s")
    tell(
        f"Our update beside TRL 1.16's, {MODEL}, LoRA, {where}, a group of 8",
        [
            Figure("vs_trl_loss_difference", apart(every, "loss"), "relative", equal, "lower"),
            Figure("vs_trl_grad_norm_difference", apart(every, "grad_norm"), "relative", equal, "lower"),
            *(
                Figure(
                    f"vs_trl_{shape.name}",
                    statistics.median(ours.tokens_per_s / theirs.tokens_per_s for ours, theirs in pairs[shape.name]),
                    "x TRL's tok/s",
                    shape.target,
                )
                for shape in shapes
            ),
            *(
                Figure(
                    f"vs_trl_memory_{shape.name}",
                    statistics.median(ours.memory_mib / theirs.memory_mib for ours, theirs in pairs[shape.name]),
                    "x TRL's peak",
                    shape.memory,
                    "lower",
                )
                for shape in shapes
            ),
        ],
        f"median of {repeats}, interleaved",
    )


if __name__ == "__main__":
    typer.run(main)
