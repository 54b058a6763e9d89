"""How diverse a set of tasks is: in programs, in tools, in words. Plain functions on tasks; nothing is judged here."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from envs.diversity import ALL, Diversity
from envs.proof.novelty import program_shape, words_of
from envs.task import Task

SAMPLE = 42
"""Words drawn for lexical diversity, as in its source."""


def diversity_by_domain(
    tasks: Sequence[Task], tools: Iterable[tuple[str, str]], repeated: Iterable[str] = ()
) -> list[Diversity]:
    """The diversity of all tasks, then of each domain, sorted.

    `tools` is there by environment id and name; `repeated` has the domain of each task taken out as repeated.
    """
    removed = Counter(repeated)
    available = Counter(environment for environment, _ in tools)
    environments = {task.environment_id: task.domain for task in tasks}
    measured = [diversity(ALL, tasks, sum(available[name] for name in environments), removed.total())]
    for domain in sorted(set(environments.values())):
        there = sum(available[name] for name, of in environments.items() if of == domain)
        part = [task for task in tasks if task.domain == domain]
        measured.append(diversity(domain, part, there, removed[domain]))
    return measured


def diversity(scope: str, tasks: Sequence[Task], tools: int, repeated: int = 0) -> Diversity:
    """The diversity of tasks that have so many tools."""
    return Diversity(
        scope=scope,
        tasks=len(tasks),
        distinct_shapes=len({(task.domain, program_shape(task)) for task in tasks}),
        tool_bigram_entropy_bits=round(tool_entropy_bits(tasks), 4),
        tools=tools,
        tools_used=len({(task.domain, call.tool) for task in tasks for call in task.golden}),
        lexical_diversity=round(hd_d(word for task in tasks for word in words_of(task.said)), 4),
        repeated=repeated,
    )


def tool_entropy_bits(tasks: Iterable[Task], n: int = 2) -> float:
    """Shannon entropy, in bits, of `n` tools in a row over all golden programs, with their beginnings and ends."""
    counts: Counter[tuple[str, ...]] = Counter()
    for task in tasks:
        edge = [""] * (n - 1)
        steps = [*edge, *(f"{task.domain}.{call.tool}" for call in task.golden), *edge]
        counts.update(tuple(steps[start : start + n]) for start in range(len(steps) - n + 1))
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values())


def hd_d(words: Iterable[str], sample: int = SAMPLE) -> float:
    """HD-D (McCarthy and Jarvis 2007, doi 10.1177/0265532207080767): the expected type-token ratio of a random sample.

    The sum over all words of the probability that a sample of `sample` words contains it (hypergeometric), divided by
    its size. Unlike a plain type-token ratio it hardly falls with the length of the text, nor does the order matter.
    Words with digits are left out: a thousand ids are no vocabulary.
    """
    counts = Counter(word for word in words if not any(letter.isdigit() for letter in word))
    total = counts.total()
    size = min(sample, total)
    if size == 0:
        return 0.0
    return math.fsum(1 - _chance_of_none(total, count, size) for count in counts.values()) / size


def _chance_of_none(total: int, count: int, size: int) -> float:
    """That `size` words drawn from `total` without returning any are none of `count` given ones."""
    if size > total - count:
        return 0.0
    return math.exp(math.fsum(math.log1p(-count / (total - drawn)) for drawn in range(size)))
