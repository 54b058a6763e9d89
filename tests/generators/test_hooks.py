"""Python of a domain's own: it makes what it is asked to, its errors name it, and what it makes is proven."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.proof import prove
from generators.brief import load_brief
from generators.domain import Synthesis, synthesise
from generators.hook_files import HookError, python_of_domains
from generators.hooked import DomainHooks, load_hooks
from generators.own_tasks import own_tasks
from generators.phrases import asks
from generators.programs import sort_tools
from generators.tasks import propose_tasks
from generators.wording import propose_wording
from tests.generators.boats import PAGE, synthesist

HOOKS = (Path(__file__).parent / "boat_hooks.py").read_text()
HEAD = """
from generators.hooks import Hooks, TaskDraft, call
from envs.spec import Tool, Returns, Parameter
class Harbour(Hooks):
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The harbour's folder, where the project looks for domains."""
    monkeypatch.setenv("ENVLOOM_DOMAINS", str(tmp_path))
    (tmp_path / "boats").mkdir()
    (tmp_path / "boats" / "domain.yaml").write_text(PAGE)
    return tmp_path / "boats"


@pytest.fixture
def made_with(folder: Path) -> Callable[[str], Synthesis]:
    def synthesised(source: str) -> Synthesis:
        (folder / "hooks.py").write_text(source)
        return synthesise(load_brief(folder), "boats", synthesist(), load_hooks("boats"))

    return synthesised


def column(made: Synthesis, table: str, name: str) -> list[object]:
    place = [each.name for each in made.spec.table(table).columns].index(name) + 1
    return [row[place] for row in made.spec.rows[table]]


def test_a_column_and_a_whole_table_are_filled_by_the_domain(made_with: Callable[[str], Synthesis]) -> None:
    made = made_with(HOOKS)
    assert set(column(made, "skipper", "city")) == {"Bergen", "Oslo", "Stavanger"}
    assert column(made, "boat", "title")[:2] == ["Boat 0", "Boat 1"]
    assert len(made.spec.rows["boat"]) == 20, "more rows than were generated"
    assert len({row[0] for row in made.spec.rows["boat"]}) == 20, "rows without an id are given one"


def test_what_refers_to_a_table_refers_to_its_own_rows(made_with: Callable[[str], Synthesis]) -> None:
    made = made_with(HOOKS)
    prices = {row[0]: row[3] for row in made.spec.rows["boat"]}
    pairs = zip(
        column(made, "rental", "boat_id"), column(made, "rental", "quantity"), column(made, "rental", "total_cents"),
        strict=True,
    )  # fmt: skip
    assert all(total == prices[boat] * quantity for boat, quantity, total in pairs)


def test_the_same_hooks_make_the_same_bytes_and_others_another_environment(
    made_with: Callable[[str], Synthesis],
) -> None:
    first = made_with(HOOKS)
    assert first.spec.canonical() == made_with(HOOKS).spec.canonical()
    assert first.spec.id != made_with(HOOKS + "\n# another hash\n").spec.id
    assert first.spec.handmade is not None
    assert first.spec.handmade.tools == ("extend_rental", "quote_rental")


def test_an_environment_without_hooks_says_nothing_of_them(folder: Path) -> None:
    made = synthesise(load_brief(folder), "boats", synthesist(), load_hooks("boats"))
    assert made.spec.handmade is None
    assert b"handmade" not in made.spec.canonical()


def test_an_own_tool_that_writes_is_drawn_and_worded_and_one_for_templates_is_not(
    made_with: Callable[[str], Synthesis],
) -> None:
    environment = Environment.load(made_with(HOOKS).spec)
    worded = {ask.tool.name for ask in asks(environment.spec)}
    drawn = {tool.name for tools in sort_tools(environment).values() for tool in tools}
    assert "extend_rental" in worded & drawn
    assert "quote_rental" not in worded | drawn
    wording, _ = propose_wording(environment.spec, synthesist())
    tasks = propose_tasks(environment, wording, 60, 0).tasks
    using = [task for task in tasks if any(call.tool == "extend_rental" for call in task.golden)]
    assert any(prove(task, environment).accepted for task in using)


