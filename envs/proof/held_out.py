"""Requests kept for evaluation, and whether a task repeats one: by runs of words, or by the tools it takes.

Reading held-out files and taking tasks out of a dataset is `generators.decontamination`'s.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from envs.record import Record
from envs.spec import Tool

RUN = 8
"""Words of a run that cannot be shared by chance, as in the decontamination of Tülu 3 (arXiv 2411.15124)."""
OVERLAP = 0.5
"""A task is contaminated from this share on: of the shorter text's words, or of the tools its golden program calls."""


class HeldOutRequest(Record):
    """One request that a policy will be evaluated on, so that nothing trained on may repeat it."""

    instruction: str
    tools: tuple[str, ...] = ()
    """Tools that must stay unseen with it: `cancel_order(order_id, reason)`, or a name for every tool called so."""
    source: str
    """`file:line`."""


class Contamination(Record):
    """That a task repeats a held-out request, and how much of it."""

    reason: Literal["instruction", "tools"]
    source: str
    share: float
    """Between `OVERLAP` and 1."""
    evidence: str


class HeldOut:
    """All held-out requests, indexed. Asking takes time in the length of the text, not in the number of requests."""

    def __init__(self, requests: Iterable[HeldOutRequest] = ()) -> None:
        self.requests = tuple(requests)
        self._lengths: list[int] = []
        self._by_run: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_tool: dict[str, list[int]] = defaultdict(list)
        for number, request in enumerate(self.requests):
            words = _words(request.instruction)
            self._lengths.append(len(words))
            for run in set(_runs(words)):
                self._by_run[run].append(number)
            for tool in {_normal(tool) for tool in request.tools}:
                self._by_tool[tool].append(number)

    def repeated_by(self, text: str, tools: Sequence[Tool]) -> Contamination | None:
        """What a task with this text and these golden tools repeats most, words before tools; None if nothing."""
        if not self.requests:
            return None
        return self._words_of(text) or self._tools_of(tools)

    def _words_of(self, text: str) -> Contamination | None:
        words = _words(text)
        shared: dict[int, set[int]] = defaultdict(set)
        for start, run in enumerate(_runs(words)):
            for number in self._by_run.get(run, ()):
                shared[number].update(range(start, start + len(run)))
        shares = {
            number: min(1.0, len(places) / min(len(words), self._lengths[number])) for number, places in shared.items()
        }
        if not (found := _most(shares)):
            return None
        number, share = found
        said = " ".join(words[place] for place in sorted(shared[number]))
        return self._contamination("instruction", number, share, f"shares the words {said[:160]!r}")

    def _tools_of(self, tools: Sequence[Tool]) -> Contamination | None:
        shared: dict[int, set[str]] = defaultdict(set)
        for tool in tools:
            for name in (tool.name.casefold(), _normal(signature(tool))):
                for number in self._by_tool.get(name, ()):
                    shared[number].add(tool.name)
        needed = {tool.name for tool in tools}
        if not (found := _most({number: len(names) / len(needed) for number, names in shared.items()})):
            return None
        number, share = found
        return self._contamination("tools", number, share, f"calls its tools {', '.join(sorted(shared[number]))}")

    def _contamination(
        self, reason: Literal["instruction", "tools"], number: int, share: float, evidence: str
    ) -> Contamination:
        source = self.requests[number].source
        return Contamination(
            reason=reason, source=source, share=round(share, 4), evidence=f"{source}: {share:.0%}, {evidence}"
        )


def signature(tool: Tool) -> str:
    """A tool as a held-out file names it: `cancel_order(order_id, reason)`."""
    return f"{tool.name}({', '.join(parameter.name for parameter in tool.parameters)})"


def _normal(written: str) -> str:
    """A name or signature in lower case, its parameters sorted: their order is no difference between tools."""
    name, bracket, parameters = written.casefold().replace(" ", "").partition("(")
    return name + bracket + ",".join(sorted(parameters.removesuffix(")").split(",")))


def _most(shares: dict[int, float]) -> tuple[int, float] | None:
    """The request repeated most, the first of several, and its share; None below `OVERLAP`."""
    found = max(shares.items(), key=lambda item: (item[1], -item[0]), default=(0, 0.0))
    return found if found[1] >= OVERLAP else None


def _words(text: str) -> tuple[str, ...]:
    """Words in lower case. Numbers, dates and ids are all `#`: the same request about another order is the same."""
    words = re.findall(r"\w+(?:-\w+)*", text.casefold())
    return tuple("#" if any(letter.isdigit() for letter in word) else word for word in words)


def _runs(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every run of `RUN` words; a shorter text is one run of its own, and so equal to the same text only."""
    if words:
        for start in range(max(1, len(words) - RUN + 1)):
            yield words[start : start + RUN]
