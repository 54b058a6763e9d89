"""Golden programs and their wording: executable by construction, and said so that a person could do them."""

import random
import re

import pytest

from envs.environment import Environment
from envs.proof import prove
from envs.spec import Handmade, Parameter, Returns, Tool
from envs.task import Task
from generators.phrases import Phrasing
from generators.programs import found_by
from generators.splits import split_tasks
from generators.steps import Step
from generators.tasks import propose_tasks
from generators.wording import CONNECTIVES, LAST, compose, worded_plainly
from tests.fixtures import shop_spec
from tests.generators.club import club_spec, plain_phrasings, plain_wording


def club_tasks() -> tuple[Environment, list[Task]]:
    environment = Environment.load(club_spec())
    proposal = propose_tasks(environment, plain_wording(environment), 200, seed=1)
    return environment, [task for task in proposal.tasks if prove(task, environment).accepted]


def test_programs_reach_from_one_call_to_many_and_use_every_write_tool() -> None:
    environment, tasks = club_tasks()
    lengths = [len(task.golden) for task in tasks]
    assert min(lengths) == 1 and max(lengths) >= 8
    used = [call.tool for task in tasks for call in task.golden]
    assert all(used.count(tool.name) >= 3 for tool in environment.spec.tools if tool.writes)


def test_the_operation_algebra_has_every_kind_of_tool() -> None:
    names = {tool.name for tool in club_spec().tools}
    assert names >= {
        "get_booking", "confirm_booking", "cancel_booking", "find_bookings_by_member", "find_bookings_by_status",
        "find_bookings_by_member_and_status", "total_bookings_by_member", "set_booking_seats",
        "move_booking_to_member", "remove_note", "create_note", "compare_bookings_by_fee",
    }  # fmt: skip


def test_a_forbidden_request_is_refused_with_the_status_and_changes_nothing() -> None:
    environment, tasks = club_tasks()
    alone = [task for task in tasks if len(task.golden) == 1]
    refusals = [task for task in alone if task.golden_answer.startswith("That is not possible")]
    assert refusals
    for task in refusals:
        assert [call.tool for call in task.golden] == ["get_booking"] and task.goal.changeset == ()
        [fact] = task.goal.facts
        assert fact.value in ("played", "cancelled", "confirmed")
        assert environment.judge(task, (), "Done.").outcome == "failed"
        assert environment.judge(task, (), f"I am sorry, it is {fact.value} already.").outcome == "solved"


def test_a_row_can_be_meant_as_the_latest_or_the_highest_of_several() -> None:
    environment, tasks = club_tasks()
    short = [task for task in tasks if len(task.golden) == 2]
    meant = [task for task in short if re.search(r"that has the (latest|earliest|highest|lowest)", task.instruction)]
    assert meant
    for task in meant:
        search, write = task.golden
        rows = environment.replay([search]).results[0].value
        assert isinstance(rows, list) and len(rows) > 1
        column, least = next(
            (name, "earliest" in task.instruction or "lowest" in task.instruction)
            for name, label in (
                ("booking_date", "booking date"),
                ("play_date", "play date"),
                ("fee_cents", "fee"),
                ("seats", "number of seats"),
            )
            if re.search(rf"(est) {label}", task.instruction)
        )
        values = [row[column] for row in rows]
        chosen = next(row for row in rows if row["id"] == write.arguments["booking_id"])
        assert chosen[column] == (min(values) if least else max(values)) and values.count(chosen[column]) == 1


def test_a_comparison_asks_for_the_difference_and_two_things_that_are_one_have_none() -> None:
    environment, tasks = club_tasks()
    compared = [task for task in tasks if [call.tool for call in task.golden] == ["compare_bookings_by_fee"]]
    assert compared
    for task in compared:
        one, other = task.golden[0].arguments.values()
        fees = {row["id"]: int(str(row["fee_cents"])) for row in environment.query("SELECT id, fee_cents FROM booking")}
        [fact] = task.goal.facts
        assert fact.kind == "cents" and fact.value == abs(fees[str(one)] - fees[str(other)])
    with environment.episode() as episode:
        same = episode.call("compare_bookings_by_fee", booking_id=str(one), other_booking_id=str(one))
        absent = episode.call("compare_bookings_by_fee", booking_id=str(one), other_booking_id="B-0")
    assert (same.error or "").endswith("these are not two bookings")
    assert (absent.error or "").endswith("there is no booking B-0")


def test_a_sum_is_asked_for_and_is_the_sum() -> None:
    environment, tasks = club_tasks()
    sums = [task for task in tasks if [call.tool for call in task.golden] == ["total_bookings_by_member"]]
    assert sums
    for task in sums:
        member = task.golden[0].arguments["member_id"]
        rows = environment.query("SELECT fee_cents FROM booking WHERE member_id = :m", {"m": member})
        assert task.goal.facts[0].value == sum(row["fee_cents"] for row in rows)


def test_a_value_that_brings_its_noun_is_not_told_twice() -> None:
    environment = Environment.load(club_spec())
    phrasings = {
        name: phrasing.model_copy(update={"patterns": ("Please change my booking {booking_id} now.",) * 2})
        if name == "cancel_booking"
        else phrasing
        for name, phrasing in plain_phrasings(environment).items()
    }
    tasks = propose_tasks(environment, worded_plainly(phrasings), 300, seed=1).tasks
    said = [task.instruction for task in tasks if "change the " in task.instruction]
    assert said and not [text for text in said if "booking the" in text]