def test_own_tasks_pass_the_proof_with_calls_facts_and_prices(made_with: Callable[[str], Synthesis]) -> None:
    made = made_with(HOOKS)
    environment = Environment.load(made.spec)
    wording, _ = propose_wording(made.spec, synthesist())
    tasks = own_tasks(load_hooks("boats"), environment, wording, 4).tasks
    assert len(tasks) == 4, "as many as asked for"
    for task in tasks:
        assert prove(task, environment).rejected_by == ()
        assert "quote_rental" in task.toolbox.call_prices_usd
        assert task.golden_answer.startswith("price: ")


@pytest.mark.parametrize(
    ("draft", "check"),
    [
        ("TaskDraft(instruction='Set sail.', golden=(call('fly', boat_id='B-1'),))", "golden_executes"),
        ("TaskDraft(instruction='Read it.', golden=(call('get_boat', boat_id=boat),))", "not_vacuous"),
        (
            "TaskDraft(instruction='Which type is my boat?', golden=(call('get_boat', boat_id=boat),), "
            "facts=(Fact(label='kind', kind='text', value=kind),))",
            "discoverable",
        ),
        (
            "TaskDraft(instruction=f'Is {boat} a {kind} boat?', golden=(call('get_boat', boat_id=boat),), "
            "facts=(Fact(label='kind', kind='text', value=kind),))",
            "no_leak",
        ),
    ],
)
def test_a_draft_that_does_not_hold_is_rejected_by_the_proof(
    made_with: Callable[[str], Synthesis], draft: str, check: str
) -> None:
    body = (
        "    def tasks(self, environment, rng):\n"
        "        from envs.task import Fact\n"
        "        row = environment.query('SELECT id, kind FROM boat ORDER BY id LIMIT 1')[0]\n"
        "        boat, kind = row['id'], row['kind']\n"
        f"        return [{draft}]\n"
    )
    made = made_with(HEAD + body)
    environment = Environment.load(made.spec)
    wording, _ = propose_wording(made.spec, synthesist())
    [task] = own_tasks(load_hooks("boats"), environment, wording, 5).tasks
    assert prove(task, environment).rejected_by[0] == check


def test_repeated_drafts_are_kept_once_and_counted(made_with: Callable[[str], Synthesis]) -> None:
    draft = "TaskDraft(instruction='x', golden=(call('get_boat', boat_id='B-1'),))"
    made = made_with(f"{HEAD}    def tasks(self, environment, rng):\n        while True:\n            yield {draft}\n")
    wording, _ = propose_wording(made.spec, synthesist())
    proposal = own_tasks(load_hooks("boats"), Environment.load(made.spec), wording, 7)
    assert (len(proposal.tasks), [each.reason for each in proposal.rejections]) == (1, ["duplicate"] * 6)


