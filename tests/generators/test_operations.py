"""What a tool does is kept as an operation: names, descriptions and messages of tools decide nothing."""

import ast
from pathlib import Path

import pytest

import generators
from envs.environment import Environment
from envs.errors import SpecError
from envs.spec import EnvironmentSpec, Guard, Handmade, Parameter, Returns, Tool
from envs.task import Task
from generators.brief import load_brief
from generators.discovery import BUILT_IN
from generators.domain import synthesise
from generators.operations import OTHER, Kind, Operation, Stock
from generators.phrases import asks, propose_phrases
from generators.policy import rules_of
from generators.programs import sort_tools
from generators.recompilation import operations_of
from generators.tasks import Proposal, propose_tasks
from generators.wording import worded_plainly
from serving.ledger import Ledger
from tests.generators.boats import synthesist
from tests.generators.club import club_spec

DOMAINS = sorted(path.parent.name for path in BUILT_IN.glob("*/calls.jsonl"))
STATUSES = ("asked", "confirmed")
READING_OF_WORDS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "replace"}


def renamed(spec: EnvironmentSpec) -> tuple[EnvironmentSpec, dict[str, str]]:
    """The specification with nonsense for every name, description and message of a tool, and new name → old name.

    The names sort as before, so that what is drawn from sorted names is drawn as before.
    """
    new = {old: f"zorp_{rank:02}" for rank, old in enumerate(sorted(tool.name for tool in spec.tools))}
    tools = tuple(
        tool.model_copy(
            update={
                "name": new[tool.name],
                "description": "Count find total.",
                "guards": tuple(guard.model_copy(update={"message": "no wug"}) for guard in tool.guards),
            }
        )
        for tool in spec.tools
    )
    return spec.model_copy(update={"tools": tools}), {name: old for old, name in new.items()}


def tasks_of(spec: EnvironmentSpec, words_of: EnvironmentSpec, old_names: dict[str, str]) -> Proposal:
    """Tasks in an environment, worded by the patterns of another one's tools, whose names `old_names` tells."""
    phrasings, _ = propose_phrases(words_of, synthesist())
    patterns = {name: phrasings[old_names.get(name, name)] for name in (ask.tool.name for ask in asks(spec))}
    return propose_tasks(Environment.load(spec), worded_plainly(patterns), 120, seed=2)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_compiled_tool_of_a_domain_has_an_operation_that_is_found_again(domain: str, tmp_path: Path) -> None:
    ledger = Ledger.of_recording(BUILT_IN / domain / "calls.jsonl", tmp_path / "ledger.sqlite")
    made = synthesise(load_brief(BUILT_IN / domain), domain, ledger)
    stored = EnvironmentSpec.model_validate_json(made.spec.canonical())
    assert dict(operations_of(stored)) == dict(made.operations)
    assert list(made.operations) == [tool.name for tool in made.spec.tools]
    tables = {table.name for table in made.spec.tables}
    for name, operation in made.operations.items():
        assert (operation == OTHER) == (name in made.spec.proposed)
        assert operation == OTHER or operation.table in tables
    if load_brief(BUILT_IN / domain).kind == "service":
        lines = rules_of(made.operations)
        assert lines and all(f"- {line}\n" in made.spec.policy for line in lines)


def test_an_operation_says_table_columns_statuses_and_stock() -> None:
    operations = operations_of(club_spec())
    booking = {"table": "booking"}
    expected = {
        "get_booking": Operation(kind=Kind.READ, **booking),
        "find_bookings_by_member_and_status": Operation(kind=Kind.FIND, by=("member_id", "status"), **booking),
        "total_bookings_by_member": Operation(kind=Kind.TOTAL, column="fee_cents", by=("member_id",), **booking),
        "compare_bookings_by_fee": Operation(kind=Kind.COMPARE, column="fee_cents", **booking),
        "set_booking_seats": Operation(kind=Kind.CHANGE, column="seats", states=STATUSES, **booking),
        "move_booking_to_member": Operation(kind=Kind.MOVE, column="member_id", states=STATUSES, **booking),
        "confirm_booking": Operation(
            kind=Kind.ADVANCE, column="status", states=("asked",), becomes="confirmed", **booking
        ),
        "cancel_booking": Operation(
            kind=Kind.ADVANCE, column="status", states=STATUSES, becomes="cancelled", **booking
        ),
        "create_note": Operation(kind=Kind.CREATE, table="note"),
        "remove_note": Operation(kind=Kind.REMOVE, table="note"),
    }
    assert {name: operations[name] for name in expected} == expected


def test_tools_with_nonsense_for_names_and_messages_have_the_same_operations_and_steps() -> None:
    spec = club_spec()
    nonsense, old = renamed(spec)
    operations = {old[name]: operation for name, operation in operations_of(nonsense).items()}
    assert operations == dict(operations_of(spec))
    steps = {kind: [old[tool.name] for tool in tools] for kind, tools in sort_tools(Environment.load(nonsense)).items()}
    assert steps == {kind: [tool.name for tool in tools] for kind, tools in sort_tools(Environment.load(spec)).items()}


