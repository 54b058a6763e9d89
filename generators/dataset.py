"""A campaign's dataset out of proven tasks: what is left out, with its reason, and the split of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from envs.proof import HeldOut, Known
from envs.proof.held_out import Contamination
from envs.spec import Tool
from envs.task import Rejection, Task
from generators.decontamination import decontaminate
from generators.splits import Split, Unseen, split_tasks

STAGE = "dataset"


class UnknownTool(ValueError):
    """A tool to be held out is no tool of the dataset's domains; the message lists those there are."""


@dataclass(frozen=True)
class Dataset:
    """The tasks of a campaign, each in one split, and everything that was left out."""

    tasks: tuple[Task, ...]
    splits: tuple[Split, ...]
    rejections: tuple[Rejection, ...]
    """One per proven task that is not in the dataset."""
    contaminated: tuple[tuple[Task, Contamination], ...]
    repeated: tuple[Task, ...]
    """Near-duplicates across domains; those within one are rejected by the proof."""


def compose(
    proven: Sequence[Task],
    tools: Mapping[tuple[str, str], Tool],
    *,
    seed: int,
    max_calls: int | None = None,
    held_out: HeldOut | None = None,
    unseen: Unseen | None = None,
) -> Dataset:
    """The dataset of these tasks. `tools` is by environment id and name; nothing is left out without a rejection.

    Raises UnknownTool.
    """
    unseen = unseen or Unseen()
    _refuse_unknown(unseen, proven, tools)
    long = [task for task in proven if max_calls is not None and task.difficulty > max_calls]
    single, repeated = _without_repeats([task for task in proven if max_calls is None or task.difficulty <= max_calls])
    clean, contaminated = decontaminate(single, held_out or HeldOut(), tools)
    offering = [task for task in clean if unseen.split_of(task, seed) is None and unseen.offered_by(task)]
    left_out = {task.id for task in offering}
    tasks = [task for task in clean if task.id not in left_out]
    rejections = [
        *(_rejection(t, "too_many_calls", f"{t.difficulty} golden calls, at most {max_calls}") for t in long),
        *(_rejection(task, "near_duplicate", why) for task, why in repeated),
        *(
            _rejection(task, f"contaminated_{found.reason}", found.evidence, found.canonical_fields())
            for task, found in contaminated
        ),
        *(_rejection(task, "offers_unseen_tool", ", ".join(unseen.offered_by(task))) for task in offering),
    ]
    return Dataset(
        tasks=tuple(tasks),
        splits=split_tasks(tasks, seed, unseen),
        rejections=tuple(rejections),
        contaminated=tuple(contaminated),
        repeated=tuple(task for task, _ in repeated),
    )


def _without_repeats(tasks: Sequence[Task]) -> tuple[list[Task], list[tuple[Task, str]]]:
    """The tasks that repeat none before them, and the others with what they repeat."""
    known, single, repeated = Known(), [], []
    for task in tasks:
        if why := known.repeated_by(task):
            repeated.append((task, why))
        else:
            known.add(task)
            single.append(task)
    return single, repeated


def _refuse_unknown(unseen: Unseen, tasks: Sequence[Task], tools: Mapping[tuple[str, str], Tool]) -> None:
    domains = {task.environment_id: task.domain for task in tasks}
    there = {(domains[environment], name) for environment, name in tools if environment in domains}
    names = {name for _, name in there} | {f"{domain}.{name}" for domain, name in there}
    if unknown := sorted(set(unseen.tools) - names):
        known = ", ".join(sorted(f"{domain}.{name}" for domain, name in there))
        raise UnknownTool(f"held_out_tools: {', '.join(unknown)}: no tool of these domains. There are {known}.")


def _rejection(task: Task, reason: str, detail: str, found: JsonValue = None) -> Rejection:
    subject: JsonValue = {"task": task.id, "found": found} if found else task.id
    return Rejection(domain=task.domain, stage=STAGE, reason=reason, detail=detail, subject=subject)