@pytest.mark.parametrize(
    ("source", "function", "said"),
    [
        ("import no_such_thing\n", "when imported", "no_such_thing"),
        ("class Harbour(\n", "when imported", "SyntaxError"),
        ("x = 1\n", "the module", "Define one class derived from generators.hooks.Hooks"),
        (HEAD + "    pass\nclass Other(Hooks):\n    pass\n", "the module", "Harbour, Other"),
        (HEAD + "    def row(self, table, context):\n        return None\n", "Harbour.row", "Call it rows"),
        (HEAD + "    def __init__(self, port):\n        pass\n", "Harbour", "Give `__init__` no arguments"),
        (HEAD + "    def rows(self, table):\n        return None\n", "Harbour.rows(skipper)", "TypeError"),
        (HEAD + "    def rows(self, table, context):\n        return context.nothing\n", "rows(skipper)", "hooks.py:6"),
        (HEAD + "    def rows(self, table, context):\n        return []\n", "rows(skipper)", "gave no row"),
        (HEAD + "    def rows(self, table, context):\n        return 'all'\n", "rows(skipper)", "row 0 is a str"),
        (HEAD + "    def rows(self, table, context):\n        return [{'nam': 'Ada'}]\n", "nam", "Did you mean name?"),
        (HEAD + "    def rows(self, table, context):\n        return [{'name': 'Ada'}]\n", "no email", "every column"),
        (
            HEAD + "    def rows(self, table, context):\n"
            "        return [{**row, 'city': context.today} for row in context.generated]\n",
            "city is a date", "ISO text",
        ),
        (
            HEAD + "    def rows(self, table, context):\n"
            "        return [{**row, 'email': 'one@example.com'} for row in context.generated]\n",
            "rows(skipper)", "already has this email",
        ),
        (
            HEAD + "    def rows(self, table, context):\n"
            "        changed = [{**row, 'boat_id': 'B-0'} for row in context.generated]\n"
            "        return changed if table.name == 'rental' else None\n",
            "rows(rental)", "does not exist",
        ),
        (
            HEAD + "    def rows(self, table, context):\n"
            "        changed = [{**row, 'status': 'sunk'} for row in context.generated]\n"
            "        return changed if table.name == 'rental' else None\n",
            "status is 'sunk'", "Use one of booked, sailing",
        ),
        (
            HEAD + "    def rows(self, table, context):\n"
            "        while True:\n            yield {}\n", "rows(skipper)", "more than 20000",
        ),
        (HEAD + "    def tools(self, schema):\n        return None\n", "Harbour.tools", "gave None"),
        (HEAD + "    def tools(self, schema):\n        return ['get']\n", "Harbour.tools", "envs.spec.Tool"),
        (
            HEAD + "    def tools(self, schema):\n        return [Tool(name='look', description='')]\n",
            "Harbour.tools", "does not begin with a verb",
        ),
        (
            HEAD + "    def tools(self, schema):\n"
            "        sql = Returns(sql='SELECT pric_cents FROM boat ORDER BY id', shape='many')\n"
            "        return [Tool(name='list_prices', description='List prices.', returns=sql)]\n",
            "tools.list_prices.returns", "Did you mean price_cents?",
        ),
        (
            HEAD + "    def tools(self, schema):\n"
            "        sql = Returns(sql='SELECT count(*) AS boats FROM boat')\n"
            "        return [Tool(name='get_boat', description='Count boats.', returns=sql)]\n",
            "Harbour.tools", "'get_boat' is there twice",
        ),
        (HEAD + "    def tools(self, schema):\n        return [Tool(nam='x')]\n", "hooks.py:6", "ValidationError"),
    ],
)  # fmt: skip
def test_wrong_hooks_are_told_with_file_function_and_remedy(
    made_with: Callable[[str], Synthesis], folder: Path, source: str, function: str, said: str
) -> None:
    with pytest.raises(HookError) as error:
        made_with(source)
    assert str(folder / "hooks.py") in str(error.value)
    assert function in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [1]", "generators.hooks.TaskDraft"),
        ("yield environment.query('SELECT nothing FROM boat')", "hooks.py:6"),
        ("yield TaskDraft(instruction='', golden=())", "ValidationError"),
        (
            "yield TaskDraft(instruction='Go.', golden=(call('get_boat', boat_id=2**53),))",
            "item 0: TaskDraft.golden[0].arguments.boat_id is an integer beyond 2**53 - 1",
        ),
    ],
)
def test_wrong_drafts_are_told_likewise(made_with: Callable[[str], Synthesis], body: str, said: str) -> None:
    made = made_with(f"{HEAD}    def tasks(self, environment, rng):\n        {body}\n")
    wording, _ = propose_wording(made.spec, synthesist())
    with pytest.raises(HookError, match=r"Harbour\.tasks") as error:
        own_tasks(load_hooks("boats"), Environment.load(made.spec), wording, 5)
    assert said in str(error.value)


def test_edited_hooks_are_run_as_they_are_and_change_the_version_of_what_they_make(folder: Path) -> None:
    versions = set()
    for number in (1, 2):
        # Same length, within one second: what a cache of compiled files would take for the same file.
        (folder / "hooks.py").write_text(f"{HEAD}    number = {number}\n")
        assert load_hooks("boats").hooks.number == number  # type: ignore[attr-defined]
        versions.add(python_of_domains())
    assert len(versions) == 2


def test_no_hooks_leave_no_trace() -> None:
    assert DomainHooks().id is None
    assert DomainHooks().written == []
