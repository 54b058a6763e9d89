"""What the warehouse knows of one materialization of an asset."""

from dataclasses import asdict, dataclass
from datetime import datetime

from envs.display import count, one_line, table


@dataclass(frozen=True)
class Batch:
    """One materialisation of an asset: what it was made by, and the hash of what it holds."""

    batch_id: str
    asset: str
    partition: str | None
    data_version: str
    code_version: str
    run_id: str
    created_at: datetime
    """UTC."""
    n_rows: int
    runtime_id: str | None = None
    """The row of `runtimes`; None where it was not told."""

    def __repr__(self) -> str:
        return one_line("Batch", self._name, count(self.n_rows, "row"), self.batch_id[:8])

    def _repr_html_(self) -> str:
        values = [(name, value) for name, value in asdict(self).items() if value is not None]
        return table(f"Batch {self._name}", ("", ""), values)

    @property
    def _name(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}[{self.partition}]"
