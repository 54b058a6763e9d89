"""Held-out sets as JSONL files, and taking out of a dataset what repeats them.

What repeating means is `envs.proof.held_out`'s: the proof asks the same question of every candidate.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.proof import HeldOut, HeldOutRequest
from envs.proof.held_out import Contamination
from envs.spec import Tool
from envs.task import Task


class HeldOutError(ValueError):
    """A held-out set cannot be used: which file and line, and how to write it."""


class _Line(BaseModel):
    """One line of a held-out file. Other fields of it are ignored, so that benchmarks can be used as they are."""

    model_config = ConfigDict(extra="ignore")

    instruction: str = Field(min_length=1)
    tools: tuple[str, ...] = ()


def read_held_out(files: Iterable[Path]) -> list[HeldOutRequest]:
    """The requests of JSONL files, one object a line: `instruction`, and optionally `tools` that must stay unseen.

    Raises HeldOutError.
    """
    return [request for file in files for request in _requests(file)]


def held_out_text(file: Path) -> str:
    """The text of a held-out file, UTF-8 with or without a byte order mark. Raises HeldOutError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeldOutError(f"{file}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    except OSError as error:
        raise HeldOutError(f"{file}: cannot be read: {error.strerror}. Check the file and its permissions.") from error


def decontaminate(
    tasks: Sequence[Task], held_out: HeldOut, tools: Mapping[tuple[str, str], Tool]
) -> tuple[list[Task], list[tuple[Task, Contamination]]]:
    """The tasks that repeat no held-out request, and the others with what they repeat.

    `tools` is by environment id and name. Raises KeyError for a golden call of a tool that is not there.
    """
    clean, contaminated = [], []
    for task in tasks:
        golden = [tools[task.environment_id, call.tool] for call in task.golden]
        if found := held_out.repeated_by(task.said, golden):
            contaminated.append((task, found))
        else:
            clean.append(task)
    return clean, contaminated


def _requests(file: Path) -> Iterable[HeldOutRequest]:
    if file.suffix != ".jsonl":
        raise HeldOutError(
            f'{file}: a held-out set is a .jsonl file, one object a line such as {{"instruction": "Cancel order 7."}}.'
        )
    for number, line in enumerate(held_out_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = _Line.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise HeldOutError(
                f"{file}:{number}: {where}: {first['msg']}. Each line is a JSON object with `instruction` and, where "
                'tools must stay unseen too, `tools`, a list such as ["get_order", "cancel_order(order_id, reason)"].'
            ) from error
        yield HeldOutRequest(instruction=found.instruction, tools=found.tools, source=f"{file.name}:{number}")