def test_programs_answers_and_requests_do_not_hang_on_names_descriptions_and_messages() -> None:
    spec = club_spec()
    nonsense, old = renamed(spec)
    before, after = tasks_of(spec, spec, {}), tasks_of(nonsense, spec, old)

    def content(task: Task) -> tuple[object, ...]:
        calls = [(old.get(call.tool, call.tool), call.arguments) for call in task.golden]
        return calls, task.goal, task.golden_answer, task.instruction, task.evolution, task.scenario

    assert [content(task) for task in after.tasks] == [content(task) for task in before.tasks]
    kinds = {task.evolution for task in after.tasks if task.evolution}
    assert kinds >= {"constraint", "same_value", "distractor"}
    assert any("it is allowed only while asked or confirmed." in task.golden_answer for task in after.tasks)


def test_what_is_asked_of_a_tool_follows_from_its_operation() -> None:
    spec = club_spec()
    nonsense, old = renamed(spec)
    plainly = {old[ask.tool.name]: ask.plainly for ask in asks(nonsense)}
    assert plainly["total_bookings_by_member"] == (
        "Ask for the sum of the fee of all bookings with the member {member_id}."
    )
    assert plainly["compare_bookings_by_fee"] == (
        "Ask how much the fee of booking {booking_id} differs from that of booking {other_booking_id}."
    )
    # The verb of a step is the tool's own word: it is the first of the description, as before.
    steps = {"confirm_booking": "Confirm booking {booking_id}.", "cancel_booking": "Cancel booking {booking_id}."}
    expected = {ask.tool.name: ask.plainly for ask in asks(spec)}
    assert {name: expected[name] for name in steps} == steps
    assert plainly == expected | dict.fromkeys(steps, "Count booking {booking_id}.")
    required = {old[ask.tool.name]: ask.required for ask in asks(nonsense)}
    assert required["set_booking_seats"] == ("seats",) and required["remove_note"] == ("[Rr]emov[a-z]*",)


def test_the_rules_of_the_policy_follow_from_operations() -> None:
    nonsense, old = renamed(club_spec())
    lines = {old[line.partition(":")[0]]: line.partition(": ")[2] for line in rules_of(operations_of(nonsense))}
    assert lines["confirm_booking"] == "only while asked."
    assert lines["set_booking_seats"] == lines["move_booking_to_member"] == "only while asked or confirmed."
    needed = Stock(table="article", column="stock_count", parameter="quantity_packs")
    assert rules_of({"buy": Operation(kind=Kind.CREATE, table="order", stock=(needed,))}) == [
        "buy: only if the stock count of the article is at least the quantity packs."
    ]


def own_tool(**changes: object) -> Tool:
    """A tool of the domain's own Python, named and worded like compiled ones."""
    booking = Parameter(name="booking_id", type="string", description="booking id", source="booking.id")
    tool = Tool(
        name="find_bookings_by_luck",
        description="Double the seats of one booking.",
        parameters=(booking,),
        guards=(
            Guard(
                sql="SELECT seats < 4 FROM booking WHERE id = :booking_id",
                message="booking {booking_id} cannot be doubled: allowed only while small",
            ),
        ),
        effects=("UPDATE booking SET seats = seats * 2 WHERE id = :booking_id",),
        returns=Returns(sql="SELECT id, seats FROM booking WHERE id = :booking_id"),
    )
    return tool.model_copy(update=changes)


def test_a_tool_of_the_domains_own_is_other_whatever_its_name_and_its_messages_say() -> None:
    spec, own = club_spec(), own_tool()
    handmade = Handmade(source="0" * 32, tools=(own.name,))
    spec = spec.model_copy(update={"tools": (*spec.tools, own), "handmade": handmade})
    assert operations_of(spec)[own.name] == OTHER
    carriers = {kind for kind, tools in sort_tools(Environment.load(spec)).items() if own in tools}
    assert carriers == {"write", "lookup_write", "extreme_write"}
    assert not [line for line in rules_of(operations_of(spec)) if own.name in line]
    [ask] = [ask for ask in asks(spec) if ask.tool == own]
    assert ask.plainly == "Double the seats of booking {booking_id}."


def test_a_tool_that_follows_from_no_table_is_an_error_that_names_it() -> None:
    spec = club_spec()
    with pytest.raises(SpecError, match=r"tools\.find_bookings_by_luck: .*`proposed` or `handmade`"):
        operations_of(spec.model_copy(update={"tools": (*spec.tools, own_tool())}))
    with pytest.raises(SpecError, match=r"tools\.get_booking"):
        changed = spec.tool("get_booking").model_copy(update={"guards": ()})
        operations_of(spec.model_copy(update={"tools": (changed,)}))


def test_no_generator_reads_the_parts_of_a_tools_name_or_of_its_messages() -> None:
    folder = Path(next(iter(generators.__path__)))
    offences = [
        f"{file.name}:{node.lineno}: {ast.unparse(node)}"
        for file in sorted(folder.glob("**/*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and _reads_words_of_a_tool(node.func)
    ]
    assert offences == []


def _reads_words_of_a_tool(function: ast.expr) -> bool:
    """`tool.name.startswith`, `each.tool.name.removeprefix`, `guard.message.partition` and their like."""
    if not isinstance(function, ast.Attribute) or function.attr not in READING_OF_WORDS:
        return False
    words = function.value
    if not isinstance(words, ast.Attribute):
        return False
    owner = words.value.attr if isinstance(words.value, ast.Attribute) else getattr(words.value, "id", "")
    return words.attr == "message" or (words.attr == "name" and owner in ("t", "tool", "finder", "other_tool"))
