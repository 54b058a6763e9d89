"""How many steps of a pool run at a time, where that is not one. A person's own limit, set in the UI, stays."""

import dagster as dg

LIMITS = {"llm": 4}
"""Domains that ask the synthesist: a server answers several better than one, and a recording needs no server."""


def set_limits(instance: dg.DagsterInstance) -> None:
    """Set the limits that nobody has set."""
    storage = instance.event_log_storage
    known = {pool.name for pool in storage.get_pool_limits() if not pool.from_default}
    for name, limit in LIMITS.items():
        if name not in known:
            storage.set_concurrency_slots(name, limit)
