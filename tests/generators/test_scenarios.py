"""Users who do not say everything at once: what is left out can be asked for, and nothing else changes."""

import pytest

from envs.environment import Environment
from envs.proof import prove
from envs.task import Task
from generators.tasks import propose_tasks
from generators.wording import worded_plainly
from tests.generators.club import club_spec, plain_phrasings


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.load(club_spec())


@pytest.fixture(scope="module")
def tasks(environment: Environment) -> list[Task]:
    phrasings = plain_phrasings(environment) | {
        name: phrasing.model_copy(update={"patterns": (f"Please {name.split('_')[0]} my booking {{booking_id}}.",) * 2})
        for name, phrasing in plain_phrasings(environment).items()
        if name in ("cancel_booking", "confirm_booking")
    }
    found = propose_tasks(environment, worded_plainly(phrasings), 1500, seed=3).tasks
    return [task for task in found if task.scenario is not None]


def test_what_is_left_out_is_known_to_the_user_and_the_request_still_reads(tasks: list[Task]) -> None:
    assert len(tasks) >= 5
    for task in tasks:
        assert task.scenario is not None
        for what, value in task.scenario.known.items():
            assert value not in task.instruction
            assert (
                f"my {what.removesuffix(' id')}" in task.instruction
                or f"the {what.removesuffix(' id')}" in task.instruction
            )
            assert any(value in call.arguments.values() for call in task.golden)
        # What the user wants to be told, the user cannot tell.
        assert {fact.label.split(" of ")[0] for fact in task.goal.facts} == set(task.scenario.unknown)


def test_such_tasks_are_proven_because_the_user_can_be_asked(environment: Environment, tasks: list[Task]) -> None:
    for task in tasks[:10]:
        assert prove(task, environment).check("discoverable").outcome == "passed"
        assert task.scenario is not None
        silent = task.model_copy(update={"scenario": task.scenario.model_copy(update={"known": {}})})
        assert "discoverable" in prove(silent, environment).rejected_by
