"""Environments and their tasks as two files of a folder that `envloom export tasks` writes, one record a line.

Writing and reading them takes neither the warehouse nor Dagster. Every line holds the id of its record, which is
computed anew on reading, and `SHA256SUMS` holds the hashes of the files.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from envs.display import count, one_line
from envs.environment import Environment
from envs.errors import SpecError
from envs.record import Record, canonical_json
from envs.spec import EnvironmentSpec
from envs.task import Task

ENVIRONMENTS, TASKS, SUMS = "environments.jsonl", "tasks.jsonl", "SHA256SUMS"
_REMEDY = "Export it again with `envloom export tasks`."
_RecordType = TypeVar("_RecordType", bound=Record)


class TasksetUnreadable(ValueError):
    """A folder that is no export of tasks, or whose content was changed: file, line, fault and remedy."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}. {_REMEDY}")


@dataclass(frozen=True)
class Taskset:
    """Tasks and the environments they are posed in, as `load_taskset` reads them from a folder.

        with load_taskset("exports/tasks") as taskset:
            for task in taskset.split("test"):
                verdict = taskset.environment_of(task).judge(task, task.golden, task.golden_answer)

    `with` closes the environments, and so does `close`.
    """

    environments: Mapping[str, Environment]
    """By id."""
    tasks: tuple[Task, ...]
    """In the order of the file."""
    splits: Mapping[str, str]
    """Task id → `train`, `test`, or another split of the dataset."""

    def environment_of(self, task: Task) -> Environment:
        """The environment of a task of this taskset. Raises KeyError for a task of another one."""
        return self.environments[task.environment_id]

    def split(self, name: str) -> tuple[Task, ...]:
        """The tasks of a split. Raises KeyError, naming the splits there are, for one without tasks."""
        if name not in self.splits.values():
            raise KeyError(f"no task is in the split {name}; there are {', '.join(sorted(set(self.splits.values())))}")
        return tuple(task for task in self.tasks if self.splits[task.id] == name)

    def __repr__(self) -> str:
        domains = ", ".join(environment.spec.domain for environment in self.environments.values())
        return one_line("Taskset", count(len(self.tasks), "task"), domains)

    def close(self) -> None:
        """Close every environment, for good."""
        for environment in self.environments.values():
            environment.close()

    def __enter__(self) -> "Taskset":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_taskset(folder: str | Path) -> Taskset:
    """The environments and tasks in a folder that `envloom export tasks` wrote; the base install is enough.

    Raises TasksetUnreadable, naming file and line, for a folder that is no such export, for a record whose content does
    not have the id that stands beside it, for a file whose hash is not the one in SHA256SUMS, and for a task whose
    environment is missing.

        taskset = load_taskset("exports/tasks")
        proof = prove(taskset.tasks[0], taskset.environment_of(taskset.tasks[0]))
    """
    folder = Path(folder)
    specs = [(where, spec) for where, spec, _ in _records(folder / ENVIRONMENTS, "environment", EnvironmentSpec)]
    tasks, splits = [], {}
    for where, task, line in _records(folder / TASKS, "task", Task):
        if task.environment_id not in {spec.id for _, spec in specs}:
            raise TasksetUnreadable(where, f"environment {task.environment_id} is not in {ENVIRONMENTS}")
        tasks.append(task)
        splits[task.id] = str(line.get("split"))
    for name in (ENVIRONMENTS, TASKS):
        _require_hash(folder, name)
    return Taskset({spec.id: _opened(where, spec) for where, spec in specs}, tuple(tasks), splits)


def environment_line(spec: EnvironmentSpec) -> bytes:
    """The line of `environments.jsonl` for a specification, canonical JSON: `environment` and its `id`."""
    return canonical_json({"id": spec.id, "environment": spec.model_dump(mode="json")}) + b"\n"


def task_line(task: Task, split: str) -> bytes:
    """The line of `tasks.jsonl` for a task, canonical JSON: `task`, its `id` and its `split`."""
    return canonical_json({"id": task.id, "split": split, "task": task.model_dump(mode="json")}) + b"\n"


def _records(
    file: Path, field: str, kind: type[_RecordType]
) -> Iterator[tuple[str, _RecordType, Mapping[str, JsonValue]]]:
    """(`file, line 3`, record, whole line) of every line of a file."""
    if not file.is_file():
        raise TasksetUnreadable(str(file), "there is no such file")
    for number, content in enumerate(file.read_bytes().splitlines(), 1):
        where = f"{file}, line {number}"
        try:
            line = json.loads(content)
            record = kind.model_validate(line[field])
            identity = record.id
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in (field, *first["loc"]))
            raise TasksetUnreadable(where, f"{place}: {first['msg']}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TasksetUnreadable(where, f"no JSON object with `id` and `{field}` ({error!r})") from error
        if line.get("id") != identity:
            raise TasksetUnreadable(where, f"the {field}'s id is {line.get('id')}, and its content has {identity}")
        yield where, record, line


def _require_hash(folder: Path, name: str) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        raise TasksetUnreadable(str(sums), "there is no such file")
    stated = {path: digest for digest, _, path in (line.partition("  ") for line in sums.read_text().splitlines())}
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if stated.get(name) != digest:
        raise TasksetUnreadable(str(folder / name), f"its sha256 is {digest}, and {SUMS} has {stated.get(name)}")


def _opened(where: str, spec: EnvironmentSpec) -> Environment:
    try:
        return Environment.load(spec)
    except SpecError as error:
        raise TasksetUnreadable(where, str(error).rstrip(".")) from error
