"""A lineage made small enough to look at: records of one kind in one layer are one group, such as `144 rollouts`.

The layer of a record is the longest way to it from the root, so that every edge leads from one layer to a later one.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter

from warehouse.lineage import Key, Lineage, Link, Node

SINGLES = 3
"""So many records of a kind are still shown one by one."""
_MANY = 2  # relations that are still told apart
_WORDS = {"llm_call": "LLM call"}
_PLURALS = {"batch": "batches", "difficulty": "difficulties", "hooks": "hooks", "code": "code versions"}


@dataclass(frozen=True)
class Group:
    """Records of one kind, or a single one."""

    layer: int
    nodes: tuple[Node, ...]

    @property
    def kind(self) -> str:
        return self.nodes[0].kind

    @property
    def title(self) -> str:
        """Such as `144 rollouts`, or `task`."""
        word = _WORDS.get(self.kind, self.kind)
        return word if len(self.nodes) == 1 else f"{len(self.nodes)} {_PLURALS.get(self.kind, f'{word}s')}"

    @property
    def id(self) -> str:
        """The id of a single record; empty for several."""
        return self.nodes[0].id if len(self.nodes) == 1 else ""

    @property
    def about(self) -> str:
        """What a single record is; of several, how many there are of what they most often are."""
        if len(self.nodes) == 1:
            return self.nodes[0].about
        heads = Counter(node.about.split(",")[0].split(":")[0] for node in self.nodes if node.about)
        shown = [f"{head} ×{n}" if n > 1 else head for head, n in heads.most_common(3)]
        return ", ".join([*shown, *(["…"] if len(heads) > 3 else [])])

    @property
    def words(self) -> tuple[str, str]:
        """Title and what is below it. An id is shown by its first letters, or whole where nothing else is known."""
        if self.about:
            return " ".join(filter(None, (self.title, self.id[:8]))), self.about
        return self.title, self.id


@dataclass
class Folded:
    """Groups and what leads from the nearer to the farther ones, seen from the root, which is the first group."""

    up: bool
    groups: list[Group] = field(default_factory=list)
    relations: dict[tuple[int, int], Counter[str]] = field(default_factory=dict)
    """Relations between two groups, counted by edges; of a single edge with its detail."""

    def said(self, ends: tuple[int, int]) -> str:
        """The relations in words: how many of each if there are several; of many, such as `wrote …`, the verbs."""
        found = Counter({name.replace("_", " "): n for name, n in self.relations[ends].items()})
        if len(found) > _MANY:
            found = sum((Counter({name.partition(" ")[0]: n}) for name, n in found.items()), Counter[str]())
        return ", ".join(name if len(found) == 1 else f"{name} ×{n}" for name, n in found.most_common())

    @cached_property
    def bare(self) -> set[tuple[int, int]]:
        """The ends of the relations, without those that a way over one other group implies."""
        implied = {(near, far) for near, other in self.relations for far in self.beyond(other)}
        return set(self.relations) - implied

    def beyond(self, group: int) -> list[int]:
        """The groups that edges lead to from a group, nearest layer first."""
        return sorted(
            (far for near, far in self.relations if near == group), key=lambda far: (self.groups[far].layer, far)
        )


def fold(lineage: Lineage, singles: int = SINGLES) -> Folded:
    """The lineage in groups; of a kind with at most `singles` records in a layer each is a group."""
    sorter: TopologicalSorter[Key] = TopologicalSorter(dict.fromkeys(lineage.nodes, ()))
    for near, far in map(lineage.ends, lineage.links):
        sorter.add(far, near)
    folded = Folded(lineage.up)
    place: dict[Key, int] = {}
    order = {key: number for number, key in enumerate(lineage.nodes)}
    for layer, keys in enumerate(_generations(sorter)):
        by_kind: dict[str, list[Node]] = {}
        for key in sorted(keys, key=order.__getitem__):
            by_kind.setdefault(key[0], []).append(lineage.nodes[key])
        for nodes in by_kind.values():
            for part in [nodes] if len(nodes) > singles else [[node] for node in nodes]:
                place |= {(node.kind, node.id): len(folded.groups) for node in part}
                folded.groups.append(Group(layer, tuple(part)))
    links: dict[tuple[int, int], list[Link]] = {}
    for link in lineage.links:
        near, far = lineage.ends(link)
        links.setdefault((place[near], place[far]), []).append(link)
    folded.relations = {ends: _counted(found) for ends, found in links.items()}
    return folded


def fold_to_fit(lineage: Lineage, across: int = 4) -> Folded:
    """The lineage in groups, with fewer single records where else more than `across` groups were in a layer."""
    for singles in range(SINGLES, 0, -1):
        folded = fold(lineage, singles)
        if max(Counter(group.layer for group in folded.groups).values()) <= across:
            break
    return folded


def _generations(sorter: TopologicalSorter[Key]) -> Iterator[tuple[Key, ...]]:
    """What depends on nothing, then what depends on that alone, and so on. Raises graphlib.CycleError."""
    sorter.prepare()
    while sorter.is_active():
        yield (ready := sorter.get_ready())
        sorter.done(*ready)


def _counted(links: Sequence[Link]) -> Counter[str]:
    if len(links) == 1 and links[0].detail:
        return Counter([f"{links[0].relation}, {links[0].detail}"])
    return Counter(link.relation for link in links)
