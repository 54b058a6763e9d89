"""What is already there: accepted tasks, which a new one may resemble in its program or its words but not in both.

Held-out requests are `held_out`'s; `Known` brings both to the check.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue
from rensa import RMinHash, RMinHashLSH

from envs.proof.held_out import HeldOut
from envs.record import canonical_json
from envs.task import Task

NEAR = 0.8
"""Jaccard similarity of shingles from which two requests are near-same (as in arXiv 2107.06499 for documents)."""
SHINGLE = 3
"""Words of a shingle: requests are short."""
PERMUTATIONS, BANDS = 128, 32
"""Of the MinHash index (Broder 1997). It overlooks one pair in twenty million that is just near."""
_ID = re.compile(r"([^\W\d]\w*)-\d+")


class Known:
    """Accepted tasks and held-out requests that a new task is compared with.

    A task repeats another one that has
    - the same calls on the same rows: they ask for the same, however it is worded; or
    - the same words: they must not ask for two things; or
    - the same program and near-same words, both up to the names of the entities.
    The same program about other entities in other words is another task, and so is another program in near-same words.
    """

    def __init__(self, held_out: HeldOut | None = None) -> None:
        self.held_out = held_out or HeldOut()
        self._by_program: dict[bytes, str] = {}
        self._by_words: dict[tuple[str, ...], str] = {}
        self._accepted: list[tuple[str, str, frozenset[str]]] = []  # id, shape, shingles
        self._near = RMinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS, num_bands=BANDS)
        # Kept of the task last seen, because it is asked about, proven and added in turn.
        self._last: tuple[Task, _Likeness] | None = None

    def add(self, task: Task) -> None:
        """From now on a task like this one is not new."""
        likeness = self._likeness(task)
        self._by_program.setdefault(likeness.program, task.id)
        self._by_words.setdefault(likeness.words, task.id)
        self._near.insert(len(self._accepted), likeness.sketch)
        self._accepted.append((task.id, likeness.shape, likeness.shingles))

    def repeated_by(self, task: Task) -> str | None:
        """Which accepted task this one repeats, and how; None if it repeats none. A task does not repeat itself."""
        if not self._accepted:
            return None
        its = self._likeness(task)
        if (same := self._by_program.get(its.program, task.id)) != task.id:
            return f"the same calls as task {same}"
        if (same := self._by_words.get(its.words, task.id)) != task.id:
            return f"the same words as task {same}"
        for number in sorted(self._near.query(its.sketch)):
            accepted, shape, shingles = self._accepted[number]
            if accepted == task.id or shape != its.shape:
                continue
            # The index proposes; the sets themselves decide.
            alike = len(its.shingles & shingles) / len(its.shingles | shingles)
            if alike >= NEAR:
                return f"the program of task {accepted} up to its entities, in words {alike:.0%} alike"
        return None

    def _likeness(self, task: Task) -> "_Likeness":
        if self._last is None or self._last[0] is not task:
            self._last = task, _Likeness.of(task)
        return self._last[1]


@dataclass(frozen=True)
class _Likeness:
    """What of a task is compared with other tasks."""

    program: bytes
    words: tuple[str, ...]
    shape: str
    shingles: frozenset[str]
    sketch: RMinHash

    @classmethod
    def of(cls, task: Task) -> "_Likeness":
        words = words_of(task.said)
        shingles = _shingles(words)
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=0)
        sketch.update(sorted(shingles))
        return cls(_program(task), words, program_shape(task), shingles, sketch)


def program_shape(task: Task) -> str:
    """The golden program up to entity renaming, such as `get_loan(loan_id=L#1) > renew_loan(loan_id=L#1) ? due:date`.

    Ids are replaced by roles in order of first appearance, other values left out; after `?` what has to be told.
    """
    roles: dict[str, str] = {}
    calls = [
        f"{call.tool}({', '.join(f'{name}={_role(value, roles)}' for name, value in sorted(call.arguments.items()))})"
        for call in task.golden
    ]
    facts = sorted(f"{fact.label}:{fact.kind}" for fact in task.goal.facts)
    return " > ".join(calls) + (f" ? {', '.join(facts)}" if facts else "")


def words_of(text: str) -> tuple[str, ...]:
    """The words in lower case; an id or a date is one word."""
    return tuple(re.findall(r"\w+(?:-\w+)*", text.casefold()))


def _role(value: JsonValue, roles: dict[str, str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_role(item, roles) for item in value)}]"
    found = _ID.fullmatch(value) if isinstance(value, str) else None
    return roles.setdefault(found[0], f"{found[1]}#{len(roles) + 1}") if found else "…"


def _program(task: Task) -> bytes:
    calls = [call.model_dump(mode="json") for call in task.golden]
    return canonical_json([task.environment_id, calls, [fact.model_dump(mode="json") for fact in task.goal.facts]])


def _shingles(words: Iterable[str]) -> frozenset[str]:
    """Every `SHINGLE` words in a row, ids as roles; a shorter text is one shingle."""
    roles: dict[str, str] = {}
    named = [_role(word, roles) if _ID.fullmatch(word) else word for word in words]
    return frozenset(" ".join(named[start : start + SHINGLE]) for start in range(max(1, len(named) - SHINGLE + 1)))
