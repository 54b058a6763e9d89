"""Evolution: each kind changes program and words together, and what it makes is proven like everything else."""

import random
import re
from collections import Counter

import pytest

from envs.environment import Environment
from envs.facts import mentions
from envs.proof import prove
from envs.task import Task
from generators.evolutions import KINDS
from generators.tasks import Proposal, propose_tasks
from tests.generators.club import club_spec, plain_wording


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.load(club_spec())


@pytest.fixture(scope="module")
def proposal(environment: Environment) -> Proposal:
    return propose_tasks(environment, plain_wording(environment), 900, seed=5)


def of_kind(proposal: Proposal, kind: str) -> list[Task]:
    return [task for task in proposal.tasks if task.evolution == kind]


def test_every_kind_finds_tasks_and_most_of_them_are_proven(environment: Environment, proposal: Proposal) -> None:
    for kind in KINDS:
        tasks = of_kind(proposal, kind)
        proven = [task for task in tasks if prove(task, environment).accepted]
        assert len(tasks) >= 3, kind
        assert len(proven) >= 0.7 * len(tasks), kind


def test_the_simple_task_is_kept_as_superseded(proposal: Proposal) -> None:
    simple = {str(task.evolved_from) for task in proposal.tasks if task.evolution}
    kept = [rejection for rejection in proposal.rejections if rejection.reason == "superseded"]
    assert {Task.model_validate(rejection.subject).id for rejection in kept} >= simple
    assert not simple & {task.id for task in proposal.tasks}


def test_a_condition_that_does_not_hold_leaves_the_row_as_it_is(environment: Environment, proposal: Proposal) -> None:
    alone = [task for task in of_kind(proposal, "constraint") if len({c.tool for c in task.golden}) == len(task.golden)]
    writes = Counter(
        any(environment.spec.tool(call.tool).writes for call in task.golden) for task in alone if task.difficulty <= 2
    )
    assert writes[True] and writes[False]
    for task in of_kind(proposal, "constraint"):
        assert task.goal.facts
    # What decides is to be read, not told. In longer requests the value may stand for something else.
    short = [task for task in of_kind(proposal, "constraint") if task.difficulty <= 2]
    assert short
    assert {str(prove(task, environment).check("no_leak").outcome) for task in short} == {"passed"}


def test_a_row_that_is_to_be_left_alone_is_in_the_request_and_in_no_call(proposal: Proposal) -> None:
    for task in of_kind(proposal, "distractor"):
        named = {word.strip(".,?") for word in task.instruction.split() if "-" in word and word[0].isupper()}
        touched = {str(value) for call in task.golden for value in call.arguments.values()}
        assert named - touched


def test_a_value_of_another_row_is_read_there(proposal: Proposal) -> None:
    for task in of_kind(proposal, "same_value"):
        found = re.search(r"to the same .* as booking (\S+) has", task.instruction)
        assert found
        assert any(call.tool == "get_booking" and found[1] in call.arguments.values() for call in task.golden)


def test_a_date_is_told_by_its_distance_and_still_understood(environment: Environment, proposal: Proposal) -> None:
    for task in of_kind(proposal, "date"):
        dates = [v for call in task.golden for k, v in call.arguments.items() if k == "play_date"]
        assert any(str(value) not in task.instruction for value in dates)
        assert all(mentions(task.instruction, "date", value, environment.spec.clock) for value in dates)


def test_a_seed_gives_the_same_evolutions(environment: Environment, proposal: Proposal) -> None:
    random.seed(0)
    again = propose_tasks(environment, plain_wording(environment), 900, seed=5)
    assert [task.id for task in again.tasks] == [task.id for task in proposal.tasks]