def test_a_row_is_spoken_of_as_a_person_would() -> None:
    environment, tasks = club_tasks()
    said = " ".join(task.instruction for task in tasks)
    assert re.search(r"the only (\w+ )?booking for member M-\d+", said)
    statuses = "|".join(
        next(p.enum for t in environment.spec.tools for p in t.parameters if p.name == "status" and p.enum)
    )
    assert re.search(rf"the (only )?({statuses}) booking", said) and "booking with member" not in said


def test_what_is_searched_by_a_name_is_called_by_it() -> None:
    find = Tool(
        name="find_guides",
        description="List the guides with this name and status.",
        parameters=(
            Parameter(name="name", type="string", description="name", source="guide.name"),
            Parameter(name="status", type="string", description="status", source="guide.status"),
            Parameter(name="area", type="string", description="area", source="guide.area"),
        ),
        returns=Returns(sql="SELECT 1 ORDER BY 1", shape="many"),
    )
    said = found_by("guide", find, {"name": "Ada Poe", "status": "resting", "area": "coast"})
    assert said == "resting guide named Ada Poe with area coast"


def test_requests_are_joined_without_saying_a_connective_twice() -> None:
    _, tasks = club_tasks()
    long = [task.instruction for task in tasks if len(task.golden) >= 6]
    assert long
    for text in long:
        said = [word for word in (*CONNECTIVES, LAST) for _ in range(text.count(word))]
        assert said and len(said) == len(set(said)), text
        assert LAST not in text or text.rindex(LAST) == max(map(text.rindex, said))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("Please set the limit of {card_id} to {limit}.", "Please set the limit of C-1 to 5000 cents."),
        ("Make it {limit} cents on {card_id}.", "Make it 5000 cents on C-1."),
    ],
)
def test_an_amount_of_money_is_said_with_its_unit_once(pattern: str, said: str) -> None:
    tool = Tool(
        name="set_card_limit",
        description="Change the limit of one card.",
        parameters=(
            Parameter(name="card_id", type="string", description="card id"),
            Parameter(name="limit", type="integer", description="limit in cents"),
        ),
        effects=("UPDATE card SET limit = :limit",),
    )
    step = Step("write", tool, (), {"card_id": "C-1", "limit": "5000"}, cents_slots=frozenset({"limit"}))
    worded = worded_plainly({tool.name: Phrasing(tool=tool.name, patterns=(pattern,))})
    assert said in {compose(random.Random(seed), [step], worded)[0] for seed in range(9)}


def own_shop() -> Environment:
    """The shop, whose tools follow from no table: they are the domain's own."""
    spec = shop_spec()
    handmade = Handmade(source="0" * 32, tools=tuple(tool.name for tool in spec.tools))
    return Environment.load(spec.model_copy(update={"handmade": handmade}))


def test_every_candidate_executes_and_says_every_value() -> None:
    environment = own_shop()
    proposal = propose_tasks(environment, plain_wording(environment), 60, seed=1)
    assert proposal.tasks
    for task in proposal.tasks:
        assert all(result.ok for result in environment.replay(task.golden).results)
        assert not re.search(r"\{\w+\}", task.instruction), task.instruction
        assert task.made_from == ("c" * 32,)
        assert {call.tool for call in task.golden} <= set(task.toolbox.tools)


def test_most_candidates_of_a_sound_environment_are_proven() -> None:
    environment = own_shop()
    proposal = propose_tasks(environment, plain_wording(environment), 60, seed=1)
    proven = [task for task in proposal.tasks if prove(task, environment).accepted]
    assert len(proven) > len(proposal.tasks) / 2


def test_the_same_seed_proposes_the_same_tasks_and_another_seed_others() -> None:
    environment = own_shop()
    wording = plain_wording(environment)
    first, again, other = (propose_tasks(environment, wording, 20, seed) for seed in (1, 1, 2))
    assert [task.id for task in first.tasks] == [task.id for task in again.tasks]
    assert {task.id for task in first.tasks} != {task.id for task in other.tasks}


def test_a_tool_without_patterns_is_reported_and_not_used() -> None:
    environment = own_shop()
    phrasings = plain_phrasings(environment)
    silent = next(tool.name for tool in environment.spec.tools if tool.writes)
    del phrasings[silent]
    proposal = propose_tasks(environment, worded_plainly(phrasings), 40, seed=1)
    assert all(silent not in {call.tool for call in task.golden} for task in proposal.tasks)
    assert [r.subject for r in proposal.rejections if r.reason == "no_phrases"] == [silent]


def test_a_request_is_never_on_both_sides_of_a_split() -> None:
    environment = own_shop()
    tasks = propose_tasks(environment, plain_wording(environment), 80, seed=3).tasks
    where = {split.task_id: split.split for split in split_tasks(tasks, seed=0)}
    assert set(where.values()) == {"train", "validation", "test", "unseen_preference"}
    sides: dict[str, set[str]] = {}
    for task in tasks:
        sides.setdefault(task.instruction, set()).add(where[task.id])
    assert all(len(names) == 1 for names in sides.values())
