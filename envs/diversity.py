"""How diverse a set of tasks is, as data."""

from collections.abc import Iterable

from envs.record import Record, content_id
from envs.task import Task

ALL = "all"
"""The scope of all tasks; any other is a domain."""


class Diversity(Record):
    """The diversity of one domain's tasks, or of all (`scope`)."""

    scope: str
    tasks: int
    distinct_shapes: int
    """Golden programs that are different up to entity renaming (`envs.proof.novelty.program_shape`)."""
    tool_bigram_entropy_bits: float
    """Shannon entropy of two tools in a row, beginning and end of a program included: 2 to this power is how many
    pairs, equally frequent, would be as varied."""
    tools: int
    """In the environments."""
    tools_used: int
    """In at least one golden program."""
    lexical_diversity: float
    """HD-D, 0 to 1: the expected share of different words among 42 drawn from all requests."""
    repeated: int
    """Tasks taken out because they repeat another one."""

    @property
    def tool_coverage(self) -> float:
        """Share of the tools that some golden program uses."""
        return self.tools_used / self.tools if self.tools else 0.0

    @property
    def repeated_share(self) -> float:
        """Share of the tasks there were that was taken out as repeated."""
        return self.repeated / (self.tasks + self.repeated) if self.repeated else 0.0


def diversity_id(measured: Diversity, tasks: Iterable[Task]) -> str:
    """Names what was measured, not the figures: another machine's last digit must not make it another row."""
    return content_id([measured.scope, measured.tools, measured.repeated, sorted(task.id for task in tasks)])
