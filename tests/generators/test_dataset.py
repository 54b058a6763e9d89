"""A campaign's dataset: what is left out is told, and what is held out is never trained on."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.environment import Environment
from envs.prices import held_out_prices
from envs.proof import HeldOut
from envs.spec import Tool
from envs.task import Preference, Task, Toolbox
from generators.dataset import UnknownTool, compose
from generators.decontamination import HeldOutError, decontaminate, read_held_out
from generators.splits import SHARES, UNSEEN, Unseen, split_tasks
from generators.tasks import propose_tasks
from tests.fixtures import call, make_task, shop_spec, shop_tasks
from tests.generators.club import club_spec, plain_wording

SHOP = Environment.load(shop_spec())
TASKS = shop_tasks(SHOP)
DOMAINS = ("shop", "market", "bazaar")
NAMES = [tool.name for tool in SHOP.spec.tools]
TOOLS: dict[tuple[str, str], Tool] = {
    (environment, tool.name): tool for environment in (SHOP.id, *DOMAINS) for tool in SHOP.spec.tools
}


@st.composite
def sets_of_tasks(draw: st.DrawFn) -> list[Task]:
    """Up to forty tasks of three domains, of any golden tools, toolboxes and prices; no two alike."""
    tasks = []
    for number in range(draw(st.integers(1, 40))):
        golden = [call(name, order_id=f"ORD-{number}") for name in draw(st.lists(st.sampled_from(NAMES), min_size=1))]
        needed = {one.tool for one in golden}
        offered = draw(st.sets(st.sampled_from(NAMES), max_size=3))
        domain = draw(st.sampled_from(DOMAINS))
        changes = {
            "domain": domain,
            "environment_id": domain,
            "instruction": f"Matter {number}: {' '.join(one.tool for one in golden)}.",
            "golden": tuple(golden),
            "difficulty": len(golden),
            "toolbox": Toolbox(
                tools=tuple(name for name in NAMES if name in needed | offered),
                call_prices_usd=dict.fromkeys(NAMES, 0.001),
                input_usd_per_mtok=draw(st.floats(0.001, 10)),
                output_usd_per_mtok=draw(st.floats(0.001, 100)),
            ),
        }
        tasks.append(TASKS[0].model_copy(update=changes))
    return tasks


@given(
    sets_of_tasks(),
    st.sets(st.sampled_from(DOMAINS), max_size=2),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.booleans(),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_nothing_held_out_is_ever_trained_on(
    tasks: list[Task], domains: set[str], names: set[str], prices: bool, seed: int
) -> None:
    there = {task.domain for task in tasks}
    held = {f"{task.domain}.{name}" for task in tasks for name in list(names)[:1]} | set(list(names)[1:])
    unseen = Unseen(domains=tuple(domains & there), tools=tuple(held), prices=prices)
    found = compose(tasks, TOOLS, seed=seed, unseen=unseen)
    where = {split.task_id: split.split for split in found.splits}
    assert len(where) == len(found.splits) and set(where) == {task.id for task in found.tasks}
    for task in found.tasks:
        used = {one.tool for one in task.golden}
        if where[task.id] in dict(SHARES):
            assert task.domain not in domains
            assert not any(unseen.holds(task.domain, tool) for tool in {*used, *task.toolbox.tools})
            assert not (prices and held_out_prices(task.toolbox, seed))
        elif where[task.id] == "unseen_domain":
            assert task.domain in domains
        elif where[task.id] == "unseen_tool":
            assert any(unseen.holds(task.domain, tool) for tool in used)
        else:
            assert where[task.id] == "unseen_prices" and held_out_prices(task.toolbox, seed)
    left_out = {str(r.subject) for r in found.rejections}
    assert left_out | set(where) == {task.id for task in tasks} and not left_out & set(where)


def test_every_kind_of_held_out_task_has_a_split_of_its_own() -> None:
    tasks = [task.model_copy(update={"domain": domain}) for domain in DOMAINS[1:] for task in TASKS]
    tasks = [
        task.model_copy(update={"toolbox": task.toolbox.model_copy(update={"output_usd_per_mtok": 10 ** (place / 2)})})
        for place, task in enumerate(tasks)
    ]
    everything = Unseen(domains=("market",), tools=("bazaar.get_product",), prices=True)
    plain = next(task for task in tasks if everything.split_of(task, seed=0) is None)
    wished = plain.model_copy(update={"preference": Preference(text="Be kind.", held_out=True)})
    splits = {everything.split_of(task, seed=0) for task in [*tasks, wished]}
    assert {*UNSEEN, None} == splits


def test_one_region_of_prices_in_eight_is_held_out_wherever_the_seed_puts_it() -> None:
    cells = [(0.02 * 10 ** (row / 2), 0.2 * 10 ** (column / 2)) for row in range(4) for column in range(4)]
    boxes = [TASKS[0].toolbox.model_copy(update={"input_usd_per_mtok": i, "output_usd_per_mtok": o}) for i, o in cells]
    for seed in range(8):
        assert sum(held_out_prices(box, seed) for box in boxes) == 2
    chosen = {tuple(held_out_prices(box, seed) for box in boxes) for seed in range(40)}
    assert len(chosen) > 3, "another seed holds out other prices"


def test_a_tool_that_is_only_offered_is_not_trained_on_and_told() -> None:
    unseen = Unseen(tools=("place_order",))
    narrow = TASKS[2].model_copy(
        update={"toolbox": TASKS[2].toolbox.model_copy(update={"tools": ("get_order", "cancel_order")})}
    )
    found = compose([*TASKS[:2], narrow, TASKS[4]], TOOLS, seed=0, unseen=unseen)
    assert {task.id for task in found.tasks} == {narrow.id, TASKS[4].id}
    assert {(r.stage, r.reason, r.subject) for r in found.rejections} == {
        ("dataset", "offers_unseen_tool", task.id) for task in TASKS[:2]
    }


def test_a_held_out_tool_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownTool, match=r"cancel_ordr: no tool of these domains. There are shop\.cancel_order"):
        compose(TASKS, TOOLS, seed=0, unseen=Unseen(tools=("cancel_ordr",)))


def test_each_task_with_too_many_calls_is_a_rejection() -> None:
    found = compose(TASKS, TOOLS, seed=0, max_calls=1)
    assert {task.difficulty for task in found.tasks} == {1}
    long = [task for task in TASKS if task.difficulty > 1]
    assert {(r.reason, r.subject) for r in found.rejections} == {("too_many_calls", task.id) for task in long}
    assert "2 golden calls, at most 1" in {r.detail for r in found.rejections}


def test_a_near_duplicate_in_another_domain_is_left_out() -> None:
    twin = TASKS[6].model_copy(update={"domain": "market", "environment_id": "market"})
    found = compose([*TASKS, twin], TOOLS, seed=0)
    [rejection] = found.rejections
    assert (rejection.domain, rejection.reason, rejection.subject) == ("market", "near_duplicate", twin.id)
    assert TASKS[6].id in rejection.detail and found.repeated == (twin,)


def held_out_file(folder: Path, *lines: object) -> Path:
    file = folder / "bench.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


def test_a_task_that_repeats_a_held_out_line_is_left_out_with_file_and_line(tmp_path: Path) -> None:
    said = "Hi! My email is ada@example.org. Cancel my order that is still pending, and be quick."
    file = held_out_file(
        tmp_path, {"instruction": "Something else.", "tools": ["place_order"]}, "", {"instruction": said, "id": 7}
    )
    found = compose(TASKS, TOOLS, seed=0, held_out=HeldOut(read_held_out([file])))
    by_reason = {r.reason: r for r in found.rejections}
    assert set(by_reason) == {"contaminated_instruction", "contaminated_tools"}
    assert by_reason["contaminated_instruction"].subject["task"] == TASKS[6].id
    assert by_reason["contaminated_instruction"].subject["found"]["source"] == "bench.jsonl:3"
    assert "bench.jsonl:1" in by_reason["contaminated_tools"].detail
    assert len(found.tasks) == len(TASKS) - 2 and len(found.contaminated) == 2


def test_nothing_is_left_out_when_nothing_is_held_out() -> None:
    assert decontaminate(TASKS, HeldOut(), TOOLS) == (TASKS, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"instruction": "Cancel', r"bench\.jsonl:2: the line: Invalid JSON"),
        ('{"request": "Cancel it."}', r"bench\.jsonl:2: instruction: Field required"),
        ('{"instruction": "Cancel it.", "tools": "cancel"}', r"bench\.jsonl:2: tools: "),
    ],
)
def test_a_held_out_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = held_out_file(tmp_path, {"instruction": "Fine."}, line)
    with pytest.raises(HeldOutError, match=complaint):
        read_held_out([file])


def test_a_held_out_set_that_is_not_jsonl_is_refused_and_not_ignored(tmp_path: Path) -> None:
    (tmp_path / "bench.txt").write_text("Cancel my order.")
    with pytest.raises(HeldOutError, match=r"bench\.txt: a held-out set is a \.jsonl file"):
        read_held_out([tmp_path / "bench.txt"])


def test_a_dataset_does_not_depend_on_the_order_of_the_tools_listed() -> None:
    task = make_task(SHOP, "Cancel order ORD-1.", [call("cancel_order", order_id="ORD-1")])
    assert compose([task], TOOLS, seed=0) == compose([task], dict(reversed(TOOLS.items())), seed=0)


def test_a_wish_in_held_out_words_never_meets_training() -> None:
    environment = Environment.load(club_spec())
    tasks = propose_tasks(environment, plain_wording(environment), 300, seed=4).tasks
    held_out = {task.id for task in tasks if task.preference.held_out}
    where = {split.task_id: split.split for split in split_tasks(tasks, seed=1)}
    assert held_out
    assert {identity for identity, split in where.items() if split == "unseen_preference"} == held_out
