"""Collections dealt out to workers of this process: what is dealt, that nothing is repeated, and what is refused."""

import asyncio
import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import cloudpickle
import pytest
from pydantic import ValidationError

from envs.environment import Environment
from envs.task import Task
from tests.trainer.conftest import Script, ScriptedPolicy
from tests.trainer.sinks import InMemory
from trainer.baselines import RULES, RuleEngine, RulePolicy, rule_policy
from trainer.collect import Assignment, Collection, planned
from trainer.conversation import Tokenizer
from trainer.fanout import Ended, OpenPolicy, RayMissing, deal, fan_out, map_of
from trainer.settings import RolloutConfig, WorkersConfig

Scripted = Callable[..., ScriptedPolicy]


@pytest.fixture
def collection(shop: Environment, tasks: list[Task], assignment: Assignment) -> Collection:
    config = RolloutConfig(samples_per_task=2, workers=WorkersConfig(count=3))
    return Collection(tasks, {shop.id: shop}, assignment, config)


def ids_of(collection: Collection) -> set[str]:
    return set(planned(collection.tasks, collection.assignment, collection.config))


def test_workers_get_whole_groups_and_every_group_has_one_worker(collection: Collection) -> None:
    parts = deal(collection, 3)
    assert sorted(task.id for part in parts for task in part.tasks) == sorted(task.id for task in collection.tasks)
    assert max(len(part.tasks) for part in parts) - min(len(part.tasks) for part in parts) <= 1


def test_finished_groups_are_dealt_to_nobody(collection: Collection) -> None:
    first, *others = collection.tasks
    done = ids_of(replace(collection, tasks=[first]))
    parts = deal(collection.without(done), 100)
    assert [task for part in parts for task in part.tasks] == others
    half = collection.without(sorted(done)[:1])
    assert first in [task for part in deal(half, 2) for task in part.tasks]
    assert deal(collection.without(ids_of(collection)), 3) == []


def test_how_many_workers_there_are_changes_no_rollout(collection: Collection) -> None:
    alone = collection.config.model_copy(update={"workers": WorkersConfig()})
    assert ids_of(collection) == ids_of(replace(collection, config=alone))


def test_workers_take_policies_in_turn_and_report_what_is_kept(
    collection: Collection, tokenizer: Tokenizer, scripted: Scripted, golden_script: Script
) -> None:
    policies = [scripted(golden_script), scripted(golden_script)]
    sink, heard = InMemory(), list[Ended]()
    fan_out(collection, [partial(nullcontext, policy) for policy in policies], tokenizer, sink, heard.append)
    assert sink.kept() == ids_of(collection) and len(sink.ended) == len(sink.kept())
    assert [word.rollout_id for word in heard] == [rollout.id for rollout in sink.ended]
    assert all(word.solved for word in heard)
    assert all(policy.prompts for policy in policies)


def test_what_the_sink_holds_is_not_played_again(
    collection: Collection, tokenizer: Tokenizer, scripted: Scripted, golden_script: Script
) -> None:
    sink = InMemory()
    failing, sound = scripted(golden_script, fails_after=20), scripted(golden_script)
    with pytest.raises(ConnectionError, match="the engine is gone"):
        fan_out(collection, [partial(nullcontext, failing)], tokenizer, sink, lambda _: None)
    assert 0 < len(sink.ended) < len(ids_of(collection))
    fan_out(collection, [partial(nullcontext, sound)], tokenizer, sink, lambda _: None)
    assert sink.kept() == ids_of(collection) and len(sink.ended) == len(sink.kept())


@pytest.mark.parametrize("rule", RULES)
def test_rules_can_be_sent_to_workers(rule: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[OpenPolicy] = []
    monkeypatch.setattr("trainer.baselines.fan_out", lambda _, policies, *__: sent.extend(policies))
    who = Assignment(campaign="test", iteration=0, purpose="evaluation", policy_id=rule, model="")
    RuleEngine(RULES[rule], tokenizer).collect(Collection([], {}, who, RolloutConfig()), rule_policy(rule), InMemory())
    [opened] = cloudpickle.loads(cloudpickle.dumps(sent))
    assert isinstance(asyncio.run(opened().__aenter__()), RulePolicy)


def test_missing_ray_is_one_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RayMissing, match=r"pip install 'envloom\[ray\]'"):
        map_of(WorkersConfig(kind="ray"))


def test_an_address_that_cannot_stream_is_refused() -> None:
    with pytest.raises(ValidationError):
        WorkersConfig(kind="ray", address="ray://head:10001")
