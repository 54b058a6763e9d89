"""Rollouts with a user to talk to."""

import asyncio
from collections.abc import Callable

import pytest

from envs.environment import Environment
from envs.fates import LeftOut
from envs.task import Task
from envs.verdict import Outcome
from tests.trainer.conftest import ScriptedPolicy, history_of
from tests.trainer.endpoint import endpoint
from tests.trainer.staging import talking_task
from trainer.advantages import Advantage, advantages_of
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Conversation, Tokenizer
from trainer.golden import golden_row
from trainer.rewards import measures_of, score_group
from trainer.rollout import Rollout, StopReason
from trainer.rows import training_rows
from trainer.settings import RewardConfig, RolloutConfig, UserConfig

Scripted = Callable[..., ScriptedPolicy]
ONCE = RolloutConfig(samples_per_task=1)
ASKS = ["Ask: What is the order id?", 'cancel_order(order_id="ORD-1")', "Answer: Done."]


@pytest.fixture
def roll(shop: Environment, tokenizer: Tokenizer, assignment: Assignment) -> Callable[..., list[Rollout]]:
    def run(policy: ScriptedPolicy, tasks: list[Task], config: RolloutConfig = ONCE) -> list[Rollout]:
        return asyncio.run(collect(Collection(tasks, {shop.id: shop}, assignment, config), policy, tokenizer))

    return run


@pytest.fixture
def talking(shop: Environment) -> Task:
    return talking_task(shop)


def with_model(url: str, **settings: object) -> RolloutConfig:
    return ONCE.model_copy(update={"user": UserConfig(base_url=url, model="m").model_copy(update=settings)})


def test_a_message_is_a_turn_and_the_reply_is_heard_next(
    roll, scripted: Scripted, talking: Task, tokenizer: Tokenizer
) -> None:
    policy = scripted(ASKS)
    [rollout] = roll(policy, [talking])
    assert rollout.solved and len(rollout.turns) == 3
    first = rollout.turns[0]
    assert (first.message, first.reply) == ("What is the order id?", "The order id is ORD-1.")
    assert first.calls == () and first.charges == ()
    told = tokenizer.decode(policy.prompts[1], skip_special_tokens=False)
    assert told.endswith("<|im_start|>user\nThe order id is ORD-1.<|im_end|>\n<|im_start|>assistant\n")
    assert "To ask the user for something, write Ask: and your question." in told


def test_what_the_user_says_is_never_trained_on(roll, scripted: Scripted, talking: Task) -> None:
    policy = scripted(ASKS)
    [rollout] = roll(policy, [talking])
    assert history_of(rollout)[: len(policy.prompts[2])] == policy.prompts[2]
    advantage = Advantage(rollout_id=rollout.id, group_id=rollout.group_id, reward=1.0, advantage=1.0)
    [row] = training_rows([rollout], [advantage])
    written = [token for token, trained in zip(row.token_ids, row.trained, strict=True) if trained]
    assert written == [token for turn in rollout.turns for token in turn.completion_ids]


def test_the_golden_trajectory_asks_before_it_knows(
    roll, scripted: Scripted, talking: Task, shop: Environment, conversation: Conversation
) -> None:
    [rollout] = roll(scripted(ASKS), [talking])
    advantage = Advantage(rollout_id=rollout.id, group_id=rollout.group_id, reward=1.0, advantage=1.0)
    [rolled] = training_rows([rollout], [advantage])
    taught = golden_row(talking, shop, conversation, ONCE.result_limit_chars)
    assert (rolled.token_ids, rolled.trained) == (taught.token_ids, taught.trained)


def test_without_a_scenario_there_is_nobody_to_ask(roll, scripted: Scripted, tasks: list[Task]) -> None:
    [rollout] = roll(scripted(["Ask: Which order?", 'cancel_order(order_id="ORD-1")', "Answer: Done."]), [tasks[2]])
    assert rollout.n_malformed == 1 and rollout.turns[0].message is None and rollout.solved


def test_an_empty_message_is_malformed(roll, scripted: Scripted, talking: Task) -> None:
    [rollout] = roll(scripted(["Ask:", *ASKS]), [talking])
    assert rollout.turns[0].results[0].error == "empty message" and rollout.solved


