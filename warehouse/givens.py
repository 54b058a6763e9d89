"""What a batch was made with beside other batches: the campaign's settings, the sources, held-out sets, by hash.

Rows of `givens`, from which edges `given` lead to the batches. What they mean is not known here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envs.record import content_id
from warehouse.lineage import Edge


@dataclass(frozen=True)
class Given:
    """One thing that a batch was given, whole: equal ones are one row."""

    kind: str
    """A singular noun: `campaign`, `sources`, `held_out`."""
    name: str
    record: Mapping[str, Any]

    @classmethod
    def read(cls, kind: str, name: str, record: str) -> "Given":
        """The given of a stored row."""
        return cls(kind, name, json.loads(record))

    @property
    def id(self) -> str:
        return content_id([self.kind, self.name, dict(self.record)])

    @property
    def row(self) -> dict[str, Any]:
        """The row of table `givens`."""
        return {"id": self.id, "kind": self.kind, "name": self.name, "record": dict(self.record)}

    def edge(self, batch_id: str) -> Edge:
        """From it to the batch that was made with it."""
        return Edge(self.kind, self.id, "batch", batch_id, "given")
