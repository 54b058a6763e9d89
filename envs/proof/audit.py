"""How far an environment's verifiers can be trusted: rates measured on its proven tasks, by attempts of its own.

The proof rejects a task whose verifier fails on the attempts it drew. The audit draws others, plays each in a fresh
episode instead of a tree of states, and decides by the whole content of the state instead of the changeset, so that a
fault of the proof or of the verdict shows here.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from random import Random
from typing import Literal, TypeAlias

from envs.environment import Environment
from envs.intervals import wilson_interval
from envs.proof.alternatives import ALTERNATIVES
from envs.proof.attempt import Attempt, Subject
from envs.proof.mutations import MUTATIONS
from envs.record import Record, derive_seed
from envs.task import Task, ToolCall
from envs.verdict import Outcome

Fault: TypeAlias = Literal["false_positive", "false_negative"]
BOUND = 0.02
"""What the upper end of both intervals must stay below for an environment's verifiers to count as discriminating."""
_EVIDENCE_KEPT = 5


class Rate(Record):
    """How often one kind of attempt was judged wrongly."""

    fault: Fault
    operator: str
    """An operator, or `all` of them."""
    trials: int
    wrong: int
    low: float
    high: float
    """The Wilson score interval of wrong / trials at 95 %; 0 to 1 without a trial."""


class Audit(Record):
    """What is measured of one environment's verifiers."""

    environment_id: str
    domain: str
    seed: int
    tasks: int
    """Proven tasks that were audited."""
    candidates: int
    """Tasks that were put to the proof."""
    blocked: int
    """Candidates that nobody can solve: the golden program fails, is not deterministic, or needs what nobody knows."""
    rates: tuple[Rate, ...]
    """Both faults over `all` operators first, then by operator."""
    equivalent: int
    """Mutants that reached the golden state after all, left out of the rates."""
    evidence: tuple[str, ...]
    """The first attempts judged wrongly."""
    exercised_tools: tuple[str, ...]
    idle_tools: tuple[str, ...]
    """Tools that no proven task's golden program calls."""

    def rate(self, fault: Fault) -> Rate:
        """The rate of a fault over all operators."""
        return next(rate for rate in self.rates if rate.fault == fault and rate.operator == "all")

    @property
    def discriminates(self) -> bool:
        """Whether both faults are rare enough: something was tried, and the upper ends stay below `BOUND`."""
        return all(self.rate(fault).high < BOUND for fault in ("false_positive", "false_negative"))

    @property
    def blocked_rate(self) -> float:
        """Blocked candidates / candidates; 0 without a candidate."""
        return self.blocked / self.candidates if self.candidates else 0.0

    @property
    def coverage(self) -> float:
        """Exercised tools / tools; 1 without a tool."""
        tools = len(self.exercised_tools) + len(self.idle_tools)
        return len(self.exercised_tools) / tools if tools else 1.0


def audit(
    environment: Environment, proven: Sequence[Task], *, candidates: int, blocked: int, seed: int = 1, most: int = 200
) -> Audit:
    """Measure the verifiers of up to `most` proven tasks, the first by id. Deterministic in `seed`."""
    trials: Counter[tuple[Fault, str]] = Counter()
    wrong: Counter[tuple[Fault, str]] = Counter()
    evidence: list[str] = []
    equivalent = 0
    sample = sorted(proven, key=lambda task: task.id)[:most]
    for task in sample:
        for fault, attempt in _attempts(task, environment, seed):
            solved = environment.judge(task, attempt.calls, attempt.answer).outcome is Outcome.SOLVED
            if fault == "false_positive" and solved and _same_content(task, environment, attempt):
                equivalent += 1
                continue
            trials[fault, attempt.operator] += 1
            if solved == (fault == "false_positive"):
                wrong[fault, attempt.operator] += 1
                evidence.append(f"task {task.id}: {attempt.what} is judged {'solved' if solved else 'failed'}")
    exercised = {call.tool for task in proven for call in task.golden}
    names = [tool.name for tool in environment.spec.tools]
    return Audit(
        environment_id=environment.id,
        domain=environment.spec.domain,
        seed=seed,
        tasks=len(sample),
        candidates=candidates,
        blocked=blocked,
        rates=tuple(_rates(trials, wrong)),
        equivalent=equivalent,
        evidence=tuple(evidence[:_EVIDENCE_KEPT]),
        exercised_tools=tuple(name for name in names if name in exercised),
        idle_tools=tuple(name for name in names if name not in exercised),
    )


def _attempts(task: Task, environment: Environment, seed: int) -> Iterator[tuple[Fault, Attempt]]:
    rng = Random(derive_seed(task.id, "audit", seed))
    with closing(Subject(task, environment)) as subject:
        for operator in MUTATIONS:
            for attempt in operator(subject, rng):
                yield "false_positive", attempt
        for operator in ALTERNATIVES:
            for attempt in operator(subject, rng):
                yield "false_negative", attempt


def _same_content(task: Task, environment: Environment, attempt: Attempt) -> bool:
    """Whether an attempt, for all its other calls, ends with exactly the golden rows and tells the golden answer."""
    if attempt.answer != task.golden_answer:
        return False
    return _content(environment, attempt.calls) == _content(environment, task.golden)


def _content(environment: Environment, calls: Sequence[ToolCall]) -> str:
    with environment.episode() as episode:
        for call in calls:
            episode.attempt(call)
        return episode.content_hash()


def _rates(trials: Counter[tuple[Fault, str]], wrong: Counter[tuple[Fault, str]]) -> Iterator[Rate]:
    faults: tuple[Fault, ...] = ("false_positive", "false_negative")
    for fault in faults:
        tried = sum(n for (kind, _), n in trials.items() if kind == fault)
        yield _rate(fault, "all", tried, sum(n for (kind, _), n in wrong.items() if kind == fault))
    for fault, operator in sorted(trials, key=lambda each: (faults.index(each[0]), each[1])):
        yield _rate(fault, operator, trials[fault, operator], wrong[fault, operator])


def _rate(fault: Fault, operator: str, trials: int, wrong: int) -> Rate:
    low, high = wilson_interval(wrong, trials)
    return Rate(fault=fault, operator=operator, trials=trials, wrong=wrong, low=low, high=high)