def test_a_user_who_is_told_that_it_is_done_leaves_and_that_was_the_answer(
    roll, scripted: Scripted, talking: Task
) -> None:
    [rollout] = roll(scripted([*ASKS[:2], "Ask: I have cancelled it."]), [talking])
    assert rollout.stop_reason is StopReason.USER_LEFT
    assert rollout.answer == "I have cancelled it." and rollout.solved


def test_a_model_plays_the_user_and_sees_the_talk_from_its_side(roll, scripted: Scripted, talking: Task) -> None:
    replies = iter(["It is ORD-1.", "You are welcome. GOODBYE"])
    with endpoint(lambda _: next(replies)) as (url, requests):
        [rollout] = roll(scripted([*ASKS[:2], "Ask: It is cancelled."]), [talking], with_model(url))
    assert rollout.solved and rollout.stop_reason is StopReason.USER_LEFT
    assert [turn.reply for turn in rollout.turns] == ["It is ORD-1.", None, "You are welcome."]
    role, *talk = requests[1]["messages"]
    assert "a customer of few words" in role["content"] and "- order id: ORD-1" in role["content"]
    assert "cancel_order" not in role["content"], "the user must not be told the golden program"
    assert [(message["role"], message["content"]) for message in talk] == [
        ("user", "What is the order id?"),
        ("assistant", "It is ORD-1."),
        ("user", "It is cancelled."),
    ]


@pytest.mark.parametrize(
    ("answer", "found"),
    [("It is ORD-7.", "says ORD-7"), ("I don't know my order.", "does not know"), (500, "gave no answer")],
)
def test_a_user_that_breaks_its_role_is_an_environment_error(
    roll, scripted: Scripted, talking: Task, answer: str | int, found: str
) -> None:
    with endpoint(lambda _: answer) as (url, _):
        [rollout] = roll(scripted(ASKS), [talking], with_model(url))
    assert rollout.outcome is Outcome.ENVIRONMENT_ERROR and rollout.stop_reason is StopReason.USER_ERROR
    assert found in rollout.reasons[0]
    [reward] = score_group([measures_of(rollout, RewardConfig())], talking.preference)
    [advantage] = advantages_of([reward], {rollout.id: rollout.stop_reason}, RewardConfig())
    assert reward.value is None and advantage.left_out is LeftOut.ENVIRONMENT_ERROR


def test_the_users_time_and_tokens_are_stored_and_are_not_the_policys(roll, scripted: Scripted, talking: Task) -> None:
    with endpoint(lambda _: "The order id is ORD-1.", delay_s=0.5) as (url, _):
        [rollout] = roll(scripted(ASKS), [talking], with_model(url))
    [used] = rollout.turns[0].charges
    assert (used.kind, used.input_tokens, used.output_tokens) == ("user", 1000, 50) and used.latency_s >= 0.5
    assert rollout.turns[0].latency_s < 0.5
    [told] = roll(scripted(ASKS), [talking])
    assert told.turns[0].charges == () and told.cost_usd == rollout.cost_usd > 0


def test_the_users_tokens_cost_nothing_even_where_a_tool_is_called_user(
    roll, scripted: Scripted, talking: Task
) -> None:
    with endpoint(lambda _: "It is ORD-1.") as (url, _):
        [rollout] = roll(scripted(ASKS), [talking], with_model(url))
    toolbox = rollout.toolbox.model_copy(update={"call_prices_usd": {"user": 1.0}})
    assert rollout.turns[0].charges[0].cost_usd(toolbox) == 0.0


@pytest.mark.parametrize(("answer", "tokens"), [("It is ORD-7.", 1000), (500, 111)], ids=["counted", "estimated"])
def test_what_a_broken_user_used_is_stored_too(
    roll, scripted: Scripted, talking: Task, answer: str | int, tokens: int
) -> None:
    with endpoint(lambda _: answer) as (url, _):
        [rollout] = roll(scripted(ASKS), [talking], with_model(url))
    assert rollout.stop_reason is StopReason.USER_ERROR
    [used] = rollout.turns[0].charges
    assert (used.kind, used.input_tokens) == ("user", tokens)
