"""Golden programs and their wording: executable by construction, and said so that a person could do them."""

import re

from envs.environment import Environment
from envs.proof import prove
from generators.phrases import Phrasing, asks
from generators.splits import split_tasks
from generators.tasks import propose_tasks
from tests.fixtures import shop_spec


def plain_phrasings(environment: Environment) -> dict[str, Phrasing]:
    """For each tool its plain description with the placeholders, as a model would have worded it."""
    return {
        ask.tool.name: Phrasing(
            tool=ask.tool.name,
            patterns=(
                f"Please {ask.tool.name.replace('_', ' ')}: {' '.join(f'{{{p}}}' for p in ask.placeholders)}.",
                f"I want to {ask.tool.name.replace('_', ' ')} {' '.join(f'{{{p}}}' for p in ask.placeholders)}.",
            ),
            call_id="c" * 32,
        )
        for ask in asks(environment.spec)
    }


def test_every_candidate_executes_and_says_every_value() -> None:
    environment = Environment.load(shop_spec())
    proposal = propose_tasks(environment, plain_phrasings(environment), 60, seed=1)
    assert proposal.tasks
    for task in proposal.tasks:
        assert all(result.ok for result in environment.replay(task.golden).results)
        assert not re.search(r"\{\w+\}", task.instruction), task.instruction
        assert task.made_from == ("c" * 32,)
        assert {call.tool for call in task.golden} <= set(task.toolbox.tools)


def test_most_candidates_of_a_sound_environment_are_proven() -> None:
    environment = Environment.load(shop_spec())
    proposal = propose_tasks(environment, plain_phrasings(environment), 60, seed=1)
    proven = [task for task in proposal.tasks if prove(task, environment).accepted]
    assert len(proven) > len(proposal.tasks) / 2


def test_the_same_seed_proposes_the_same_tasks_and_another_seed_others() -> None:
    environment = Environment.load(shop_spec())
    phrasings = plain_phrasings(environment)
    first, again, other = (propose_tasks(environment, phrasings, 20, seed) for seed in (1, 1, 2))
    assert [task.id for task in first.tasks] == [task.id for task in again.tasks]
    assert {task.id for task in first.tasks} != {task.id for task in other.tasks}


def test_a_tool_without_patterns_is_reported_and_not_used() -> None:
    environment = Environment.load(shop_spec())
    phrasings = plain_phrasings(environment)
    silent = next(tool.name for tool in environment.spec.tools if tool.writes)
    del phrasings[silent]
    proposal = propose_tasks(environment, phrasings, 40, seed=1)
    assert all(silent not in {call.tool for call in task.golden} for task in proposal.tasks)
    assert [r.subject for r in proposal.rejections if r.reason == "no_phrases"] == [silent]


def test_a_request_is_never_on_both_sides_of_a_split() -> None:
    environment = Environment.load(shop_spec())
    tasks = propose_tasks(environment, plain_phrasings(environment), 80, seed=3).tasks
    where = {split.task_id: split.split for split in split_tasks(tasks, seed=0)}
    assert set(where.values()) == {"train", "validation", "test"}
    sides: dict[str, set[str]] = {}
    for task in tasks:
        sides.setdefault(task.instruction, set()).add(where[task.id])
    assert all(len(names) == 1 for names in sides.values())
