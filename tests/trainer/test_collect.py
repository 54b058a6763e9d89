"""Collecting rollouts with scripted policies: limits, recovery, resume, costs. The engine itself is in test_engine."""

import asyncio
from collections.abc import Callable, Set

import pytest

from envs.environment import Environment
from envs.spec import Returns, Tool
from envs.task import Task
from envs.verdict import Outcome
from tests.fixtures import shop_spec
from tests.trainer.conftest import Script, ScriptedPolicy, history_of
from trainer.advantages import Advantage
from trainer.collect import Assignment, Collection, collect
from trainer.conversation import Conversation, Tokenizer
from trainer.golden import golden_row
from trainer.rollout import Rollout, StopReason
from trainer.rows import training_rows
from trainer.settings import RolloutConfig

Scripted = Callable[..., ScriptedPolicy]
ONCE = RolloutConfig(samples_per_task=1)


@pytest.fixture
def roll(shop: Environment, tokenizer: Tokenizer, assignment: Assignment) -> Callable[..., list[Rollout]]:
    def run(
        policy: ScriptedPolicy,
        tasks: list[Task],
        config: RolloutConfig = ONCE,
        done: Set[str] = frozenset(),
        on_rollout: Callable[[Rollout], None] = lambda _: None,
    ) -> list[Rollout]:
        collection = Collection(tasks, {shop.id: shop}, assignment, config, done)
        return asyncio.run(collect(collection, policy, tokenizer, on_rollout))

    return run


def test_the_golden_policy_solves_every_task(roll, scripted: Scripted, golden_script: Script, tasks) -> None:
    rollouts = roll(scripted(golden_script), tasks)
    assert [rollout.reasons for rollout in rollouts if not rollout.solved] == []
    assert {rollout.stop_reason for rollout in rollouts} == {StopReason.ANSWERED}


def test_stored_tokens_are_exactly_what_the_engine_saw(roll, scripted: Scripted, golden_script: Script, tasks) -> None:
    policy = scripted(golden_script)
    [rollout] = roll(policy, tasks[-1:])
    for turn, prompt in zip(rollout.turns, policy.prompts, strict=True):
        assert history_of(rollout)[: len(prompt)] == prompt
        assert turn.prompt_tokens == len(prompt)


def test_ids_are_the_same_whether_a_group_shares_them_or_every_rollout_makes_its_own(
    roll, scripted: Scripted, golden_script: Script, tasks
) -> None:
    config = RolloutConfig(samples_per_task=2)
    together = roll(scripted(golden_script), tasks, config)
    ids = {rollout.id for rollout in together}
    alone = [only for each in sorted(ids) for only in roll(scripted(golden_script), tasks, config, done=ids - {each})]
    told = [[[turn.context_ids for turn in rollout.turns] for rollout in rollouts] for rollouts in (together, alone)]
    assert told[0] == told[1] and len(together) == len(alone) == 2 * len(tasks)


def test_a_golden_trajectory_has_exactly_the_tokens_of_the_rollout_it_teaches(
    roll, scripted: Scripted, golden_script: Script, tasks, shop: Environment, conversation: Conversation
) -> None:
    rollouts = roll(scripted(golden_script), tasks)
    advantages = [Advantage(rollout_id=r.id, group_id=r.group_id, reward=1.0, advantage=1.0) for r in rollouts]
    rolled = {row.token_ids: row.trained for row in training_rows(rollouts, advantages)}
    taught = [golden_row(task, shop, conversation, ONCE.result_limit_chars) for task in tasks]
    assert rolled == {row.token_ids: row.trained for row in taught}


def test_a_malformed_turn_is_answered_and_the_policy_recovers(roll, scripted: Scripted, tasks) -> None:
    lines = ["I shall cancel it.", 'cancel_order(order_id="ORD-1")', "Answer: Done."]
    [rollout] = roll(scripted(lines), [tasks[2]])
    assert rollout.solved and rollout.n_malformed == 1
    assert rollout.turns[0].results[0].error is not None


