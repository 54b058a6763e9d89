"""Rules as policies: read and written in tokens, rolled out by the same code."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.experts import Competence
from envs.task import Task
from envs.verdict import Outcome
from tests.trainer.endpoint import endpoint
from tests.trainer.sinks import InMemory
from tests.trainer.staging import FOOL, SAGE, talking_task, with_experts
from trainer.baselines import RULES, NoExperts, RuleEngine, RulePolicy, rule_policy
from trainer.capability import capability_text, measured
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Conversation, TemplateUnusable, Tokenizer
from trainer.evaluate import summarise
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig


@pytest.fixture
def roll(shop: Environment, tokenizer: Tokenizer) -> Callable[..., list[Rollout]]:
    def run(rule: str, tasks: list[Task], config: RolloutConfig) -> list[Rollout]:
        engine = RuleEngine(RULES[rule], tokenizer)
        policy = rule_policy(rule)
        who = Assignment(campaign="c", iteration=-1, purpose="evaluation", policy_id=policy.policy_id, model="")
        sink = InMemory()
        engine.collect(Collection(tasks, {shop.id: shop}, who, config), policy, sink)
        return sink.rollouts()

    return run


def asked_of(rollouts: list[Rollout]) -> set[str]:
    """Who was asked, by the names behind the names."""
    found = set()
    for rollout in rollouts:
        behind = {expert.name: expert.profile for expert in rollout.toolbox.experts}
        found |= {behind[call.tool] for turn in rollout.turns for call in turn.calls if call.tool in behind}
    return found


def test_the_dearest_expert_solves_what_it_knows_and_the_cheapest_does_not(roll, tasks: list[Task]) -> None:
    config = with_experts(SAGE, FOOL)
    dear, cheap = roll("dearest_expert", tasks, config), roll("cheapest_expert", tasks, config)
    assert [rollout.reasons for rollout in dear if not rollout.solved] == []
    assert not any(rollout.solved for rollout in cheap)
    assert asked_of(dear) == {"sage"} and asked_of(cheap) == {"fool"}
    assert summarise(dear)[0].simulated_experts


def test_a_rule_asks_the_user_for_what_its_expert_needs(roll, shop: Environment) -> None:
    [rollout] = roll("dearest_expert", [talking_task(shop)], with_experts(SAGE))
    assert rollout.solved
    assert [turn.message for turn in rollout.turns if turn.message] == ["I need to know the order_id."]


def test_a_rule_passes_on_what_a_model_says(roll, tasks: list[Task]) -> None:
    from tests.trainer.test_experts import model_expert

    said = iter(['cancel_order(order_id="ORD-1")', "All is done now."])
    with endpoint(lambda _: next(said)) as (url, _):
        [rollout] = roll("cheapest_expert", [tasks[2]], with_experts(model_expert(url)))
    assert rollout.solved and rollout.answer == "All is done now."


def test_rules_that_ask_experts_need_some(roll, tasks: list[Task]) -> None:
    with pytest.raises(NoExperts, match=r"rollouts\.toolbox\.experts"):
        roll("cheapest_expert", tasks[:1], RolloutConfig())


def test_chance_ends_and_repeats_itself(roll, tasks: list[Task]) -> None:
    config = with_experts(FOOL, samples_per_task=3)
    first, again = roll("random", tasks, config), roll("random", tasks, config)
    assert [[turn.text for turn in rollout.turns] for rollout in first] == [
        [turn.text for turn in rollout.turns] for rollout in again
    ]
    assert len({turn.text for rollout in first for turn in rollout.turns}) > 10
    assert not any(rollout.n_malformed for rollout in first)


def test_what_is_read_is_what_was_said(conversation: Conversation) -> None:
    words = conversation.completion("f(a=1)")
    ids = conversation.opening("A shop.\nTools:", "Hello,\nplease.")
    ids += [*words, *conversation.bridge(words, '{"a": 1}')]
    ids += [*words, *conversation.bridge(words, "It is <|im_end|> me.", "user")]
    assert conversation.read(ids) == (
        "A shop.\nTools:",
        [
            ("user", "Hello,\nplease."),
            ("assistant", "f(a=1)"),
            ("tool", '{"a": 1}'),
            ("assistant", "f(a=1)"),
            ("user", "It is < |im_end|> me."),
        ],
    )
    with pytest.raises(TemplateUnusable, match="begin"):
        conversation.read(words)
    with pytest.raises(TemplateUnusable, match="go on"):
        conversation.read([*conversation.opening("s", "u"), *words])


def test_capabilities_are_written_from_what_experts_did(shop: Environment, tasks, tokenizer: Tokenizer) -> None:
    half = FOOL.model_copy(update={"name": "half", "competence": (Competence(probability=1.0, max_difficulty=1),)})
    config = measured(with_experts(SAGE, half), tasks, {shop.id: shop}, tokenizer)
    assert [profile.capability for profile in config.toolbox.pool] == [
        "Solved 7 of 7 shop tasks.",
        "Solved 4 of 7 shop tasks.",
    ]


def test_broken_rollouts_say_nothing_about_an_expert(shop, tasks, tokenizer: Tokenizer, assignment: Assignment) -> None:
    policy = RulePolicy(RULES["cheapest_expert"], tokenizer)
    collection = Collection(tasks, {shop.id: shop}, assignment, with_experts(SAGE))
    rollouts = asyncio.run(collect(collection, policy, tokenizer))
    broken = [rollout.model_copy(update={"outcome": Outcome.ENVIRONMENT_ERROR}) for rollout in rollouts[:3]]
    assert capability_text([*broken, *rollouts[3:]]) == "Solved 4 of 4 shop tasks."
    assert capability_text(broken) == ""


def test_a_scripted_opponent_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, trainer.baselines, trainer.capability; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
