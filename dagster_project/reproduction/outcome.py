"""What a reproduction says of each asset, and of the whole."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from warehouse.compare import Difference
from warehouse.warehouse import Batch


class Status(StrEnum):
    """How what is here now stands to what was recorded."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    NOT_HERE = "not reproducible here"
    TAKEN = "taken over"
    """As it was stored; nobody looked."""


@dataclass(frozen=True)
class Finding:
    """What was found of one asset."""

    asset: str
    partition: str | None
    batch_id: str
    status: Status
    told: str = ""
    """What was compared, or why nothing could be."""
    difference: Difference | None = None
    causes: tuple[str, ...] = ()
    """What is otherwise here than it was then."""

    @classmethod
    def of(cls, batch: Batch, status: Status, told: str = "", difference: Difference | None = None) -> "Finding":
        """The finding of a recorded batch."""
        return cls(batch.asset, batch.partition, batch.batch_id, status, told, difference)

    @classmethod
    def read(cls, told: dict[str, Any]) -> "Finding":
        """The finding that `as_json` wrote."""
        difference = told.pop("difference")
        told |= {"status": Status(told["status"]), "causes": tuple(told["causes"])}
        return cls(**told, difference=Difference(**difference) if difference else None)

    @property
    def name(self) -> str:
        """`asset[partition]`."""
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def exit_code(findings: Sequence[Finding]) -> int:
    """0: all identical or taken over. 1: something is different. 2: nothing is, but something is not reproducible."""
    statuses = {finding.status for finding in findings}
    return 1 if Status.DIFFERENT in statuses else 2 if Status.NOT_HERE in statuses else 0
