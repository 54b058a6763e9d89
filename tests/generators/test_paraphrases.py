"""Paraphrases: told by a person, with everything on which the meaning hangs."""

import json

import pytest

from envs.environment import Environment
from envs.task import Goal, Task, ToolCall
from generators.paraphrases import accept_paraphrase, paraphrase
from generators.stage import Refused
from generators.tasks import propose_tasks, toolbox_for
from serving.endpoint import ChatRequest
from tests.generators.club import club_spec, plain_wording
from tests.generators.scripted import Scripted


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.load(club_spec())


@pytest.fixture(scope="module")
def task(environment: Environment) -> Task:
    import random

    booking = str(environment.spec.rows["booking"][0][0])
    golden = (ToolCall(tool="set_booking_seats", arguments={"booking_id": booking, "seats": 4}),)
    return Task(
        environment_id=environment.id,
        domain="club",
        instruction=f"Please change the seats of booking {booking} to 4. Do this only if its fee is above 20 dollars.",
        golden=golden,
        golden_answer="Done.",
        goal=Goal(changeset=environment.replay(golden).changeset),
        difficulty=1,
        toolbox=toolbox_for(environment, random.Random(1), {"set_booking_seats"}),
    )


def test_a_faithful_paraphrase_is_taken(environment: Environment, task: Task) -> None:
    booking = task.golden[0].arguments["booking_id"]
    told = f"  Booking {booking} should get 4 seats,  but only if its fee is above 20 dollars, please. "
    assert accept_paraphrase(environment, task, told) == " ".join(told.split())


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("Booking {id} needs 4 seats if its fee is above 20 dollars, please.", "meaning"),
        ("Booking {id} needs four seats, only if its fee is above 20 dollars.", "values"),
        ("Booking {id} needs 4 seats, only if its fee is above 30 dollars.", "values"),
        ("Booking {id} needs 4 seats and B-9999 too, only if its fee is above 20 dollars.", "values"),
        ("Booking {id} needs 4 seats, only if its fee is below 20 dollars.", "meaning"),
        ("The court {id} needs 4 places, only if its fee is above 20 dollars.", "meaning"),
        ("The seats of booking {id} have been set to 4, only if its fee is above 20 dollars.", "report"),
        ("Booking {id}: {{seats}} = 4, only if its fee is above 20 dollars.", "not_plain"),
        ("Booking {id}, 4 seats, only above 20." + " Thank you very much indeed." * 12, "length"),
    ],
)
def test_what_loses_adds_or_turns_the_meaning_is_refused(
    environment: Environment, task: Task, told: str, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        accept_paraphrase(environment, task, told.format(id=task.golden[0].arguments["booking_id"]))
    assert refused.value.reason == reason


def test_the_budget_bounds_the_calls_and_refused_requests_keep_their_words(environment: Environment) -> None:
    wording = plain_wording(environment)
    tasks = propose_tasks(environment, wording, 60, seed=2).tasks

    def answer(request: ChatRequest) -> str:
        said = request.messages[-1].content.rsplit("Request: ", 1)[1]
        return json.dumps({"request": said.replace("Please", "Kindly") if "Please" in said else "No."})

    llm = Scripted(answer)
    told, refused = paraphrase(environment, wording, tasks, 12, llm)
    assert len(llm.requests) == 12
    changed = [(old, new) for old, new in zip(tasks, told, strict=True) if old != new]
    assert len(changed) + len(refused) == 12
    assert changed
    assert refused
    for old, new in changed:
        assert "Kindly" in new.instruction
        assert new.golden == old.golden
        assert set(new.made_from) > set(old.made_from)


def test_no_budget_asks_nothing(environment: Environment) -> None:
    llm = Scripted(lambda _: "")
    tasks = propose_tasks(environment, plain_wording(environment), 10, seed=2).tasks
    assert paraphrase(environment, plain_wording(environment), tasks, 0, llm) == (tasks, [])
    assert llm.requests == []
