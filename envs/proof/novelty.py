"""What is already there: accepted tasks, and the texts of benchmarks that nothing trained on may repeat."""

import re
from collections.abc import Iterable, Iterator

from envs.record import canonical_json
from envs.task import Task

SHARED_WORDS = 8
"""A run of as many words in common with a held-out text makes a task contaminated."""


class Known:
    """Tasks and texts that a new task is compared with."""

    def __init__(self, held_out: Iterable[str] = ()) -> None:
        self._by_program: dict[bytes, str] = {}
        self._by_words: dict[tuple[str, ...], str] = {}
        self._held_out = {run: text for text in held_out for run in _runs(_words(text))}

    def add(self, task: Task) -> None:
        """From now on a task like this one is not new."""
        self._by_program.setdefault(_program(task), task.id)
        self._by_words.setdefault(_words(task.instruction), task.id)

    def reason_against(self, task: Task) -> str | None:
        """Why the task is not new; None if it is.

        The same calls ask for the same thing, however it is worded; the same words must not ask for two things.
        """
        words = _words(task.instruction)
        if (same := self._by_program.get(_program(task), task.id)) != task.id:
            return f"the same calls as task {same}"
        if (same := self._by_words.get(words, task.id)) != task.id:
            return f"the same words as task {same}"
        for run in _runs(words):
            if run in self._held_out:
                return f"shares {' '.join(run)!r} with the held-out text {self._held_out[run][:80]!r}"
        return None


def _program(task: Task) -> bytes:
    calls = [call.model_dump(mode="json") for call in task.golden]
    return canonical_json([task.environment_id, calls, [fact.model_dump(mode="json") for fact in task.goal.facts]])


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))


def _runs(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every run of `SHARED_WORDS` words; a shorter text is one run of its own."""
    for start in range(max(1, len(words) - SHARED_WORDS + 1)):
        yield words[start : start + SHARED_WORDS]
