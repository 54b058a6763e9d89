"""What a rollout may use, as drawn for a task instance."""

import random

import pytest
from pydantic import ValidationError

from envs.environment import Environment
from envs.task import Preference, Task, Toolbox
from envs.toolbox import ToolboxConfig, ToolboxUnavailable, sample_preference, sample_toolbox
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.staging import FOOL, SAGE, library_spec

SHOP, LIBRARY = shop_spec(), library_spec()


@pytest.fixture(scope="module")
def task() -> Task:
    with Environment.load(SHOP) as shop:
        return shop_tasks(shop)[2]  # cancel_order


def drawn(task: Task, seed: int = 0, others=(LIBRARY,), **settings) -> Toolbox:
    return sample_toolbox(task, SHOP, ToolboxConfig(**settings), others, random.Random(seed))


def test_by_default_a_task_keeps_its_own_toolbox(task: Task) -> None:
    assert drawn(task) == task.toolbox
    assert drawn(task, others=()) == task.toolbox


def test_equal_seeds_draw_equal_toolboxes_and_others_do_not(task: Task) -> None:
    wishes = {"pool": (SAGE, FOOL), "experts": 1, "prices": "drawn", "distractors": 1, "unneeded_tools": 2}
    assert drawn(task, **wishes) == drawn(task, **wishes)
    assert len({drawn(task, seed, **wishes).id for seed in range(8)}) == 8


def test_what_the_task_needs_and_what_the_user_wishes_for_is_always_there(task: Task) -> None:
    wishing = task.model_copy(update={"preference": Preference(text="x", tools={"get_product": 0.3})})
    for seed in range(20):
        tools = drawn(wishing, seed, unneeded_tools=1).tools
        assert {"cancel_order", "get_product"} <= set(tools) and len(tools) == 3


def test_distractors_come_from_other_domains_and_have_names_of_their_own(task: Task) -> None:
    toolbox = drawn(task, distractors=2, others=(SHOP, LIBRARY))
    assert [(each.tool, each.environment_id) for each in toolbox.distractors] == [
        ("count_books", LIBRARY.id),
        ("renew_loan", LIBRARY.id),
    ]
    assert {"count_books", "renew_loan"} <= set(toolbox.call_prices_usd)


def test_too_few_other_domains_are_named(task: Task) -> None:
    with pytest.raises(ToolboxUnavailable, match="3 distractors are wanted for shop, the other domains have 2 tools"):
        drawn(task, distractors=3)


def test_names_say_nothing_about_who_stands_behind_them(task: Task) -> None:
    behind = {drawn(task, seed, pool=(SAGE, FOOL), experts=2).experts[0].profile for seed in range(20)}
    assert behind == {"sage", "fool"}
    assert [e.name for e in drawn(task, pool=(SAGE, FOOL), experts=2).experts] == ["expert_a", "expert_b"]
    assert all(expert.simulated for expert in drawn(task, pool=(SAGE, FOOL), experts=2).experts)


def test_experts_may_keep_their_names_but_not_their_places(task: Task) -> None:
    settings = {"pool": (SAGE, FOOL), "experts": 2, "expert_names": "own"}
    found = [drawn(task, seed, **settings).experts for seed in range(20)]
    assert all(expert.name == expert.profile for experts in found for expert in experts)
    assert {experts[0].name for experts in found} == {"sage", "fool"}


def test_an_expert_that_is_called_like_a_tool_is_refused(task: Task) -> None:
    namesake = SAGE.model_copy(update={"name": "cancel_order"})
    with pytest.raises(ToolboxUnavailable, match="both called cancel_order"):
        drawn(task, pool=(namesake,), experts=1, expert_names="own")
    drawn(task, pool=(namesake,), experts=1)


def test_prices_are_the_declared_ones_or_drawn_near_them(task: Task) -> None:
    declared = drawn(task, pool=(SAGE,), experts=1).experts[0]
    assert (declared.input_usd_per_mtok, declared.output_usd_per_mtok) == (2.0, 8.0)
    for seed in range(20):
        [expert] = drawn(task, seed, pool=(SAGE,), experts=1, prices="drawn", expert_price_spread=4.0).experts
        assert 0.5 * 0.95 <= expert.input_usd_per_mtok <= 8.0 * 1.05
    assert drawn(task, prices="drawn").call_prices_usd != task.toolbox.call_prices_usd


def test_a_wish_for_an_expert_is_made_only_where_there_is_one_and_no_other_wish(task: Task) -> None:
    config = ToolboxConfig(pool=(SAGE,), experts=1, expert_preference_rate=1.0)
    toolbox = sample_toolbox(task, SHOP, config, (), random.Random(0))
    wish = sample_preference(task, toolbox, config, random.Random(0))
    assert wish.text == "Where you can, use expert_a." and wish.tools == {"expert_a": 0.3}
    assert sample_preference(task, task.toolbox, config, random.Random(0)) == task.preference
    hurried = task.model_copy(update={"preference": Preference(text="Hurry.", latency=1.0)})
    assert sample_preference(hurried, toolbox, config, random.Random(0)) == hurried.preference


def test_settings_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValidationError, match="declares none"):
        ToolboxConfig(experts=1)
    with pytest.raises(ValidationError, match="two experts have one name"):
        ToolboxConfig(pool=(SAGE, SAGE))
    spaced = SAGE.model_copy(update={"name": "The sage"})
    with pytest.raises(ValidationError, match="'The sage' cannot be called like a tool"):
        ToolboxConfig(pool=(spaced,), expert_names="own")
    ToolboxConfig(pool=(spaced,))
