"""Waiting for a server: with a bound, and with a line every ten seconds about the thing that is waited for."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import BaseFileLock, Timeout
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from tenacity.wait import wait_base

logger = logging.getLogger(__name__)
_SILENCE_S = 10.0


class NotYet(Exception):
    """Raised by the attempt that is to be repeated; its words say why."""


def patiently(subject: str, timeout_s: float, wait: wait_base) -> Retrying:
    """Repeats what raises NotYet, for `timeout_s` in all: then it raises tenacity.RetryError.

    Signals end the wait at once, as Python delivers them.
    """
    return Retrying(
        stop=stop_after_delay(timeout_s),
        wait=wait,
        retry=retry_if_exception_type(NotYet),
        before_sleep=_announcing(subject, timeout_s),
    )


def _announcing(subject: str, timeout_s: float) -> Callable[[RetryCallState], None]:
    announced_s = 0.0

    def announce(state: RetryCallState) -> None:
        nonlocal announced_s
        waited_s = state.seconds_since_start or 0.0
        if waited_s - announced_s >= _SILENCE_S:
            announced_s = waited_s
            reason = state.outcome.exception() if state.outcome else None
            words = f" ({reason})" if str(reason or "") else ""
            logger.warning("waiting for %s: %.0f of at most %.0f s%s", subject, waited_s, timeout_s, words)

    return announce


@contextmanager
def held(lock: BaseFileLock, subject: str, timeout_s: float) -> Iterator[None]:
    """The lock, once its holder gives it up. Raises TimeoutError after `timeout_s`."""

    def acquire() -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise NotYet from None

    try:
        patiently(subject, timeout_s, wait_fixed(0.25))(acquire)
    except RetryError:
        raise TimeoutError(f"{lock.lock_file} was held for {timeout_s:.0f} s. End the process that holds it.") from None
    try:
        yield
    finally:
        lock.release()
