"""What it means that a tool is contained: whatever it tried, the world is as it was before the call."""

import sys
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.errors import EnvironmentBroken
from envs.verdict import Outcome
from tests.fixtures import call, make_task


def contained(environment: Environment) -> str:
    """Whatever the tool `program` does: no change, no trace in the next episode; the answer is what broke."""
    task = make_task(environment, "", [call("cancel_order", order_id="ORD-1")])
    with environment.episode(task) as episode:
        assert episode.call("cancel_order", order_id="ORD-1").ok
        before = episode.content_hash()
        with pytest.raises(EnvironmentBroken) as broken:
            episode.call("program")
        assert episode.content_hash() == before
        assert episode.verdict("").outcome is Outcome.ENVIRONMENT_ERROR
    assert environment.judge(task, task.golden, "").outcome is Outcome.SOLVED
    said = str(broken.value)
    assert "\n" not in said and len(said) < 700
    for inside in ("Traceback", "site-packages", str(Path(__file__).parents[2]), sys.prefix, "pydantic_monty"):
        assert inside not in said
    return said
