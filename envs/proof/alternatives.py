"""Operators that take another way to the same end. A verifier that refuses one of these punishes a right policy."""

from collections.abc import Iterator, Sequence
from random import Random

from envs.errors import EnvironmentBroken
from envs.proof.attempt import Attempt, Subject
from envs.proof.mutations import Operator, random_call
from envs.proof.states import StateTree
from envs.proof.values import feeds, scalars
from envs.proof.wording import rewordings
from envs.task import Change, ToolCall
from envs.tools import ToolResult

_TRIES = 6
_PAIRS = 3
"""Neighbouring calls that are tried in the other order."""


def reordered_calls(subject: Subject, rng: Random) -> Iterator[Attempt]:
    """Each pair of neighbouring calls in the other order, where neither needs the other.

    They are independent when the second takes nothing from the first's answer, and each changes the same rows in the
    same way in both orders. New rows count as the same whatever their ids: it is the ids that then differ.
    """
    golden = subject.task.golden
    if not any(map(subject.writes, golden)) or len(golden) < 2:
        return
    steps = _steps(subject.states, golden)
    for first in sorted(rng.sample(range(len(golden) - 1), min(len(golden) - 1, _PAIRS))):
        pair = golden[first : first + 2]
        if not any(map(subject.writes, pair)):
            continue
        calls = (*golden[:first], pair[1], pair[0], *golden[first + 2 :])
        if _independent(steps, _steps(subject.states, calls), first, pair[1]):
            what = f"calls {first} and {first + 1} ({pair[0].tool}, {pair[1].tool}) in the other order"
            yield Attempt("reorder", calls, subject.task.golden_answer, what)


def without_reads(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """The writes alone: what the reads tell can be known in another way."""
    calls = tuple(filter(subject.writes, subject.task.golden))
    if len(calls) < len(subject.task.golden):
        yield Attempt("other_read_path", calls, subject.task.golden_answer, "the same writes without these reads")


def redundant_reads(subject: Subject, rng: Random) -> Iterator[Attempt]:
    """One more read, somewhere between the calls."""
    golden = subject.task.golden
    place = rng.randint(0, len(golden))
    read = _succeeding_read(subject, golden[:place], rng)
    if read is not None:
        calls = (*golden[:place], read, *golden[place:])
        what = f"{read.tool} {read.arguments} before call {place}"
        yield Attempt("redundant_read", calls, subject.task.golden_answer, what)


def reworded_facts(subject: Subject, _rng: Random) -> Iterator[Attempt]:
    """The facts in other notations."""
    for answer in rewordings(subject.task.goal.facts):
        yield Attempt("reword_facts", subject.task.golden, answer, f"the facts told as {answer!r}")


ALTERNATIVES: tuple[Operator, ...] = (reordered_calls, without_reads, redundant_reads, reworded_facts)


class _Step:
    """What one call of an episode answered and changed."""

    def __init__(self, result: ToolResult, changes: Sequence[Change]) -> None:
        self.result = result
        self.rows = {(change.table, change.key) for change in changes if change.operation != "insert"}
        self.effect = sorted(map(_effect, changes))


def _effect(change: Change) -> str:
    """All that a change says, without the id of a new row."""
    key = "" if change.operation == "insert" else change.key
    return repr((change.table, change.operation, key, change.old, change.new))


def _steps(states: StateTree, calls: Sequence[ToolCall]) -> list[_Step] | None:
    """One step per call; None if a call is refused or breaks the environment, or a row is changed twice."""
    steps = []
    seen: dict[tuple[str, str], Change] = {}
    state = states.root
    for call in calls:
        try:
            result, state = states.call(state, call)
            reached = {(change.table, change.key): change for change in states.changeset(state)}
        except EnvironmentBroken:
            return None
        if not result.ok or any(reached.get(row) != change for row, change in seen.items()):
            return None
        steps.append(_Step(result, [change for row, change in reached.items() if row not in seen]))
        seen = reached
    return steps


def _independent(before: list[_Step] | None, after: list[_Step] | None, first: int, second_call: ToolCall) -> bool:
    if before is None or after is None:
        return False
    told = list(scalars(before[first].result.value))
    if any(feeds(item, value) for item in told for value in second_call.arguments.values()):
        return False
    crossed = [*range(first), first + 1, first, *range(first + 2, len(before))]
    return all(before[number].effect == after[place].effect for place, number in enumerate(crossed))


def _succeeding_read(subject: Subject, before: Sequence[ToolCall], rng: Random) -> ToolCall | None:
    reads = [tool for tool in subject.environment.spec.tools if not tool.writes]
    if not reads:
        return None
    state = subject.states.after(before)
    for _ in range(_TRIES):
        read = random_call(rng.choice(reads), subject.environment, rng)
        try:
            result, _ = subject.states.call(state, read)
        except EnvironmentBroken:
            return read  # whoever looks there is no worse a policy, and is not solved
        if result.ok:
            return read
    return None
