"""The measures of diversity against values that can be worked out by hand."""

from itertools import combinations
from math import log2
from statistics import fmean

import pytest

from envs.diversity import ALL, diversity_id
from envs.environment import Environment
from envs.task import Task
from generators.diversity import diversity, diversity_by_domain, hd_d, tool_entropy_bits
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Environment:
    return Environment.load(shop_spec())


@pytest.fixture(scope="module")
def tasks(shop: Environment) -> list[Task]:
    return shop_tasks(shop)


def test_hd_d_is_the_mean_share_of_different_words_in_all_samples() -> None:
    words = ["the", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "me"]
    exact = fmean(len({words[place] for place in places}) / 4 for places in combinations(range(len(words)), 4))
    assert hd_d(words, sample=4) == pytest.approx(exact)


def test_hd_d_hardly_falls_with_the_length_of_the_text() -> None:
    words = [f"word{'abcdefghijklmnopqrst'[n % 20]}" for n in range(400)]
    plain = [len(set(words[:n])) / n for n in (100, 400)]
    robust = [hd_d(words[:n]) for n in (100, 400)]
    assert plain[1] < plain[0] / 3 and robust[1] > robust[0] * 0.9


def test_hd_d_of_nothing_of_one_word_and_of_ids() -> None:
    assert hd_d([]) == 0.0
    assert hd_d(["yes"] * 100) == pytest.approx(1 / 42)
    assert hd_d(["cancel", "o-1", "cancel", "o-2"]) == hd_d(["cancel", "cancel"])


def test_entropy_counts_pairs_of_tools_with_beginnings_and_ends(tasks: list[Task]) -> None:
    assert tool_entropy_bits(tasks[2:3]) == pytest.approx(1.0), "begin and cancel, cancel and end"
    assert tool_entropy_bits([tasks[2]] * 5) == pytest.approx(1.0), "more of the same is no more varied"
    two = [tasks[2], tasks[3]]
    assert tool_entropy_bits(two) == pytest.approx(2.0)
    assert tool_entropy_bits(two, n=1) == pytest.approx(1.0), "two tools, each as often"
    assert tool_entropy_bits([]) == 0.0
    assert tool_entropy_bits(tasks) < log2(20)


def test_renamed_entities_are_one_shape_and_unused_tools_lower_the_coverage(shop: Environment) -> None:
    cancel = [
        make_task(shop, text, [call("cancel_order", order_id=order)])
        for text, order in (("Cancel ORD-1.", "ORD-1"), ("I no longer want the order ORD-3.", "ORD-3"))
    ]
    found = diversity("shop", cancel, tools=len(shop.spec.tools), repeated=2)
    assert (found.tasks, found.distinct_shapes, found.tools_used) == (2, 1, 1)
    assert found.tool_coverage == 1 / 8 and found.repeated_share == 0.5


def test_all_domains_come_first_and_are_the_sum_of_each(shop: Environment, tasks: list[Task]) -> None:
    others = [task.model_copy(update={"domain": "market", "environment_id": "market"}) for task in tasks[:3]]
    tools = [(environment, tool.name) for environment in (shop.id, "market") for tool in shop.spec.tools]
    first, market, ours = diversity_by_domain([*tasks, *others], tools, ["market"])
    assert [first.scope, market.scope, ours.scope] == [ALL, "market", "shop"]
    assert first.tasks == market.tasks + ours.tasks and first.tools == market.tools + ours.tools
    assert (first.repeated, market.repeated, ours.repeated) == (1, 1, 0)
    assert first.distinct_shapes == market.distinct_shapes + ours.distinct_shapes


def test_nothing_is_measured_of_nothing() -> None:
    [found] = diversity_by_domain([], [])
    assert (found.tasks, found.tool_coverage, found.repeated_share, found.lexical_diversity) == (0, 0, 0, 0)


def test_the_name_of_a_row_does_not_hang_on_the_last_digit_of_a_figure(tasks: list[Task]) -> None:
    found = diversity("shop", tasks, tools=8)
    nearly = found.model_copy(update={"lexical_diversity": found.lexical_diversity + 1e-4})
    assert diversity_id(found, tasks) == diversity_id(nearly, tasks[::-1])
    assert diversity_id(found, tasks) != diversity_id(found, tasks[1:])