def test_too_many_malformed_turns_end_the_rollout(roll, scripted: Scripted, tasks) -> None:
    [rollout] = roll(scripted(["Well."] * 6), [tasks[2]])
    assert (rollout.stop_reason, rollout.n_malformed) == (StopReason.MALFORMED_LIMIT, 2)
    assert rollout.outcome is Outcome.FAILED


def test_a_wrong_call_is_an_answer_and_not_the_end(roll, scripted: Scripted, tasks) -> None:
    lines = ['cancel_order(order_id="ORD-9")', "no_such_tool()", 'cancel_order(order_id="ORD-1")', "Answer: Done."]
    [rollout] = roll(scripted(lines), [tasks[2]])
    assert rollout.solved
    assert [turn.results[0].ok for turn in rollout.turns[:3]] == [False, False, True]


def test_a_tool_outside_the_toolbox_cannot_be_used(roll, scripted: Scripted, tasks) -> None:
    task = tasks[2].model_copy(update={"toolbox": tasks[2].toolbox.model_copy(update={"tools": ("get_order",)})})
    lines = ['cancel_order(order_id="ORD-1")', "Answer: Done."]
    [rollout] = roll(scripted(lines), [task])
    assert not rollout.solved and not rollout.turns[0].results[0].ok


@pytest.mark.parametrize(
    ("config", "line", "expected"),
    [
        (RolloutConfig(samples_per_task=1, max_turns=2), 'get_order(order_id="ORD-1")', StopReason.MAX_TURNS),
        (RolloutConfig(samples_per_task=1, max_tokens_per_turn=4), "Answer: a b c d e f g", StopReason.MAX_TOKENS),
        (RolloutConfig(samples_per_task=1, max_context_tokens=64), "Answer: x", StopReason.CONTEXT_FULL),
        (
            RolloutConfig(samples_per_task=1, max_completion_tokens=20),
            'get_order(order_id="ORD-1")',
            StopReason.TOKEN_LIMIT,
        ),
        (RolloutConfig(samples_per_task=1, max_wall_s=1e-6), "Answer: x", StopReason.TIME_LIMIT),
        (
            RolloutConfig(samples_per_task=1, max_cost_usd=0.001),
            'get_order(order_id="ORD-1")',
            StopReason.COST_LIMIT,
        ),
    ],
)
def test_every_limit_ends_a_rollout_under_its_own_name(roll, scripted, tasks, config, line, expected) -> None:
    [rollout] = roll(scripted([line] * 6), [tasks[0]], config)
    assert rollout.stop_reason is expected
    assert rollout.outcome is Outcome.FAILED and str(expected) in rollout.reasons[0]


def test_limits_that_are_not_reached_change_nothing(roll, scripted: Scripted, golden_script: Script, tasks) -> None:
    generous = RolloutConfig(samples_per_task=1, max_completion_tokens=10_000, max_wall_s=600.0, max_cost_usd=1.0)
    assert all(rollout.solved for rollout in roll(scripted(golden_script), tasks, generous))


def test_a_hanging_engine_ends_the_rollout_when_its_time_is_over(roll, scripted: Scripted, tasks) -> None:
    class Hanging(ScriptedPolicy):
        async def complete(self, request):
            if self.prompts:
                await asyncio.sleep(3600)
            return await super().complete(request)

    policy = Hanging(scripted([]).tokenizer, lambda *_: 'get_order(order_id="ORD-1")')
    config = RolloutConfig(samples_per_task=1, max_wall_s=2.0)
    [rollout] = roll(policy, [tasks[0]], config)
    assert rollout.stop_reason is StopReason.TIME_LIMIT and len(rollout.turns) == 1


def test_an_engines_own_timeout_is_not_the_rollouts(roll, scripted: Scripted, tasks) -> None:
    class Dead(ScriptedPolicy):
        async def complete(self, _request):
            raise TimeoutError("the engine gave up")

    with pytest.raises(TimeoutError, match="the engine gave up"):
        roll(Dead(scripted([]).tokenizer, lambda *_: ""), [tasks[0]], RolloutConfig(max_wall_s=600.0))


