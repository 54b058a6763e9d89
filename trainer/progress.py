"""What a person sees of a collection that is under way: how many rollouts ended, how many were solved, how fast."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from trainer.fanout import Ended, Hear


class Rates(ProgressColumn):
    """Rollouts and sampled tokens per second since the collection began, without what an earlier one left."""

    def render(self, task: Task) -> Text:
        seconds = task.elapsed or 0.0
        if not seconds or not task.fields["ended"]:
            return Text("")
        return Text(f"{task.fields['ended'] / seconds:.2f} rollouts/s, {task.fields['tokens'] / seconds:.0f} tok/s")


@contextmanager
def watched(what: str, total: int, done: int, console: Console | None = None) -> Iterator[Hear]:
    """A line of progress, moved on by each word of an ended rollout. `done`: how many were there already."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[solved]} of {task.fields[ended]} solved"), Rates(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console or Console(stderr=True, emoji=False, highlight=False)) as progress:
        bar = progress.add_task(what, total=total, completed=done, ended=0, solved=0, tokens=0)
        [line] = progress.tasks

        def hear(ended: Ended) -> None:
            so_far = line.fields
            progress.update(
                bar,
                advance=1,
                ended=so_far["ended"] + 1,
                solved=so_far["solved"] + ended.solved,
                tokens=so_far["tokens"] + ended.completion_tokens,
            )

        yield hear