def test_several_calls_of_a_turn_are_made_in_order_and_each_is_charged(roll, scripted: Scripted, tasks) -> None:
    lines = ['cancel_order(order_id="ORD-5")\nset_order_status(order_id="ORD-4", status="shipped")', "Answer: Done."]
    [rollout] = roll(scripted(lines), [tasks[5]])
    assert rollout.solved and len(rollout.turns) == 2
    assert [result.ok for result in rollout.turns[0].results] == [True, True]
    assert [charge.tool for charge in rollout.turns[0].charges] == ["cancel_order", "set_order_status"]


def test_the_right_state_without_an_answer_is_not_solved(roll, scripted: Scripted, tasks) -> None:
    lines = ['cancel_order(order_id="ORD-1")', 'get_order(order_id="ORD-1")']
    config = RolloutConfig(samples_per_task=1, max_turns=2)
    [rollout] = roll(scripted(lines), [tasks[2]], config)
    assert not rollout.solved


def test_a_broken_environment_is_neither_solved_nor_failed(tokenizer, assignment, scripted: Scripted, tasks) -> None:
    # -1 digit: abs(-2**63) overflows when run, which no check can see beforehand.
    breaking = Tool(name="breaks", description="Breaks.", returns=Returns(sql="SELECT abs(-9223372036854775807 - 1)"))
    spec = shop_spec(tools=(*shop_spec().tools, breaking))
    broken = Environment.load(spec)
    toolbox = tasks[0].toolbox.model_copy(update={"tools": ("breaks",)})
    task = tasks[0].model_copy(update={"environment_id": broken.id, "toolbox": toolbox})
    policy = scripted(["breaks()"] * 6)
    [rollout] = asyncio.run(collect(Collection([task], {broken.id: broken}, assignment, ONCE), policy, tokenizer))
    assert rollout.outcome is Outcome.ENVIRONMENT_ERROR
    assert rollout.stop_reason is StopReason.ENVIRONMENT_ERROR


def test_concurrent_rollouts_do_not_see_each_other(roll, scripted: Scripted, golden_script: Script, tasks) -> None:
    rollouts = roll(scripted(golden_script), tasks, RolloutConfig(samples_per_task=6, concurrency=42))
    assert len(rollouts) == 6 * len(tasks) and all(rollout.solved for rollout in rollouts)


def test_a_collection_that_lost_its_engine_resumes_without_loss_or_double(
    roll, scripted: Scripted, golden_script: Script, tasks
) -> None:
    config = RolloutConfig(samples_per_task=2, concurrency=3)
    kept: list[Rollout] = []
    with pytest.raises(ConnectionError):
        roll(scripted(golden_script, fails_after=12), tasks, config, on_rollout=kept.append)
    assert 0 < len(kept) < 2 * len(tasks)
    rest = roll(scripted(golden_script), tasks, config, done={rollout.id for rollout in kept})
    whole = roll(scripted(golden_script), tasks, config)
    assert sorted(rollout.id for rollout in [*kept, *rest]) == [rollout.id for rollout in whole]


def test_seeds_differ_between_turns_and_samples_and_repeat_between_runs(
    roll, scripted: Scripted, golden_script: Script, tasks
) -> None:
    seeds = []
    for _ in range(2):
        policy = scripted(golden_script)
        roll(policy, tasks[-1:], RolloutConfig(samples_per_task=3, concurrency=1))
        seeds.append(policy.seeds)
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0]) == 12


def test_cost_is_tokens_and_calls_at_the_toolboxs_prices(roll, scripted: Scripted, golden_script, tasks) -> None:
    [rollout] = roll(scripted(golden_script), tasks[-1:])
    toolbox = tasks[-1].toolbox
    expected = rollout.prompt_tokens * toolbox.input_usd_per_mtok / 1e6
    expected += rollout.completion_tokens * toolbox.output_usd_per_mtok / 1e6
    assert rollout.cost_usd == pytest.approx(expected + 3 * 0.001)
